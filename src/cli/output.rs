//! Terminal output of all commands: colors where wanted, lines of the terminal's width, local times, and no panic when
//! the reader of a pipe has left.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::cli::render::layout::{self, Part};
use crate::cli::{Failure, when};

/// Options that found this proxy: printed commands repeat them.
static OPTIONS: OnceLock<String> = OnceLock::new();

pub(crate) fn commands_with(options: String) {
    // The first call counts.
    let _ = OPTIONS.set(options);
}

/// The only place that decides on colors: `NO_COLOR`, and whether it is a terminal.
pub(crate) fn print(text: &str) {
    verbatim(&laid_out(text, layout::wide()));
}

/// For a text that begins with names, and whose commands have their options.
pub(crate) fn print_with(text: &str, options: &str) {
    verbatim(&text.lines().map(|line| layout::folded(&told(line, options), layout::wide())).collect::<String>());
}

pub(crate) fn answer<T: Serialize>(json: bool, answer: &T, words: impl FnOnce(&T) -> String) {
    if json { document(answer) } else { print(&words(answer)) }
}

/// A failure after a partial success: the success is printed now, or goes into the failure's document.
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

pub(crate) fn document(value: &impl Serialize) {
    verbatim(&format!("{}\n", serde_json::to_string(value).unwrap_or_default()));
}

/// For pages and scripts, which are printed as they are.
pub(crate) fn verbatim(text: &str) {
    let mut out = anstream::stdout().lock();
    ended_if_broken(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

pub(crate) fn complain(text: &str) {
    let mut out = anstream::stderr().lock();
    // If even this fails, the exit code remains.
    let _ = write!(out, "{}", laid_out(text.trim_end(), layout::wide_errors()));
}

/// The cursor stays behind the last line. False: nobody can see the question.
pub(crate) fn question(text: &str) -> bool {
    let mut out = anstream::stderr().lock();
    let text = laid_out(text, layout::wide_errors());
    write!(out, "{} ", text.trim_end()).and_then(|()| out.flush()).is_ok()
}

pub(crate) fn colored_errors() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

fn laid_out(text: &str, wide: usize) -> String {
    let options = OPTIONS.get().map_or("", String::as_str);
    text.lines().map(|line| layout::folded(&told(line, options), wide)).collect()
}

/// Adds these options to the commands in a text.
pub(crate) fn with_options(text: &str, options: &str) -> String {
    text.lines().map(|line| told(line, options) + "\n").collect()
}

/// With local times, and with commands that can be pasted anywhere.
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
