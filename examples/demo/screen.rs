//! What the demo prints: everything within 80 columns.

const WIDTH: usize = 80;

/// A headline across the screen.
pub fn headline(text: &str) {
    println!("\n── {text} {}", "─".repeat(WIDTH.saturating_sub(text.chars().count() + 5)));
}

/// A paragraph.
pub fn paragraph(text: &str) {
    wrapped("", "", text);
}

/// A line of the tool's own output, set off from the demo's.
pub fn output(text: &str) {
    wrapped("  │ ", "  │     ", text);
}

/// A row of what Kanidm holds.
pub fn row(name: &str, content: &str, dn: &str) {
    println!("    {name:<10} {content:<21} {dn}");
}

/// Breaks a text at its blanks. `first` begins the first line, `next` those that follow.
fn wrapped(first: &str, next: &str, text: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            println!("{line}");
            line = next.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    println!("{line}");
}
