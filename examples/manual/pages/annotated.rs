//! An annotated configuration file taken apart: headlines, and below each the settings with the
//! comments above them.

/// What stands below one headline.
pub struct Section<'t> {
    /// The headline; empty before the first.
    pub title: &'t str,
    pub blocks: Vec<Block<'t>>,
}

/// Lines without a blank one between them: a comment, and the settings it is about.
#[derive(Default)]
pub struct Block<'t> {
    pub comment: Vec<Part<'t>>,
    /// Whether the settings stand in a table, which is then what the comment is about.
    pub is_table: bool,
    /// The keys, in the order of the file.
    pub keys: Vec<&'t str>,
}

/// A piece of a comment.
pub enum Part<'t> {
    /// Words to be filled into lines.
    Text(String),
    /// Lines as they are, which the file indents.
    Lines(Vec<&'t str>),
}

/// Takes a file apart.
pub fn sections(file: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { title: "", blocks: Vec::new() }];
    for chunk in file.split("\n\n") {
        let mut block = Block::default();
        for line in chunk.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ---- ") {
                Some(title) => sections.push(Section {
                    title: title.trim_end_matches('-').trim(),
                    blocks: Vec::new(),
                }),
                None => block.add(line),
            }
        }
        if let Some(section) =
            sections.last_mut().filter(|_| !(block.comment.is_empty() && block.keys.is_empty()))
        {
            section.blocks.push(block);
        }
    }
    sections
}

impl<'t> Block<'t> {
    fn add(&mut self, line: &'t str) {
        let text = line.strip_prefix("# ").unwrap_or(line);
        if let Some(key) = key(text) {
            self.keys.push(key);
        } else if text.starts_with('[') && text.ends_with(']') {
            self.is_table = true;
        } else if let Some(literal) = text.strip_prefix("  ") {
            match self.comment.last_mut() {
                Some(Part::Lines(lines)) => lines.push(literal),
                _ => self.comment.push(Part::Lines(vec![literal])),
            }
        } else if line.starts_with("# ") {
            match self.comment.last_mut() {
                Some(Part::Text(words)) => words.push_str(&format!(" {text}")),
                _ => self.comment.push(Part::Text(text.to_owned())),
            }
        }
    }
}

/// The key of a setting, in force or commented out.
fn key(text: &str) -> Option<&str> {
    let (key, _) = text.split_once(" = ")?;
    key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(key)
}
