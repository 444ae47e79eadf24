//! What can be said of canaries, and of those that are over.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand as Subcommands, ValueEnum};
use clap_complete::ArgValueCandidates;

use crate::cli::args::moves::{Force, Waits};
use crate::cli::completions;
use crate::domain::deployment::DeploymentId;
use crate::domain::split::Weight;

/// `canary …`
#[derive(Debug, Subcommands)]
pub(crate) enum Canary {
    /// Give the color that does not serve a share of the requests, which grows while it is shown to be no worse
    Start(Start),
    /// Show where it stands: shares, evidence, routes, and what comes next
    Status,
    /// Go on to the next step, whatever is proved; behind the last one it takes the traffic
    Advance(Advance),
    /// Stay at this step; a rollback stays armed
    #[command(alias = "hold")]
    Pause {
        /// Why; kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Continue after a pause; the step begins anew
    Resume {
        /// Why; kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Send it no more traffic, now. During its bake: the same as `rollback`
    Abort {
        /// It is bad: refuse the same release from now on, unless forced
        #[arg(long)]
        quarantine: bool,
        /// Why; kept in the history
        #[arg(long, short, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Follow it live until it is over; ends with 0 if it took the traffic, with 3 if it was taken back
    Watch {
        /// Until when
        #[arg(long, value_enum, default_value_t = Until::End, value_name = "WHEN")]
        until: Until,
    },
    /// Compare the stable release with itself, as often as asked: how many good releases would be rolled back?
    Aa(Aa),
}

/// `canary start`
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// The first step; of the configured ones those follow that are larger
    #[arg(long, value_name = "SHARE")]
    pub(crate) weight: Option<Weight>,
    /// How its share grows, such as "5%,25%,50%" [default: canary.steps]
    #[arg(long, value_delimiter = ',', value_name = "SHARES")]
    pub(crate) steps: Option<Vec<Weight>>,
    /// A step lasts at least so long [default: canary.dwell]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) dwell: Option<Duration>,
    /// A step waits for evidence no longer than this [default: canary.max_step]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) max_step: Option<Duration>,
    /// And then: hold, advance or abort [default: canary.on_insufficient]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_insufficient: Option<String>,
    /// The share that stays on the old color while the release bakes [default: canary.holdback]
    #[arg(long, value_name = "SHARE")]
    pub(crate) holdback: Option<Weight>,
    /// What follows from a verdict: enforce, observe or off [default: canary.mode]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// Only if this generation is in force; refused otherwise
    #[arg(long, value_name = "NUMBER", add = ArgValueCandidates::new(completions::generations))]
    pub(crate) if_generation: Option<u64>,
    #[command(flatten)]
    pub(crate) force: Force,
    /// How long the release has to serve to be known good, once it has the traffic [default: bake.duration]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) known_good_after: Option<Duration>,
    /// Follow it until it is over, or only until it has the traffic; ends as `canary watch` does
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "end", value_name = "WHEN")]
    pub(crate) wait: Option<Until>,
    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// `canary advance`
#[derive(Debug, clap::Args)]
pub(crate) struct Advance {
    /// To all of the traffic, not to the next step
    #[arg(long)]
    pub(crate) full: bool,
    /// Only if this generation is in force; refused otherwise
    #[arg(long, value_name = "NUMBER", add = ArgValueCandidates::new(completions::generations))]
    pub(crate) if_generation: Option<u64>,
    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// `--until`, `--wait`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// It has the traffic; its bake goes on
    Traffic,
    /// Its bake is over as well
    End,
}

/// Which recorded deployment.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Such as dep-42 [default: the last one that is recorded]
    #[arg(add = ArgValueCandidates::new(completions::deployments))]
    pub(crate) id: Option<DeploymentId>,
    /// From a file, and not from the running proxy: `analysis/dep-42.jsonl` of its state directory, or a copy
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
}

/// `canary aa`
#[derive(Debug, clap::Args)]
pub(crate) struct Aa {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many deployments to play
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
    /// The same seed plays the same deployments
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
}

/// `replay`
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How likely a good release may be rolled back, from 0 to 0.5
    #[arg(long, value_name = "CHANCE", value_parser = chance)]
    pub(crate) alpha: Option<f64>,
    /// It may be so many times slower
    #[arg(long, value_name = "TIMES", value_parser = times)]
    pub(crate) margin: Option<f64>,
    /// Below this share of errors nobody rolls back
    #[arg(long, value_name = "SHARE")]
    pub(crate) floor: Option<Weight>,
    /// It may have so many times the errors
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
