//! Problems of a configuration: place, reason and repair, drawn as compilers do.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::domain::color::Color;

/// The most problems shown: the first ones cause the rest.
const SHOWN: usize = 50;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Bytes of the file.
    pub span: Range<usize>,
    pub message: String,
    /// The repair.
    pub help: Option<String>,
}

/// A file or variable in the configuration that can't be used. Its repair needs no edit of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableFile {
    pub setting: String,
    /// The file, or the variable with a `$`.
    pub path: String,
    /// Never any of the content.
    pub reason: String,
}

/// The unusable files that are no error.
#[derive(Clone, Copy, Debug)]
pub enum Tolerated<'a> {
    /// For `cutover check`, and for files that an edit adds.
    None,
    /// For a start: every file without which other traffic can still be served.
    All,
    /// For a reload and an upgrade: files that were unusable before.
    Known(&'a [UnusableFile]),
}

impl Tolerated<'_> {
    fn covers(self, file: &UnusableFile) -> bool {
        match self {
            Tolerated::None => false,
            Tolerated::All => true,
            Tolerated::Known(known) => {
                known.iter().any(|known| (&known.setting, &known.path) == (&file.setting, &file.path))
            }
        }
    }

    /// Splits the unusable files into tolerated ones and errors.
    pub(super) fn part(self, files: Vec<(Diagnostic, UnusableFile)>) -> (Vec<UnusableFile>, Vec<Diagnostic>) {
        let (tolerated, errors): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, file)| self.covers(file));
        (tolerated.into_iter().map(|(_, file)| file).collect(), errors.into_iter().map(|(error, _)| error).collect())
    }
}

/// All problems of a file. `Display` writes one line for each; [`ConfigError::render`] draws them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub path: PathBuf,
    /// The text; empty where the file could not be read.
    pub source: String,
    /// In the order of the file; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl ConfigError {
    #[must_use]
    pub fn unreadable(path: &Path, reason: &str) -> ConfigError {
        let diagnostic = Diagnostic { span: 0..0, message: reason.to_owned(), help: None };
        ConfigError { path: path.to_owned(), source: String::new(), diagnostics: vec![diagnostic] }
    }

    /// The file has no release for a color that serves.
    #[must_use]
    pub fn empties(path: &Path, color: Color) -> ConfigError {
        let message = format!("{color} serves, and the file says of nothing that is deployed there");
        let help = Some(format!("put `release` and `endpoints` back under [{color}]"));
        let diagnostics = vec![Diagnostic { span: 0..0, message, help }];
        ConfigError { path: path.to_owned(), source: String::new(), diagnostics }
    }

    /// Line and column of a diagnostic, both from 1; the column counts characters.
    #[must_use]
    pub fn place(&self, diagnostic: &Diagnostic) -> (usize, usize) {
        let at = diagnostic.span.start.min(self.source.len());
        let before = self.source.get(..at).unwrap_or(&self.source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        // Editors don't count a byte order mark.
        let line = before[line_start..].trim_start_matches('\u{feff}');
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// Every problem with its lines of the file, for a terminal or for plain text.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        if self.source.is_empty() {
            return format!("{self}\n");
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let path = self.path.to_string_lossy();
        let mut text = String::new();
        for diagnostic in self.diagnostics.iter().take(SHOWN) {
            let end = diagnostic.span.end.min(self.source.len());
            let span = diagnostic.span.start.min(end)..end;
            let snippet = Snippet::source(&self.source).path(&*path).annotation(AnnotationKind::Primary.span(span));
            let mut groups = vec![Level::ERROR.primary_title(&*diagnostic.message).element(snippet)];
            if let Some(help) = &diagnostic.help {
                groups.push(Group::with_title(Level::HELP.secondary_title(&**help)));
            }
            text.push_str(&renderer.render(&groups));
            text.push_str("\n\n");
        }
        if self.diagnostics.len() > SHOWN {
            text.push_str(&format!("and {} more\n", self.diagnostics.len() - SHOWN));
        }
        text
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().take(SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let path = self.path.display();
            if self.source.is_empty() {
                write!(f, "{path}: {}", diagnostic.message)?;
            } else {
                let (line, column) = self.place(diagnostic);
                write!(f, "{path}:{line}:{column}: {}", diagnostic.message)?;
            }
            if let Some(help) = &diagnostic.help {
                write!(f, "; {help}")?;
            }
        }
        if self.diagnostics.len() > SHOWN {
            write!(f, "\nand {} more", self.diagnostics.len() - SHOWN)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
