//! What can be said of switches and rollbacks.

use std::time::Duration;

use clap::ValueEnum;
use clap_complete::ArgValueCandidates;

use crate::admin::api::Forced;
use crate::cli::completions;
use crate::domain::color::Color;

/// `--force`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Guard {
    /// All of the following
    All,
    /// The gate: the target's endpoints are not asked
    Health,
    /// The release was taken back because it was bad
    Quarantine,
    /// The data stores do not allow it; needs a --reason
    Schema,
    /// The configuration file is not valid, or being written
    File,
    /// A release was rolled back automatically a short time ago (canary start)
    Cooldown,
    /// Another release bakes with a hold-back (canary start)
    Bake,
}

/// `--force`, and whether to ask first.
#[derive(Debug, clap::Args)]
pub(crate) struct Force {
    /// Override the guards that are named, such as --force=health,quarantine; without names, all of them
    #[arg(
        long,
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = "all",
        value_name = "GUARDS"
    )]
    pub(crate) force: Vec<Guard>,
    /// Ask nothing, neither for a reason nor whether --force is meant
    #[arg(long, short)]
    pub(crate) yes: bool,
}

impl Force {
    /// As the API takes it.
    pub(crate) fn forced(&self) -> Forced {
        if self.force.contains(&Guard::All) {
            return Forced::All(true);
        }
        let name = |guard: &Guard| guard.to_possible_value().map(|value| value.get_name().to_owned());
        let names: Vec<_> = self.force.iter().filter_map(name).collect();
        if names.is_empty() { Forced::All(false) } else { Forced::Guards(names) }
    }
}

/// How long to wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Waits {
    /// How long it may wait for the gate; it is cancelled then [default: gate.timeout]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// Let it go on when this command is interrupted, or its --timeout is over
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `switch`
#[derive(Debug, clap::Args)]
pub(crate) struct Switch {
    /// blue or green
    #[arg(conflicts_with_all = ["other", "to_release"], add = ArgValueCandidates::new(completions::colors))]
    pub(crate) color: Option<Color>,
    /// The color that does not serve, whichever that is when the command arrives
    #[arg(long, conflicts_with = "to_release")]
    pub(crate) other: bool,
    /// The color that has this release
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to_release: Option<String>,
    /// Only if this generation is in force; refused otherwise
    #[arg(long, value_name = "NUMBER", add = ArgValueCandidates::new(completions::generations))]
    pub(crate) if_generation: Option<u64>,
    #[command(flatten)]
    pub(crate) force: Force,
    /// Only say whether it would be done; change nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    /// "none": hold new requests until those under way are over, so that no two releases serve at the same time
    #[arg(long, value_enum, default_value_t = Overlap::Allow, value_name = "WHICH")]
    pub(crate) overlap: Overlap,
    /// The same as --overlap none
    #[arg(long, conflicts_with = "overlap")]
    pub(crate) no_overlap: bool,
    /// When the command returns
    #[arg(long, value_enum, default_value_t = WaitFor::None, value_name = "FOR")]
    pub(crate) wait: WaitFor,
    /// End with 1 if the drain cut requests off; waits for the drain
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) fail_on_cut: bool,
    /// How long the release has to serve to be known good, a target of rollbacks [default: bake.duration]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) known_good_after: Option<Duration>,
    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The same key gets the same answer for a day, also after a restart, and the command is carried out once
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// `--wait`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// As soon as all new requests go there
    None,
    /// When nothing is left on the color that served before
    Drained,
}

/// `--overlap`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overlap {
    /// Requests under way finish where they began, while new ones go to the other color
    Allow,
    /// New requests are held until those under way are over
    None,
}

/// `rollback`
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// To this color, whether its release is known good or not [default: what served before and is known good]
    #[arg(long, value_name = "COLOR", add = ArgValueCandidates::new(completions::colors))]
    pub(crate) to: Option<Color>,
    /// Only if this generation is in force; refused otherwise
    #[arg(long, value_name = "NUMBER", add = ArgValueCandidates::new(completions::generations))]
    pub(crate) if_generation: Option<u64>,
    #[command(flatten)]
    pub(crate) force: Force,
    /// What serves now is bad: refuse the same release from now on, unless forced
    #[arg(long)]
    pub(crate) quarantine: bool,
    /// "none": hold new requests until those under way are over
    #[arg(long, value_enum, default_value_t = Overlap::Allow, value_name = "WHICH")]
    pub(crate) overlap: Overlap,
    /// The same as --overlap none
    #[arg(long, conflicts_with = "overlap")]
    pub(crate) no_overlap: bool,
    /// Why; kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The same key gets the same answer for a day, also after a restart, and the command is carried out once
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}
