//! Arguments of switches and rollbacks.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap_complete::ArgValueCandidates;

use crate::admin::api::Forced;
use crate::cli::completions;
use crate::domain::color::Color;
use crate::domain::force::Guard;

/// The guards that `--force` can name, and all of them.
fn guards() -> PossibleValuesParser {
    let each = Guard::NAMES.into_iter().map(|(name, guard)| PossibleValue::new(name).help(guard.about()));
    PossibleValuesParser::new(std::iter::once(PossibleValue::new(ALL).help("All of the following")).chain(each))
}

const ALL: &str = "all";

/// `--force`, and whether to ask first.
#[derive(Debug, clap::Args)]
pub(crate) struct Force {
    /// Override the guards that are named, such as --force=health,quarantine; without names, all of them
    #[arg(
        long,
        value_parser = guards(),
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = ALL,
        value_name = "GUARDS"
    )]
    pub(crate) force: Vec<String>,
    /// Ask no questions: neither for a reason nor for a confirmation of --force
    #[arg(long, short)]
    pub(crate) yes: bool,
}

impl Force {
    /// As the API takes it.
    pub(crate) fn forced(&self) -> Forced {
        if self.force.iter().any(|guard| guard == ALL) {
            return Forced::All(true);
        }
        if self.force.is_empty() { Forced::All(false) } else { Forced::Guards(self.force.clone()) }
    }
}

/// `--if-generation`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Expected {
    /// Refuse the command unless this generation is in force
    #[arg(long, value_name = "NUMBER", add = ArgValueCandidates::new(completions::generations))]
    pub(crate) if_generation: Option<u64>,
}

/// `--idempotency-key`
#[derive(Debug, clap::Args)]
pub(crate) struct Once {
    /// Carry the command out once for this key: within a day the same key gets the same answer, even after a restart
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Waits {
    /// The longest wait for the gate; then the move is cancelled [default: gate.timeout]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// Do not cancel the move when this command is interrupted or its --timeout is over
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `switch`
#[derive(Debug, clap::Args)]
pub(crate) struct Switch {
    /// blue or green
    #[arg(conflicts_with_all = ["other", "to_release"], add = ArgValueCandidates::new(completions::colors))]
    pub(crate) color: Option<Color>,
    /// Move to the color that does not serve when the command arrives
    #[arg(long, conflicts_with = "to_release")]
    pub(crate) other: bool,
    /// Move to the color that has this release
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to_release: Option<String>,
    #[command(flatten)]
    pub(crate) expected: Expected,
    #[command(flatten)]
    pub(crate) force: Force,
    /// Say whether the switch would be refused; change nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) overlap: Overlaps,
    /// When the command returns
    #[arg(long, value_enum, default_value_t = WaitFor::None, value_name = "FOR")]
    pub(crate) wait: WaitFor,
    /// Exit with 1 if the drain cut requests off; waits for the drain
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) fail_on_cut: bool,
    /// How long the release has to serve before it is known good, a target of rollbacks [default: bake.duration]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) known_good_after: Option<Duration>,
    /// The reason, kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) once: Once,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// `--wait`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// As soon as all new requests go to the color
    None,
    /// When the color that served before is drained
    Drained,
}

/// `--overlap`, `--no-overlap`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Overlaps {
    /// "none": hold new requests until in-flight ones are over, so that no two releases serve at the same time
    #[arg(long, value_enum, default_value_t = Overlap::Allow, value_name = "WHICH")]
    overlap: Overlap,
    /// The same as --overlap none
    #[arg(long, conflicts_with = "overlap")]
    no_overlap: bool,
}

impl Overlaps {
    /// As the API takes it.
    pub(crate) fn named(self) -> Option<String> {
        (self.no_overlap || self.overlap == Overlap::None).then(|| "none".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overlap {
    /// In-flight requests finish where they began, while new ones go to the other color
    Allow,
    /// New requests are held until in-flight ones are over
    None,
}

/// `rollback`
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Roll back to this color, even if its release is not known good [default: the known-good release that served
    /// before]
    #[arg(long, value_name = "COLOR", add = ArgValueCandidates::new(completions::colors))]
    pub(crate) to: Option<Color>,
    #[command(flatten)]
    pub(crate) expected: Expected,
    #[command(flatten)]
    pub(crate) force: Force,
    /// Say where the rollback would go and whether it would be refused; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Quarantine the release that serves now: refuse it from now on, unless forced
    #[arg(long)]
    pub(crate) quarantine: bool,
    #[command(flatten)]
    pub(crate) overlap: Overlaps,
    /// The reason, kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) once: Once,
    #[command(flatten)]
    pub(crate) waits: Waits,
}
