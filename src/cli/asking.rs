//! Questions on a terminal: a missing reason, and a confirmation. Scripts are asked nothing.

use std::io::{BufRead, IsTerminal};

use crate::cli::{Failure, output};

fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn answer(question: &str) -> Option<String> {
    if !output::question(question) {
        return None;
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

/// The given reason, or else a question for it. `--yes` skips the question.
pub(crate) fn reason(given: Option<String>, yes: bool) -> Option<String> {
    if given.is_some() || yes || !is_interactive() {
        return given;
    }
    answer("Reason, kept in the history (Enter for none):").filter(|reason| !reason.is_empty())
}

pub(crate) fn confirmed(what: &str, yes: bool) -> Result<(), Failure> {
    if yes || !is_interactive() {
        return Ok(());
    }
    match answer(&format!("{what}\nContinue? [y/N]")).as_deref() {
        Some("y" | "Y" | "yes" | "Yes" | "YES") => Ok(()),
        _ => Err(Failure::Failed("Nothing was changed.".to_owned())),
    }
}
