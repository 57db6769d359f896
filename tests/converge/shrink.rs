//! Makes a course that fails as small as it gets.

use crate::course::{Change, Course, Event, Run};

/// How often a smaller course is tried.
const TRIES: usize = 1_000;

/// Shrinks a course that failed, and ends the test with what is left of it.
pub fn report(
    seed: u64,
    course: &Course,
    error: &str,
    mut play: impl FnMut(&Course) -> Result<usize, String>,
) -> ! {
    let (course, error) = shrink(course.clone(), error.to_owned(), &mut play);
    let line = serde_json::to_string(&course).expect("plain data");
    panic!(
        "seed {seed}: {error}\nafter {} events:\n{:#?}\nfor regressions.jsonl:\n{line}",
        course.events.len(),
        course.events
    );
}

fn shrink(
    mut course: Course,
    mut error: String,
    play: &mut impl FnMut(&Course) -> Result<usize, String>,
) -> (Course, String) {
    let mut tries = 0;
    loop {
        let before = course.clone();
        let mut size = course.events.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < course.events.len() {
                let mut smaller = course.clone();
                smaller.events.drain(at..(at + size).min(course.events.len()));
                if !keep(&mut course, smaller, &mut error, play, &mut tries) {
                    at += size;
                }
            }
            size /= 2;
        }
        for at in 0..course.events.len() {
            for event in simpler(&course.events[at]) {
                let mut smaller = course.clone();
                smaller.events[at] = event;
                keep(&mut course, smaller, &mut error, play, &mut tries);
            }
        }
        if course == before || tries >= TRIES {
            return (course, error);
        }
    }
}

/// Takes the smaller course, if it fails as well.
fn keep(
    course: &mut Course,
    smaller: Course,
    error: &mut String,
    play: &mut impl FnMut(&Course) -> Result<usize, String>,
    tries: &mut usize,
) -> bool {
    *tries += 1;
    if *tries > TRIES {
        return false;
    }
    match play(&smaller) {
        Ok(_) => false,
        Err(new) => {
            (*course, *error) = (smaller, new);
            true
        }
    }
}

/// The same event with a little less in it.
fn simpler(event: &Event) -> Vec<Event> {
    let without = |list: &[u16], i: usize| {
        list.iter().enumerate().filter(|(at, _)| *at != i).map(|(_, l)| *l).collect::<Vec<_>>()
    };
    match event {
        Event::Run(run) => simpler_runs(run).into_iter().map(Event::Run).collect(),
        Event::Change(Change::Members(group, list)) => (0..list.len())
            .map(|i| Event::Change(Change::Members(*group, without(list, i))))
            .collect(),
        Event::Change(Change::Rotate(what, list)) => (0..list.len())
            .map(|i| Event::Change(Change::Rotate(*what, without(list, i))))
            .collect(),
        _ => Vec::new(),
    }
}

fn simpler_runs(run: &Run) -> Vec<Run> {
    let mut runs = vec![
        Run { full: false, ..run.clone() },
        Run { max_entries: 1_000, ..run.clone() },
        Run { max_bytes: 1 << 20, ..run.clone() },
        Run { slow: None, ..run.clone() },
    ];
    for i in 0..run.trouble.len() {
        let mut fewer = run.clone();
        fewer.trouble.remove(i);
        runs.push(fewer);
    }
    for i in 0..run.meanwhile.len() {
        let mut fewer = run.clone();
        fewer.meanwhile.remove(i);
        runs.push(fewer);
    }
    runs.retain(|simpler| simpler != run);
    runs
}
