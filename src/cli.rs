//! The command line: a client of the admin API like any other, and the way to run the proxy.
//!
//! What a command prints on standard output is its result; why it failed goes to standard error, and into the exit code:
//! 0 done, 1 failed, 2 usage or invalid configuration, 3 refused by a guard (or taken back), 4 the proxy can't be reached, 5 timed
//! out, 6 no token or a wrong one, 130 interrupted.

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
mod man;
mod moves;
mod output;
mod pause;
mod record;
mod recovery;
mod render;
mod replay;
mod wait;
mod waiting;
mod when;

use std::process::ExitCode;

use clap::Parser;

use crate::admin::api::{NotifyTestBody, Problem};
use crate::app;
use crate::cli::args::{Args, HistoryAction, Notify, Subcommand};
use crate::cli::client::Client;
use crate::cli::output::{complain, print};

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command can't be understood, or a configuration is not valid.
    Usage(String),
    /// The proxy answered with an error.
    Refused(Box<Problem>),
    /// Nobody answers at the admin address.
    Unreachable(String),
    /// It did not come about in time.
    TimedOut(String),
    /// The release that was followed was taken back.
    TakenBack(String),
    /// The headline that was printed is a warning or an outage.
    NotWell,
    /// The command was given up, with the exit code of that.
    Ended(String, u8),
    /// Anything else.
    Failed(String),
    /// It was told on standard output as a document; the exit code, and the text for people.
    Told(u8, String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::NotWell => 1,
            Failure::TakenBack(_) => 3,
            Failure::Ended(_, code) => *code,
            Failure::Usage(_) => 2,
            Failure::Refused(problem) => match problem.status {
                409 | 412 => 3,
                // What was asked for can't be understood, or a configuration is not valid.
                400 | 422 => 2,
                401 => 6,
                _ => 1,
            },
            Failure::Unreachable(_) => 4,
            Failure::TimedOut(_) => 5,
            Failure::Told(code, _) => *code,
        }
    }

    fn text(&self) -> String {
        match self {
            Failure::Usage(text)
            | Failure::Unreachable(text)
            | Failure::TimedOut(text)
            | Failure::TakenBack(text)
            | Failure::Told(_, text)
            | Failure::Ended(text, _)
            | Failure::Failed(text) => text.clone(),
            Failure::NotWell => String::new(),
            Failure::Refused(problem) => render::problem(problem),
        }
    }
}

/// Parses the arguments, does what they say, and tells how it went.
#[must_use]
pub fn run() -> ExitCode {
    args::complete();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = args.json;
    match carry_out(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let (true, Failure::Refused(problem)) = (json, &failure) {
                print(&format!("{}\n", serde_json::to_string(&**problem).unwrap_or_default()));
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
        Subcommand::Status(options) => on_runtime(commands::status(&Client::find(&connection)?, &options, json)),
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
        Subcommand::Reload => on_runtime(commands::reload(&Client::find(&connection)?, json)),
    }
}

/// Commands talk to one proxy, one thing at a time.
fn on_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(format!("could not start: {error}")))?.block_on(work)
}

fn run_proxy(config: &std::path::Path) -> Result<(), Failure> {
    app::run(config).map_err(|error| match error {
        app::Error::Config(error) => Failure::Usage(error.render(output::colored_errors())),
        app::Error::Tls(_) => Failure::Usage(error.to_string()),
        app::Error::Ledger(_) | app::Error::Io { .. } => Failure::Failed(error.to_string()),
    })
}
