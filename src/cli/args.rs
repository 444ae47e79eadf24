//! The command line's arguments.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{CommandFactory, Parser, Subcommand as Subcommands, ValueEnum};
use clap_complete::env::CompleteEnv;
use clap_complete::{ArgValueCandidates, Shell};

use crate::cli::completions;
use crate::cli::connection::{COMMON, Connection};
use crate::domain::color::Color;

pub(crate) mod canary;
pub(crate) mod deploy;
pub(crate) mod moves;

use moves::{Rollback, Switch};

/// Moves all traffic between two environments, blue and green, by one command, and back.
#[derive(Debug, Parser)]
#[command(
    name = "cutover",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or invalid configuration, 3 refused by a guard (the reason is printed), \
                  or the release that was followed was taken back, 4 the proxy can't be reached, 5 timed out while waiting, \
                  6 no token, a wrong one, or one that may only read, 130 interrupted."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Print one JSON document, also of a failure: then with a stable `code`; commands that follow something print one
    /// a line
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Subcommand,
}

/// Answers a shell that asks for a completion, and ends the process.
pub(crate) fn complete() {
    CompleteEnv::with_factory(Args::command).var(completions::VARIABLE).bin("cutover").complete();
}

/// The subcommand.
#[derive(Debug, Subcommands)]
pub(crate) enum Subcommand {
    /// Run the proxy in the foreground; TERM or INT ends it gracefully, HUP reloads the file, USR2 upgrades
    Run,
    /// Validate a configuration file, and say what it would change in the running proxy
    Check,
    /// Put a release on the color that does not serve, and move the traffic there
    Deploy(deploy::Deploy),
    /// Move all traffic to a color
    Switch(Switch),
    /// Move all traffic back to the known-good release that served before
    Rollback(Rollback),
    /// Give a new release a growing share of the requests, and compare it with the one that serves
    #[command(subcommand)]
    Canary(canary::Canary),
    /// Judge a recorded deployment again, by the same rules or by others
    Replay(canary::Replay),
    /// Hold new requests until `unpause`, or until a time limit; in-flight requests finish
    #[command(alias = "hold")]
    Pause(Pause),
    /// Send held requests to the color that serves; a switch that holds them is cancelled
    #[command(alias = "release")]
    Unpause {
        /// The reason, kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Answer every request with the maintenance answer, even after a restart, or serve again
    Maintenance {
        /// on or off
        turn: Turn,
        /// The reason, kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
        /// Ask no questions: neither for a reason nor for a confirmation
        #[arg(long, short)]
        yes: bool,
    },
    /// Show which color serves, the health of both, and whether a rollback is possible
    Status(Status),
    /// Ask once whether the running proxy takes traffic, without a token: 0 if it does, else 1; for containers
    Healthcheck(Healthcheck),
    /// Wait until all given conditions hold; without one, until the proxy is ready and nothing moves or drains
    Wait(Wait),
    /// Show the moves that were made, tried and refused, newest first
    History(History),
    /// Refuse every move but rollbacks
    Freeze(Freeze),
    /// Allow moves again
    Unfreeze {
        /// The reason, kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Test the notices to Slack and webhooks
    #[command(subcommand)]
    Notify(Notify),
    /// Make the proxy read its configuration file again, and print the errors in it
    Reload,
    /// Have the binary on disk take over from the running process, without a lost connection, and print the outcome
    Upgrade(Upgrade),
    /// Try Cutover: two small applications, the proxy in front of them, and the commands to paste
    Demo(Demo),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them into a directory
    Man {
        /// An existing directory, which gets a page for each command [default: print the main page]
        dir: Option<PathBuf>,
    },
}

/// `status`
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Refresh each second until interrupted
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Print the headline only, and exit with 1 if it is a warning or an outage
    #[arg(long, conflicts_with = "watch")]
    pub(crate) check: bool,
    /// Print the headline of every instance on this machine; the exit code is the worst, as with --check
    #[arg(long, conflicts_with_all = ["watch", "check", "verbose"])]
    pub(crate) all: bool,
    /// Also print the odds of a canary, certificates, the preview, and each error of the file in full
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// `healthcheck`
#[derive(Debug, clap::Args)]
pub(crate) struct Healthcheck {
    /// Ask the listener of clients (`listen.http`) for `readiness.path`, instead of the admin address
    #[arg(long)]
    pub(crate) traffic: bool,
    /// The longest time for the answer
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `maintenance`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Turn {
    /// No request is served
    On,
    /// Requests are served again
    Off,
}

/// `pause`
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// The longest time, 1s to 1day; then the serving color gets the held requests
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// Replace a pause of another operator, or one for another reason
    #[arg(long)]
    pub(crate) replace: bool,
    /// Ask no questions: neither for a reason nor for a confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// The reason, kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `upgrade`
#[derive(Debug, clap::Args)]
pub(crate) struct Upgrade {
    /// The longest start of the new process, 100ms to 10m; after it the running process keeps serving
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// The reason, kept in the process log
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `history`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct History {
    #[command(subcommand)]
    pub(crate) action: Option<HistoryAction>,
    /// The largest number of entries
    #[arg(
        long,
        short = 'n',
        value_name = "NUMBER",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub(crate) limit: u16,
    /// Only entries before the one with this number
    #[arg(long, value_name = "NUMBER")]
    pub(crate) before: Option<u64>,
    /// Only entries of these kinds, such as "switch,rollback" or "refused"
    #[arg(long, value_name = "KINDS")]
    pub(crate) kind: Option<String>,
    /// Only entries of this actor
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// Only entries that concern this release
    #[arg(long, value_name = "RELEASE")]
    pub(crate) release: Option<String>,
    /// Only entries since this time, or this long ago, such as "2027-01-31T18:00:00Z" or "2h"
    #[arg(long, value_name = "TIME", value_parser = past)]
    pub(crate) since: Option<SystemTime>,
}

/// `history …`
#[derive(Debug, Subcommands)]
pub(crate) enum HistoryAction {
    /// Show which release served on which color, from when to when, by whom, and since when it is known good
    Releases,
    /// Verify that every line of the ledger is as it was written
    Verify {
        /// A ledger, or a copy of one [default: the ledger of the running proxy]
        file: Option<PathBuf>,
    },
}

/// `freeze`
#[derive(Debug, clap::Args)]
pub(crate) struct Freeze {
    /// The reason, which every refusal names
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Replace a freeze that is in force
    #[arg(long)]
    pub(crate) replace: bool,
    /// When the freeze ends by itself, such as "2027-01-31T18:00:00Z", or after how long, such as "2h" [default: at
    /// `unfreeze`]
    #[arg(long, value_name = "TIME", value_parser = future)]
    pub(crate) until: Option<SystemTime>,
}

fn past(text: &str) -> Result<SystemTime, String> {
    moment(text, |ago| SystemTime::now().checked_sub(ago))
}

fn future(text: &str) -> Result<SystemTime, String> {
    moment(text, |ahead| SystemTime::now().checked_add(ahead))
}

/// A time, or a duration from now.
fn moment(text: &str, from_now: impl Fn(Duration) -> Option<SystemTime>) -> Result<SystemTime, String> {
    let absolute = humantime::parse_rfc3339_weak(text).ok();
    let relative = || humantime::parse_duration(text).ok().and_then(from_now);
    absolute
        .or_else(relative)
        .ok_or_else(|| "write a time such as 2027-01-31T18:00:00Z, or a duration such as 2h".to_owned())
}

/// `notify`
#[derive(Debug, Subcommands)]
pub(crate) enum Notify {
    /// Send a notice to each sink, with made-up data and marked as a test, and print the answers
    Test {
        /// Send every kind of notice
        #[arg(long)]
        all: bool,
        /// The only sink to send to [default: all]
        #[arg(long, value_name = "NAME")]
        sink: Option<String>,
    },
}

/// `wait`
#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// Until this color serves; exit code 3 if the configuration file orders it and is refused
    #[arg(long, value_name = "COLOR", add = ArgValueCandidates::new(completions::colors))]
    pub(crate) active: Option<Color>,
    /// Until every endpoint of this color is up
    #[arg(long, value_name = "COLOR", add = ArgValueCandidates::new(completions::colors))]
    pub(crate) healthy: Option<Color>,
    /// Until the color that served before is drained; says how many requests were cut off
    #[arg(long)]
    pub(crate) drained: bool,
    /// Until the processes of this color may be stopped
    #[arg(long, value_name = "COLOR", add = ArgValueCandidates::new(completions::colors))]
    pub(crate) safe_to_stop: Option<Color>,
    /// The longest time to wait
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// End after one switch and the way back
    #[arg(long)]
    pub(crate) once: bool,
    /// Play a story instead, in less than a minute: a bad release, its detection and rollback, and the harm done
    #[arg(long, value_enum, value_name = "STORY", conflicts_with = "once")]
    pub(crate) story: Option<Story>,
    /// Keep running after the story, until Ctrl-C
    #[arg(long, requires = "story")]
    pub(crate) stay: bool,
}

/// `--story`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// The new release is 3 times slower on `/checkout`
    Checkout,
    /// The new release fails 8 % of its requests, where 0.1 % are usual
    Spike,
    /// The new release answers 401 to every login, where 40 % are usual
    Login,
    /// Users stay on a color; both releases are disturbed for a moment, and later the new one fails for everybody
    Sticky,
}
