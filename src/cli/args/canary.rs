//! Arguments of canaries and replays.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand as Subcommands, ValueEnum};
use clap_complete::ArgValueCandidates;

use crate::cli::args::moves::{Expected, Force, Waits};
use crate::cli::completions;
use crate::domain::deployment::DeploymentId;
use crate::domain::split::Weight;

/// `canary …`
#[derive(Debug, Subcommands)]
pub(crate) enum Canary {
    /// Give the color that does not serve a share of the requests, which grows while it is shown to be no worse
    Start(Start),
    /// Show shares, evidence, routes and the next step
    Status,
    /// Take the next step without waiting for evidence; after the last one the release gets all traffic
    Advance(Advance),
    /// Stay at this step; automatic rollback stays on
    #[command(alias = "hold")]
    Pause {
        /// The reason, kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Continue after a pause; the step starts again
    Resume {
        /// The reason, kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Send the release no more traffic, now. During its bake: the same as `rollback`, and refused where a rollback has
    /// no target
    Abort {
        /// Quarantine the release: refuse it from now on, unless forced
        #[arg(long)]
        quarantine: bool,
        /// The reason, kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Follow the canary until it is over; exit code 0 if it took the traffic, 3 if it was taken back
    Watch {
        /// The end of the watch
        #[arg(long, value_enum, default_value_t = Until::End, value_name = "WHEN")]
        until: Until,
    },
    /// Compare the stable release with itself: how many good releases would be rolled back?
    Aa(Aa),
}

/// `canary start`
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// The first share; the larger ones of the configured steps follow
    #[arg(long, value_name = "SHARE")]
    pub(crate) weight: Option<Weight>,
    /// How its share grows, such as "5%,25%,50%" [default: canary.steps]
    #[arg(long, value_delimiter = ',', value_name = "SHARES")]
    pub(crate) steps: Option<Vec<Weight>>,
    /// The shortest time of a step [default: canary.dwell]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) dwell: Option<Duration>,
    /// The longest wait of a step for evidence [default: canary.max_step]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) max_step: Option<Duration>,
    /// The consequence when that time is over: hold, advance or abort [default: canary.on_insufficient]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_insufficient: Option<String>,
    /// The share that stays on the old color while the release bakes [default: canary.holdback]
    #[arg(long, value_name = "SHARE")]
    pub(crate) holdback: Option<Weight>,
    /// The consequence of a verdict: enforce, observe or off [default: canary.mode]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    #[command(flatten)]
    pub(crate) expected: Expected,
    #[command(flatten)]
    pub(crate) force: Force,
    /// How long the release has to serve with all traffic before it is known good [default: bake.duration]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) known_good_after: Option<Duration>,
    /// Follow the canary until it is over, or until it has all traffic; exit codes as of `canary watch`
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "end", value_name = "WHEN")]
    pub(crate) wait: Option<Until>,
    /// The reason, kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// `canary advance`
#[derive(Debug, clap::Args)]
pub(crate) struct Advance {
    /// Give the release all traffic, not the next step
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) expected: Expected,
    /// The reason, kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// `--until`, `--wait`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// The release has all traffic; its bake continues
    Traffic,
    /// Its bake is over
    End,
}

/// A recorded deployment.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The deployment, such as dep-42 [default: the last one that is recorded]
    #[arg(add = ArgValueCandidates::new(completions::deployments))]
    pub(crate) id: Option<DeploymentId>,
    /// Read a file instead of asking the proxy: `analysis/dep-42.jsonl` of its state directory, or a copy
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
}

/// `canary aa`
#[derive(Debug, clap::Args)]
pub(crate) struct Aa {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The number of deployments to play
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
    /// Seed of the random numbers: the same seed plays the same deployments
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
}

/// `replay`
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Chance that a good release is rolled back, from 0 to 0.5
    #[arg(long, value_name = "CHANCE", value_parser = chance)]
    pub(crate) alpha: Option<f64>,
    /// Latency margin: how many times slower the release may be
    #[arg(long, value_name = "TIMES", value_parser = times)]
    pub(crate) margin: Option<f64>,
    /// Error floor: below this share of errors nothing is rolled back
    #[arg(long, value_name = "SHARE")]
    pub(crate) floor: Option<Weight>,
    /// Error ratio: how many times the errors of the stable release are tolerated
    #[arg(long, value_name = "TIMES", value_parser = times)]
    pub(crate) ratio: Option<f64>,
}

fn chance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 0.5);
    number.ok_or_else(|| "write a chance above 0 and up to 0.5, such as 0.001".to_owned())
}

fn times(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (1.0..=100.0).contains(number));
    number.ok_or_else(|| "write a number from 1 to 100, such as 1.5".to_owned())
}

#[cfg(test)]
mod tests;
