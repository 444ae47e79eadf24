//! The command line: a client of the admin API, and the way to run the proxy.
//!
//! Standard output gets a command's result, standard error the reason of a failure. Exit codes: 0 done, 1 failed, 2
//! usage or invalid configuration, 3 refused by a guard (or taken back), 4 proxy unreachable, 5 timed out, 6 token
//! missing, wrong or read-only, 130 interrupted. With `--json` standard output has exactly one document; that of a
//! failure has a stable `code`.

mod args;
mod asking;
mod canary;
mod check;
mod client;
mod commands;
mod completions;
mod connection;
mod demo;
mod deploy;
mod healthcheck;
mod instances;
mod man;
mod moves;
mod output;
mod pause;
mod record;
mod recovery;
mod render;
mod replay;
mod upgrade;
mod wait;
mod waiting;
mod when;

use std::process::ExitCode;

use anstream::adapter::strip_str;
use clap::Parser;
use serde_json::{Value, json};

use crate::admin::api::{NotifyTestBody, Problem};
use crate::app;
use crate::cli::args::{Args, HistoryAction, Notify, Subcommand};
use crate::cli::client::Client;
use crate::cli::output::{commands_with, complain, verbatim};

#[derive(Debug)]
pub(crate) enum Failure {
    Usage(String),
    Refused(Box<Problem>),
    Unreachable(String),
    TimedOut(String),
    TakenBack(String),
    NotWell,
    /// An exit code, for a failure that was printed already.
    Told(u8),
    /// A stable code, the text, and the exit code.
    Ended(String, String, u8),
    Failed(String),
    /// A failure with the JSON object of the things done before it.
    With(Box<Failure>, String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::NotWell => 1,
            Failure::TakenBack(_) => 3,
            Failure::Ended(_, _, code) | Failure::Told(code) => *code,
            Failure::Usage(_) => 2,
            Failure::Refused(problem) => match problem.status {
                409 | 412 => 3,
                400 | 422 => 2,
                401 | 403 => 6,
                _ => 1,
            },
            Failure::Unreachable(_) => 4,
            Failure::TimedOut(_) => 5,
            Failure::With(failure, _) => failure.code(),
        }
    }

    fn text(&self) -> String {
        match self {
            Failure::Usage(text)
            | Failure::Unreachable(text)
            | Failure::TimedOut(text)
            | Failure::TakenBack(text)
            | Failure::Ended(_, text, _)
            | Failure::Failed(text) => text.clone(),
            Failure::NotWell | Failure::Told(_) => String::new(),
            Failure::Refused(problem) => render::problem(problem),
            Failure::With(failure, _) => failure.text(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Failure::Usage(_) => "usage",
            Failure::Refused(problem) => &problem.code,
            Failure::Unreachable(_) => "unreachable",
            Failure::TimedOut(_) => "timed_out",
            Failure::TakenBack(_) => "taken_back",
            Failure::NotWell | Failure::Told(_) => "not_well",
            Failure::Ended(code, ..) => code,
            Failure::Failed(_) => "failed",
            Failure::With(failure, _) => failure.name(),
        }
    }

    /// The document of `--json`: the things done before the failure, then `code` and `detail` as its last keys.
    fn document(&self) -> String {
        let Failure::With(failure, done) = self else { return self.alone().to_string() };
        let alone = failure.alone();
        let mut document = done.strip_suffix('}').unwrap_or(done).to_owned();
        let separator = if document.ends_with('{') { "" } else { "," };
        document.push_str(&format!("{separator}\"code\":{}", Value::from(failure.name())));
        if !failure.text().is_empty() {
            document.push_str(&format!(",\"detail\":{}", alone["detail"]));
        }
        document + "}"
    }

    fn alone(&self) -> Value {
        match self {
            Failure::Refused(problem) => serde_json::to_value(&**problem).unwrap_or_default(),
            Failure::With(failure, _) => failure.alone(),
            other => json!({ "code": other.name(), "detail": strip_str(&other.text()).to_string() }),
        }
    }
}

/// Runs the command of this process's arguments. Exit codes: `docs/cli.md`.
#[must_use]
pub fn run() -> ExitCode {
    args::complete();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = args.json;
    match carry_out(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json && !matches!(failure, Failure::Told(_)) {
                verbatim(&format!("{}\n", failure.document()));
            }
            let text = failure.text();
            if !text.is_empty() {
                complain(&text);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn carry_out(args: Args) -> Result<(), Failure> {
    let Args { connection, json, command } = args;
    commands_with(connection.given());
    match command {
        Subcommand::Run => run_proxy(&connection.config_path()),
        Subcommand::Demo(options) => demo::run(&options),
        Subcommand::Completions { shell } => completions::script(&shell.to_string()),
        Subcommand::Man { dir } => man::run(dir.as_deref()),
        Subcommand::Check => check::run(&connection, json),
        Subcommand::Deploy(options) => on_runtime(deploy::run(&Client::find(&connection)?, options, json)),
        Subcommand::Switch(options) => on_runtime(moves::switch(&Client::find(&connection)?, options, json)),
        Subcommand::Rollback(options) => on_runtime(moves::rollback(&Client::find(&connection)?, options, json)),
        Subcommand::Canary(command) => on_runtime(canary::run(&connection, command, json)),
        Subcommand::Replay(options) => on_runtime(replay::replay(&connection, &options, json)),
        Subcommand::Pause(options) => on_runtime(pause::pause(&Client::find(&connection)?, options, json)),
        Subcommand::Unpause { reason } => on_runtime(pause::unpause(&Client::find(&connection)?, reason, json)),
        Subcommand::Maintenance { turn, reason, yes } => {
            on_runtime(pause::maintenance(&Client::find(&connection)?, turn, reason, yes, json))
        }
        Subcommand::Status(options) if options.all => on_runtime(instances::status(&connection, json)),
        Subcommand::Status(options) => on_runtime(commands::status(&Client::find(&connection)?, &options, json)),
        Subcommand::Healthcheck(options) => on_runtime(healthcheck::run(&connection, &options, json)),
        Subcommand::Wait(options) => on_runtime(wait::run(&Client::find(&connection)?, &options, json)),
        Subcommand::History(options) => match options.action {
            None => on_runtime(record::history(&Client::find(&connection)?, &options, json)),
            Some(HistoryAction::Releases) => on_runtime(record::releases(&Client::find(&connection)?, json)),
            Some(HistoryAction::Verify { file: Some(file) }) => record::verify_file(&file, json),
            Some(HistoryAction::Verify { file: None }) => on_runtime(record::verify(&Client::find(&connection)?, json)),
        },
        Subcommand::Freeze(options) => on_runtime(commands::freeze(&Client::find(&connection)?, options, json)),
        Subcommand::Unfreeze { reason } => on_runtime(commands::unfreeze(&Client::find(&connection)?, reason, json)),
        Subcommand::Notify(Notify::Test { sink, all }) => {
            on_runtime(commands::notify_test(&Client::find(&connection)?, NotifyTestBody { sink, all }, json))
        }
        Subcommand::Upgrade(options) => on_runtime(upgrade::run(&Client::find(&connection)?, options, json)),
        Subcommand::Reload => on_runtime(commands::reload(&Client::find(&connection)?, json)),
    }
}

/// One thread suffices: commands do one thing at a time.
fn on_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(format!("could not start: {error}")))?.block_on(work)
}

fn run_proxy(config: &std::path::Path) -> Result<(), Failure> {
    // Paths that the proxy names must be found from every directory.
    let config = &std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    app::run(config).map_err(|error| match error {
        app::Error::Config(error) => Failure::Usage(error.render(output::colored_errors())),
        app::Error::Tls(_) => Failure::Usage(error.to_string()),
        app::Error::Ledger(_) | app::Error::Io { .. } => Failure::Failed(error.to_string()),
    })
}
