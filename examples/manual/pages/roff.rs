//! As much of man(7) as the pages need. Text goes in as it is and comes out so that groff and
//! mandoc show exactly that.

/// A page being written.
pub struct Page(String);

impl Page {
    /// Begins a page. It carries the version and no date: the same sources give the same page.
    /// Words are not hyphenated: readers search for names of keys and attributes.
    pub fn new(section: u8, what: &str) -> Page {
        let version = env!("CARGO_PKG_VERSION");
        let mut page = Page(format!(
            ".TH KANIDM-LDAP-SYNC {section} \"\" \"kanidm-ldap-sync {version}\"\n.nr HY 0\n.nh\n.ad l\n"
        ));
        page.section("NAME").text(&format!("kanidm-ldap-sync - {what}"));
        page
    }

    /// A headline.
    pub fn section(&mut self, title: &str) -> &mut Page {
        self.line(&format!(".SH \"{}\"", escaped(title)))
    }

    /// A headline below that.
    pub fn subsection(&mut self, title: &str) -> &mut Page {
        self.line(&format!(".SS \"{}\"", escaped(title)))
    }

    /// The paragraph that comes first below a headline.
    pub fn text(&mut self, text: &str) -> &mut Page {
        self.line(&marked(text))
    }

    /// Another paragraph, from the margin on.
    pub fn paragraph(&mut self, text: &str) -> &mut Page {
        self.line(".P").text(text)
    }

    /// A term, as roff; the text that follows says what it means.
    pub fn item(&mut self, term: &str) -> &mut Page {
        self.line(".TP").line(term)
    }

    /// Another paragraph of an item.
    pub fn item_paragraph(&mut self, text: &str) -> &mut Page {
        self.line(".IP").text(text)
    }

    /// Lines of an item as they are.
    pub fn item_lines(&mut self, lines: &[&str]) -> &mut Page {
        self.line(".IP").as_they_are(lines)
    }

    /// Lines as they are, indented.
    pub fn lines(&mut self, lines: &[&str]) -> &mut Page {
        self.line(".P").line(".RS 4").as_they_are(lines).line(".RE")
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }

    fn as_they_are(&mut self, lines: &[&str]) -> &mut Page {
        self.line(".EX");
        lines.iter().for_each(|line| {
            self.line(&escaped(line));
        });
        self.line(".EE")
    }

    fn line(&mut self, line: &str) -> &mut Page {
        self.0.push_str(line);
        self.0.push('\n');
        self
    }
}

/// In bold type.
pub fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// In italics: what the user puts something else for.
pub fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escaped(text))
}

/// Text in which whatever stands in backticks is shown in bold type.
fn marked(text: &str) -> String {
    let spans = text
        .split('`')
        .enumerate()
        .map(|(i, span)| if i % 2 == 1 { bold(span) } else { escaped(span) });
    spans.collect()
}

/// So that no character has a meaning of its own, and those that are typed in a shell can be copied
/// from the page.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        match c {
            // A control line, where a line begins with it.
            '.' if i == 0 => out.push_str("\\&."),
            '\'' => out.push_str("\\(aq"),
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '"' => out.push_str("\\(dq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("\\[u{:04X}]", c as u32)),
        }
    }
    out
}
