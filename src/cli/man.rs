//! Manual pages: one per command, with examples, variables and exit codes, and one for the configuration file.

use std::fmt::Write;
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::cli::Failure;
use crate::cli::args::Args;
use crate::cli::output::verbatim;

const REFERENCE: &str = include_str!("../../config/reference.toml");

const EXAMPLES: &[(&str, &str, &str)] = &[
    ("healthcheck", "cutover healthcheck --timeout 1s", "Ask once, as the health check of a container."),
    ("cutover", "cutover status", "What is wrong, and the command to type next."),
    ("cutover", "cutover switch green --reason \"release 2.14\"", "Move all traffic to green."),
    ("cutover", "cutover rollback --reason errors", "Move it back."),
    ("run", "cutover run --config /etc/cutover/cutover.toml", "Serve, until TERM or INT."),
    ("check", "cutover check --config new.toml", "Say what this file would change in the running proxy."),
    ("switch", "cutover switch green --wait drained --reason \"release 2.14\"", "Come back when blue is drained."),
    ("switch", "cutover switch green --dry-run", "Say whether it would be done; change nothing."),
    ("rollback", "cutover rollback --reason errors", "Back to the release that served before."),
    ("rollback", "cutover rollback --quarantine --reason errors", "The same, and refuse the bad release from now on."),
    ("canary", "cutover canary start --steps 5%,25%,50% --wait", "Give green growing shares, and wait for the end."),
    ("canary", "cutover canary watch", "Follow it."),
    ("canary", "cutover canary abort --reason errors", "Give it no more traffic."),
    ("replay", "cutover replay dep-42", "Judge deployment 42 again."),
    ("status", "cutover status --check", "For a script: the headline, and 1 on a warning or an outage."),
    ("status", "cutover status --watch", "Refresh each second."),
    ("status", "cutover status --all", "The headline of every application on this machine."),
    ("wait", "cutover wait --active green --drained", "Wait until green serves and blue is drained."),
    ("history", "cutover history --kind refused --since 2h", "What was refused in the last two hours."),
    ("history", "cutover history verify", "Look whether the ledger is as it was written."),
    ("freeze", "cutover freeze --reason weekend --until 48h", "Allow nothing but a rollback for two days."),
    ("unfreeze", "cutover unfreeze", "Allow moves again."),
    (
        "maintenance",
        "cutover maintenance on --reason \"db upgrade\"",
        "Answer every request with the maintenance answer.",
    ),
    ("notify", "cutover notify test", "Send one notice to each receiver."),
    ("reload", "cutover reload", "Read the configuration file now, and print its errors."),
    ("upgrade", "cutover upgrade --reason \"0.3.0\"", "Serve by the binary that is installed now."),
    ("demo", "cutover demo", "Two applications, a proxy, and the commands to paste."),
    ("completions", "cutover completions bash > /etc/bash_completion.d/cutover", "Install completions."),
    ("man", "cutover man /usr/local/share/man/man1", "Install these pages."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CUTOVER_CONFIG", "The configuration file, as --config."),
    ("CUTOVER_INSTANCE", "The instance, as --instance."),
    ("CUTOVER_ADMIN", "The admin address of the running proxy, as --admin."),
    ("CUTOVER_TOKEN", "The token for the admin API; --token-file reads it from a file."),
    ("CUTOVER_CA", "The authority of an https:// admin address, as --ca."),
    ("CUTOVER_CERT", "The client certificate for the admin API, as --cert."),
    ("CUTOVER_KEY", "The key of the client certificate, as --key."),
    ("NO_COLOR", "Print without colors."),
    ("STATE_DIRECTORY", "The directory of the ledger, where state.dir is not set."),
];

const EXIT: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Failed; with `status --check`: a warning or an outage."),
    ("2", "The command can't be understood, or a configuration is not valid."),
    ("3", "Refused by a guard, which is printed; or the release that was followed was taken back."),
    ("4", "The proxy can't be reached."),
    ("5", "Timed out while waiting."),
    ("6", "No token, a wrong one, or one that may only read."),
    ("130", "Interrupted; a move that still waited was cancelled."),
];

pub(crate) fn run(dir: Option<&Path>) -> Result<(), Failure> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = dir else {
        verbatim(&page(&command)?);
        return Ok(());
    };
    let mut pages = Vec::new();
    collect(&command, &mut pages)?;
    pages.push(("cutover.toml.5".to_owned(), reference()));
    for (name, text) in pages {
        std::fs::write(dir.join(name), text)
            .map_err(|error| Failure::Failed(format!("could not write to {}: {error}", dir.display())))?;
    }
    Ok(())
}

fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> Result<(), Failure> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, pages)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.1"), page(command)?));
    Ok(())
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut bytes);
    rendered.map_err(|error| Failure::Failed(error.to_string()))?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    text.push_str(".SH EXAMPLES\n");
    for (line, what) in examples(name) {
        let _ = writeln!(text, ".TP\n{}\n{}", escaped(&line), escaped(&what));
    }
    definitions(&mut text, "ENVIRONMENT", ENVIRONMENT);
    definitions(&mut text, "EXIT STATUS", EXIT);
    text.push_str(".SH SEE ALSO\n\\fBcutover\\fR(1), \\fBcutover.toml\\fR(5)\n");
    Ok(text)
}

/// A subcommand without examples has those of its parent.
fn examples(name: &str) -> Vec<(String, String)> {
    let path: Vec<_> = name.split('-').collect();
    let key = path.get(1).copied().unwrap_or("cutover");
    let of_key = || EXAMPLES.iter().filter(|(of, ..)| *of == key);
    let deeper = path.join(" ");
    let exact = of_key().filter(|(_, line, _)| line.starts_with(&deeper));
    let mut chosen: Vec<_> = exact.map(|(_, line, what)| ((*line).to_owned(), (*what).to_owned())).collect();
    if chosen.is_empty() {
        chosen = of_key().map(|(_, line, what)| ((*line).to_owned(), (*what).to_owned())).collect();
    }
    if chosen.is_empty() {
        chosen.push((format!("{deeper} --help"), "Print every option.".to_owned()));
    }
    chosen
}

fn definitions(text: &mut String, title: &str, all: &[(&str, &str)]) {
    let _ = writeln!(text, ".SH \"{title}\"");
    for (name, what) in all {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(what));
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\(rs").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn reference() -> String {
    let mut text =
        String::from(".TH \"cutover.toml\" 5\n.SH NAME\ncutover.toml \\- the configuration file of cutover\n");
    text.push_str(".SH DESCRIPTION\n");
    let mut comment: Vec<&str> = Vec::new();
    for line in REFERENCE.lines() {
        if let Some(said) = line.strip_prefix("# ") {
            comment.push(said);
        } else if line.is_empty() || line == "#" {
            flush(&mut text, &mut comment);
        } else if line.trim_start_matches('#').starts_with('[') {
            let _ = writeln!(text, ".SH \"{}\"", escaped(line.trim_start_matches('#')));
            flush(&mut text, &mut comment);
        } else {
            let example = line.strip_prefix('#');
            let shown = escaped(example.unwrap_or(line).trim_end());
            let kind = if example.is_some() { " (example; off, or without a default)" } else { "" };
            let _ = writeln!(text, ".TP\n\\fB{shown}\\fR{kind}");
            let said = std::mem::take(&mut comment).join("\n");
            let lines = said.lines().map(escaped).collect::<Vec<_>>().join("\n");
            let _ = writeln!(text, "{}", if lines.is_empty() { "\\&" } else { &lines });
        }
    }
    flush(&mut text, &mut comment);
    text.push_str(".SH SEE ALSO\n\\fBcutover\\fR(1), \\fBcutover-check\\fR(1)\n");
    text
}

fn flush(text: &mut String, comment: &mut Vec<&str>) {
    if !comment.is_empty() {
        let lines: Vec<_> = comment.drain(..).map(escaped).collect();
        let _ = writeln!(text, ".PP\n{}", lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn pages() -> Vec<(String, String)> {
        let mut command = Args::command().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        collect(&command, &mut pages).expect("pages");
        pages
    }

    #[test]
    fn every_page_has_examples_variables_and_exit_codes() {
        let pages = pages();
        assert!(pages.len() > 20, "{}", pages.len());
        for (name, text) in pages {
            for section in [".SH NAME", ".SH EXAMPLES\n.TP\n", ".SH \"ENVIRONMENT\"", ".SH \"EXIT STATUS\""] {
                assert!(text.contains(section), "{name} has no {section}: {text}");
            }
        }
    }

    #[test]
    fn every_example_is_a_command_that_is_understood() {
        for (_, line, _) in EXAMPLES {
            let line = line.split(" > ").next().expect("a part").replace('"', "").replace("release 2.14", "release");
            let line = line.replace("db upgrade", "db");
            let parsed = Args::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|error| error.to_string()));
        }
    }

    #[test]
    fn the_page_of_the_file_has_every_key_with_its_words() {
        let page = reference();
        let keys = REFERENCE.lines().filter(|line| !line.starts_with("# ") && line.contains(" = "));
        for key in keys {
            let shown = escaped(key.trim_start_matches('#').trim_end());
            assert!(page.contains(&format!("\\fB{shown}\\fR")), "{key}");
        }
        assert!(page.contains("The permissions of the unix socket, in octal"), "{page}");
    }
}
