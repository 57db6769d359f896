//! The search for culprits: the few items among many that make Kanidm refuse a POST.
//!
//! Scope: the only search of this crate. It walks from left to right in steps as long as the usual
//! distance between culprits, and halves a step that is refused. For `k` culprits among `n` items
//! it takes about `k * (2 + log2(n / k))` tests. That is nearly the minimum if many items are
//! culprits.

use std::ops::{ControlFlow, Range};

/// Whether the search continues after a culprit.
pub(super) type Flow = ControlFlow<()>;

/// Finds the culprits among `count` items and reports each by its position.
///
/// - `refused`: true if all items together are known to fail.
/// - `is_clean` tests a range.
/// - `found` gets a culprit, and whether it was tested alone. The last item of a range is found by
///   elimination.
///
/// Returns the position after the last item with a known result. This is `count`, unless `found`
/// ends the search.
pub(super) fn culprits<E>(
    count: usize,
    refused: bool,
    mut is_clean: impl FnMut(Range<usize>) -> Result<bool, E>,
    mut found: impl FnMut(usize, bool) -> Result<Flow, E>,
) -> Result<usize, E> {
    let (mut at, mut step, mut number) = (0_usize, count.max(1), 0_usize);
    let mut known_end = refused.then_some(count);
    while at < count {
        let end = at.saturating_add(step).min(count);
        if known_end.take() != Some(end) && is_clean(at..end)? {
            (at, step) = (end, step.saturating_mul(2));
            continue;
        }
        let (culprit, alone) = first(at..end, &mut is_clean)?;
        number = number.saturating_add(1);
        at = culprit.saturating_add(1);
        // A step of about 0.7 times the distance between culprits needs the fewest tests.
        step = (at.saturating_mul(7) / number.saturating_mul(10)).max(1);
        if found(culprit, alone)?.is_break() {
            return Ok(at);
        }
    }
    Ok(count)
}

/// Returns the first culprit of a range that was refused, and whether it was tested alone.
fn first<E>(
    range: Range<usize>,
    is_clean: &mut impl FnMut(Range<usize>) -> Result<bool, E>,
) -> Result<(usize, bool), E> {
    let (mut low, mut high) = (range.start, range.end);
    let mut alone = high.saturating_sub(low) == 1;
    while high.saturating_sub(low) > 1 {
        let middle = low.saturating_add(high.saturating_sub(low) / 2);
        let clean = is_clean(low..middle)?;
        alone = !clean && middle.saturating_sub(low) == 1;
        (low, high) = if clean { (middle, high) } else { (low, middle) };
    }
    Ok((low, alone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn search(bad: &BTreeSet<usize>, count: usize) -> (Vec<usize>, usize) {
        let (mut tests, mut list) = (0, Vec::new());
        let end = culprits::<()>(
            count,
            !bad.is_empty(),
            |range| {
                tests += 1;
                assert!(!range.is_empty() && range.end <= count);
                Ok(bad.range(range).next().is_none())
            },
            |at, _| {
                list.push(at);
                Ok(Flow::Continue(()))
            },
        );
        assert_eq!(end, Ok(count));
        (list, tests)
    }

    #[test]
    fn it_finds_exactly_the_culprits() {
        for count in 0..9 {
            for mask in 0..1_usize << count {
                let bad: BTreeSet<usize> = (0..count).filter(|at| mask >> at & 1 == 1).collect();
                assert_eq!(
                    search(&bad, count).0,
                    bad.iter().copied().collect::<Vec<_>>(),
                    "{count} {mask:b}"
                );
            }
        }
    }

    #[test]
    fn what_was_tested_alone_is_said_to_be() {
        let bad = BTreeSet::from([1, 4, 5]);
        for count in 6..20 {
            let mut tested = BTreeSet::new();
            let alone = std::cell::RefCell::new(&mut tested);
            culprits::<()>(
                count,
                true,
                |range| {
                    if range.len() == 1 {
                        alone.borrow_mut().insert(range.start);
                    }
                    Ok(bad.range(range).next().is_none())
                },
                |at, is_alone| {
                    assert_eq!(alone.borrow().contains(&at), is_alone, "{at} of {count}");
                    Ok(Flow::Continue(()))
                },
            )
            .unwrap();
        }
        assert_eq!(
            culprits::<()>(
                1,
                true,
                |_| Ok(false),
                |_, alone| Ok(if alone { Flow::Break(()) } else { Flow::Continue(()) })
            ),
            Ok(1)
        );
    }

    #[test]
    fn tests_are_few() {
        for (k, n, limit) in [
            (1, 1_000, 20),
            (10, 50, 48),
            (50, 250, 220),
            (1_000, 5_000, 4_300),
            (50, 5_000, 480),
            (1, 100_000, 34),
        ] {
            // Spread by a multiplication that hits every position once.
            let bad: BTreeSet<usize> = (0..k).map(|at| at * 7_919 % n).collect();
            let (found, tests) = search(&bad, n);
            assert!(found.len() == bad.len() && tests <= limit, "{k} of {n}: {tests} tests");
        }
    }
}
