//! What was measured, as text while it is measured, and as a document with plots at the end.

pub(crate) mod histogram;
mod plot;
pub(crate) mod table;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use plot::{Dots, Lines};

/// Collects tables and plots.
pub(crate) struct Report {
    /// Where the document goes; its plots are beside it, in `images`.
    file: Option<PathBuf>,
    text: String,
    plots: Vec<(String, String)>,
}

impl Report {
    pub(crate) fn new(file: Option<PathBuf>) -> Report {
        Report { file, text: String::new(), plots: Vec::new() }
    }

    pub(crate) fn section(&mut self, title: &str, about: &str) {
        println!("\n{title}\n{}\n{about}", "=".repeat(title.chars().count()));
        let _ = write!(self.text, "\n## {title}\n\n{}\n", wrapped(about));
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        println!("\n{text}");
        let _ = write!(self.text, "\n{}\n", wrapped(text));
    }

    pub(crate) fn table(&mut self, title: &str, head: &[&str], rows: &[Vec<String>]) {
        table::print_rows(title, head, rows);
        let (heading, about) = title.split_once(": ").unwrap_or((title, ""));
        let _ = write!(self.text, "\n### {heading}\n\n");
        if !about.is_empty() {
            let _ = write!(self.text, "{}\n\n", wrapped(&format!("{about}.")));
        }
        let _ = write!(self.text, "| {} |\n|---|{}\n", head.join(" | "), "---:|".repeat(head.len() - 1));
        for row in rows {
            let _ = writeln!(self.text, "| {} |", row.join(" | "));
        }
    }

    pub(crate) fn dots(&mut self, name: &str, dots: &Dots) {
        self.plot(name, &dots.title, plot::dots(dots));
    }

    pub(crate) fn lines(&mut self, name: &str, lines: &Lines) {
        self.plot(name, &lines.title, plot::lines(lines));
    }

    fn plot(&mut self, name: &str, title: &str, image: String) {
        let file = format!("performance-{name}.svg");
        let _ = write!(self.text, "\n![{title}](images/{file})\n");
        self.plots.push((file, image));
    }

    /// Writes the document, if one was asked for.
    pub(crate) fn write(self, machine: &str) -> Result<(), String> {
        let Some(file) = self.file else { return Ok(()) };
        let head = format!(
            "# Performance\n\n`cargo bench --bench compare -- --report docs/performance.md` measured these figures and \
             wrote this\ndocument. Lower is better unless a title says otherwise.\n\n```text\n{machine}```\n"
        );
        let images = file.parent().unwrap_or(Path::new(".")).join("images");
        fs::create_dir_all(&images).map_err(|error| format!("{}: {error}", images.display()))?;
        for (name, image) in &self.plots {
            let path = images.join(name);
            fs::write(&path, image).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        fs::write(&file, head + &self.text).map_err(|error| format!("{}: {error}", file.display()))
    }
}

/// Lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 100 {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}
