//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand as Subcommands, ValueEnum};
use clap_complete::Shell;

use crate::app::default_config_path;
use crate::domain::color::Color;

/// Moves all traffic between two environments, blue and green, by one command, and back.
#[derive(Debug, Parser)]
#[command(
    name = "cutover",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or invalid configuration, 3 refused by a guard (the reason is printed), \
                  4 the proxy can't be reached, 5 timed out while waiting."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Subcommand,
}

/// Where the proxy is, and what opens its door.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// The configuration file; also names the admin address [default: /etc/cutover/cutover.toml]
    #[arg(long, short, global = true, env = "CUTOVER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The admin address of a running proxy: "127.0.0.1:9900" or "unix:/run/cutover/admin.sock"
    #[arg(long, global = true, env = "CUTOVER_ADMIN", value_name = "ADDRESS")]
    pub(crate) admin: Option<String>,
    /// A file that holds the token for the admin API (or set CUTOVER_TOKEN)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Connection {
    pub(crate) fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(default_config_path)
    }
}

/// What to do.
#[derive(Debug, Subcommands)]
pub(crate) enum Subcommand {
    /// Run the proxy
    Run,
    /// Validate a configuration, and say what it would change in the running proxy
    Check,
    /// Move all traffic to a color
    Switch(Switch),
    /// Move all traffic back to what served before
    Rollback(Rollback),
    /// Show how things stand
    Status {
        /// Refresh each second until interrupted
        #[arg(long, short)]
        watch: bool,
    },
    /// Wait until something is so; with no condition, until the proxy is ready and nothing is under way
    Wait(Wait),
    /// Show what happened, newest first
    History {
        /// How many transitions
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those before this number
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
    },
    /// Read the configuration file again, now
    Reload,
    /// Try it: two small applications, the proxy in front of them, and the commands to paste
    Demo(Demo),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them into a directory
    Man {
        /// Where to
        dir: Option<PathBuf>,
    },
}

/// `switch`
#[derive(Debug, clap::Args)]
pub(crate) struct Switch {
    /// blue or green [default: the other color]
    pub(crate) color: Option<Color>,
    /// Only if this is the generation in force
    #[arg(long, value_name = "NUMBER")]
    pub(crate) if_generation: Option<u64>,
    /// Without asking whether the color is healthy
    #[arg(long)]
    pub(crate) force: bool,
    /// Ask whether it would go, and change nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    /// When to come back
    #[arg(long, value_enum, default_value_t = WaitFor::None, value_name = "FOR")]
    pub(crate) wait: WaitFor,
    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// How long to wait at most for the answer, and then for the drain
    #[arg(long, default_value = "90s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `--wait`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// As soon as all new requests go there
    None,
    /// When nothing is left on the color that served before
    Drained,
}

/// `rollback`
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Only if this is the generation in force
    #[arg(long, value_name = "NUMBER")]
    pub(crate) if_generation: Option<u64>,
    /// Without asking whether the color is healthy
    #[arg(long)]
    pub(crate) force: bool,
    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// How long to wait at most for the answer
    #[arg(long, default_value = "90s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `wait`
#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// Until this color serves; comes back with 3 when the file's order for it was refused
    #[arg(long, value_name = "COLOR")]
    pub(crate) active: Option<Color>,
    /// Until every endpoint of this color is up
    #[arg(long, value_name = "COLOR")]
    pub(crate) healthy: Option<Color>,
    /// Until nothing is left on the color that served before
    #[arg(long)]
    pub(crate) drained: bool,
    /// How long at most
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// End after the round that it shows
    #[arg(long)]
    pub(crate) once: bool,
}
