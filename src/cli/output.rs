//! Writing to the terminal: everything that a command says goes through here. Colors are shown where they are wanted,
//! lines end where the terminal does, times are local there, and a reader of a pipe that has left causes no panic.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::cli::render::layout::{self, Part};
use crate::cli::{Failure, when};

/// The options by which this command found the proxy: those that it names find the same one.
static OPTIONS: OnceLock<String> = OnceLock::new();

/// Commands that are printed from now on get these options.
pub(crate) fn commands_with(options: String) {
    // The first word counts; nobody says another one.
    let _ = OPTIONS.set(options);
}

/// Prints words to standard output. `NO_COLOR` and whether it is a terminal are looked at here, once for everything.
pub(crate) fn print(text: &str) {
    verbatim(&laid_out(text, layout::wide()));
}

/// Prints an answer: as one JSON document, or in words.
pub(crate) fn answer<T: Serialize>(json: bool, answer: &T, words: impl FnOnce(&T) -> String) {
    if json { document(answer) } else { print(&words(answer)) }
}

/// A failure of a command that did something, or found something, all the same: that is printed now, or goes into its
/// document.
pub(crate) fn told_with<T: Serialize>(
    json: bool,
    answer: &T,
    words: impl FnOnce(&T) -> String,
    failure: Failure,
) -> Failure {
    if json {
        return Failure::With(Box::new(failure), serde_json::to_string(answer).unwrap_or_else(|_| "{}".to_owned()));
    }
    print(&words(answer));
    failure
}

/// Prints one JSON document in a line.
pub(crate) fn document(value: &impl Serialize) {
    verbatim(&format!("{}\n", serde_json::to_string(value).unwrap_or_default()));
}

/// Prints what is no message, such as a page or a script: as it is.
pub(crate) fn verbatim(text: &str) {
    let mut out = anstream::stdout().lock();
    ended_if_broken(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Prints an error.
pub(crate) fn complain(text: &str) {
    let mut out = anstream::stderr().lock();
    // Where not even this can be written, the exit code says it.
    let _ = write!(out, "{}", laid_out(text.trim_end(), layout::wide_errors()));
}

/// Shows a question; the cursor stays behind its last line. Whether it could be shown.
pub(crate) fn question(text: &str) -> bool {
    let mut out = anstream::stderr().lock();
    let text = laid_out(text, layout::wide_errors());
    write!(out, "{} ", text.trim_end()).and_then(|()| out.flush()).is_ok()
}

/// Standard error shows colors.
pub(crate) fn colored_errors() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

fn laid_out(text: &str, wide: usize) -> String {
    let options = OPTIONS.get().map_or("", String::as_str);
    text.lines().map(|line| layout::folded(&told(line, options), wide)).collect()
}

/// A text whose commands get these options instead.
pub(crate) fn with_options(text: &str, options: &str) -> String {
    text.lines().map(|line| told(line, options) + "\n").collect()
}

/// A line with times as people read them, and with commands that can be pasted anywhere.
fn told(line: &str, options: &str) -> String {
    let parts = layout::parts(line).into_iter().map(|part| match part {
        Part::Text(text) => when::localized(text),
        Part::Whole(text) => pasteable(text, options),
    });
    parts.collect()
}

fn pasteable(text: &str, options: &str) -> String {
    if options.is_empty()
        || ["--config", "--instance", "--admin", "--token-file"].iter().any(|option| text.contains(option))
    {
        return text.to_owned();
    }
    let one = |command: &str| match command.strip_prefix('`').unwrap_or(command).strip_prefix("cutover ") {
        Some(rest) => {
            let tick = if command.starts_with('`') { "`" } else { "" };
            format!("{tick}cutover{options} {rest}")
        }
        None => command.to_owned(),
    };
    text.split(" && ").map(one).collect::<Vec<_>>().join(" && ")
}

/// `cutover history | head` is no failure.
fn ended_if_broken(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            complain(&format!("could not write the output: {error}"));
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_options_by_which_the_proxy_was_found() {
        let options = " --config /etc/shop.toml";
        let said = "in_progress: a move runs; to cancel it: `cutover rollback`";
        assert!(told(said, options).ends_with("`cutover --config /etc/shop.toml rollback`"));
        let next = "  Next: cutover freeze && cutover status";
        assert_eq!(told(next, options), format!("  Next: cutover{options} freeze && cutover{options} status"));
        for stays in ["`cutover check --config /a.toml`", "`state.order_window`", "the cutover of today"] {
            assert_eq!(told(stays, options), stays);
        }
    }

    #[test]
    fn times_are_shown_as_people_read_them_but_for_those_in_commands() {
        let said = "frozen since 2026-11-29T10:10:44.123Z: `cutover freeze --until 2026-12-01T00:00:00Z`";
        assert_eq!(
            told(said, ""),
            "frozen since 2026-11-29 10:10:44 UTC: `cutover freeze --until 2026-12-01T00:00:00Z`"
        );
    }
}
