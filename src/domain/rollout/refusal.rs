//! Refusals in words: a stable code for programs, a sentence for people.
//!
//! To add one: a variant of [`Refusal`] (`messages`), its code and sentence here, its status in
//! `admin/convert/refusal.rs`. The compiler asks for each. The lists of codes per route are in `admin/handlers.rs`,
//! `canary.rs`, `colors.rs` and `hold.rs`.

use std::fmt;
use std::time::Duration;

use crate::domain::color::Color;
use crate::domain::deployment::Deployment;
use crate::domain::gate::GateReport;
use crate::domain::rollout::{FileProblem, Hold, Move, Refusal, StageRefusal};
use crate::domain::transition::{Freeze, InFlight, Kind};
use crate::domain::written;

impl Move {
    pub(super) fn in_progress(&self) -> Refusal {
        Refusal::InProgress(Box::new(self.shown()))
    }
}

impl Deployment {
    pub(super) fn is_on_its_way(&self) -> Refusal {
        Refusal::OnItsWay { release: self.release.clone(), to: self.candidate, bakes: !self.is_canary() }
    }
}

/// One row per code. Gives [`Refusal::code`] and the list of codes, so no code can be missing in the list.
macro_rules! codes {
    ($($code:literal: $refusals:pat,)+) => {
        impl Refusal {
            /// The stable name, for programs.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $($refusals => $code,)+
                    Refusal::Stage(refusal) => refusal.code(),
                    Refusal::Earlier { code, .. } => code,
                }
            }

            const CODES: &[&'static str] = &[$($code),+];
        }
    };
}

codes! {
    "unhealthy": Refusal::Unhealthy(_),
    "check_failed": Refusal::CheckFailed(_),
    "in_progress": Refusal::InProgress(_) | Refusal::OnItsWay { .. } | Refusal::PausedAlready { .. },
    "withdrawn": Refusal::Withdrawn(_),
    "cancelled": Refusal::GivenUp { .. },
    "unknown_release": Refusal::UnknownRelease { .. },
    "already_frozen": Refusal::FrozenAlready(_),
    "not_drained": Refusal::NotDrained { .. },
    "stale_generation": Refusal::StaleGeneration { .. },
    "no_known_good": Refusal::NoKnownGood { .. } | Refusal::NoWayBack { .. },
    "frozen": Refusal::Frozen(_),
    "quarantined": Refusal::Quarantined { .. },
    "rollback_unsafe": Refusal::RollbackUnsafe(_),
    "not_durable": Refusal::NotDurable(_),
    "no_canary": Refusal::NoCanary,
    "baking": Refusal::Baking,
    "bad_plan": Refusal::BadPlan(_),
    "cooling_down": Refusal::CoolingDown { .. },
    "invalid_config": Refusal::InvalidFile(_),
    "file_busy": Refusal::FileBusy(_),
    "target_changed": Refusal::TargetChanged { .. },
    "overruled": Refusal::Overruled { .. },
}

impl Refusal {
    /// A refusal of an earlier process, as its ledger tells it.
    #[must_use]
    pub fn recalled(code: &str, sentence: &str) -> Refusal {
        let mut known = Refusal::CODES.iter().chain(StageRefusal::CODES);
        let code = known.find(|known| **known == code).copied().unwrap_or("refused");
        Refusal::Earlier { code, sentence: sentence.to_owned() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unhealthy(report) => unhealthy(f, report),
            Refusal::CheckFailed(report) => check_failed(f, report),
            Refusal::OnItsWay { release, to, bakes: false } => write!(
                f,
                "release {release} is already on its way to {to}; to see its progress: `cutover canary status`; to end it: `cutover canary abort`",
            ),
            Refusal::OnItsWay { release, to, bakes: true } => write!(
                f,
                "release {release} on {to} has the traffic and bakes with a hold-back; wait for the end of its bake, or override the guard: `cutover canary start --force=bake`",
            ),
            Refusal::InProgress(other) if other.kind == Kind::Rollback => {
                write!(f, "{other}; to see when it is done: `cutover status`")
            }
            Refusal::InProgress(other) => write!(f, "{other}; to cancel it: `cutover rollback`"),
            Refusal::Withdrawn(by) => write!(f, "cancelled by {by} before any traffic moved"),
            Refusal::GivenUp { active } => write!(f, "Cancelled; {active} keeps serving"),
            Refusal::UnknownRelease { asked, deployed } => write!(
                f,
                "no color has release {asked}: blue has {}, green has {}; to deploy it: `cutover deploy --release {} --endpoint ADDRESS`",
                deployed.blue,
                deployed.green,
                shell_word(asked.as_str()),
            ),
            Refusal::PausedAlready { pause, left } => {
                paused(f, pause, *left)?;
                write!(f, "; to put yours in its place: `cutover pause --replace`")
            }
            Refusal::NoWayBack { release, color, why } => {
                write!(
                    f,
                    "{release} on {color} has all traffic, so there is no canary to abort, and its bake can't be undone. {why}"
                )
            }
            Refusal::FrozenAlready(freeze) => {
                frozen(f, freeze)?;
                write!(f, "; to put yours in its place: `cutover freeze --replace --reason …`")
            }
            Refusal::Stage(refusal) => refusal.fmt(f),
            Refusal::NotDrained { color, after, left } => not_drained(f, *color, *after, *left),
            Refusal::StaleGeneration { expected, current } => {
                write!(
                    f,
                    "generation {expected} was expected, but {current} is in force; to look first: `cutover status`"
                )
            }
            Refusal::NoKnownGood { wanted, color, deployed, served, command } => {
                match wanted {
                    Some(wanted) if wanted.release == *deployed => write!(
                        f,
                        "{color} ({deployed}) served for less than bake.duration, so it is no rollback target"
                    )?,
                    Some(wanted) => {
                        write!(f, "{} served before on {color}, but {deployed} is deployed there now", wanted.release)?;
                    }
                    None if *served => {
                        write!(f, "Nothing to roll back to: {} was itself reached by a rollback", color.other())?;
                    }
                    None => {
                        write!(f, "Nothing to roll back to: no known-good release served before {}", color.other())?
                    }
                }
                match command {
                    Some(command) => write!(f, "; to go to {color} ({deployed}): `{command}`"),
                    None => write!(f, "; nothing is deployed on {color}"),
                }
            }
            Refusal::Frozen(freeze) => {
                frozen(f, freeze)?;
                write!(f, "; to allow moves again: `cutover unfreeze`")
            }
            Refusal::Quarantined { bad, command } => write!(
                f,
                "release {} was quarantined at {} by {}: {}; deploy another release, or override the quarantine: `{command}`",
                bad.release,
                written::time(bad.since),
                bad.by,
                bad.reason,
            ),
            Refusal::RollbackUnsafe(why) => why.fmt(f),
            Refusal::NotDurable(cause) => {
                write!(f, "the decision could not be written down, so nothing was moved: {cause}")
            }
            Refusal::NoCanary => write!(f, "no canary is running; to begin one: `cutover canary start`"),
            Refusal::Baking => write!(
                f,
                "the release has all of the traffic and bakes; wait for the end of its bake, or go back: `cutover rollback`",
            ),
            Refusal::BadPlan(why) => {
                write!(f, "the plan is not valid: {why}; steps are growing shares such as 5 %, 25 %, 50 %")
            }
            Refusal::CoolingDown { until } => write!(
                f,
                "a release was rolled back automatically a short time ago; wait until {}, or override the guard: `cutover canary start --force=cooldown`",
                written::time(*until),
            ),
            Refusal::InvalidFile(problem) => write!(
                f,
                "the configuration file is not valid, so nothing was moved: {}; {}",
                problem.text.replace('\n', "; "),
                problem.repair(),
            ),
            Refusal::FileBusy(why) => write!(f, "{why}; nothing was moved; run the command again"),
            Refusal::TargetChanged { to, asked, now } if asked == now => write!(
                f,
                "the endpoints of {to} were edited after its gate had passed, so nothing was moved; run the command again",
            ),
            Refusal::TargetChanged { to, asked, now } => write!(
                f,
                "{to} had release {asked} when the move began and has {now} now, so nothing was moved; run the command again",
            ),
            Refusal::Earlier { sentence, .. } => f.write_str(sentence),
            Refusal::Overruled { left, until } => write!(
                f,
                "{} rolled back from release {} on {} at {}, and the file orders it again; nothing was moved; to go there anyway: `cutover switch {}`; orders in the file count again from {} (state.order_window)",
                left.by,
                left.release,
                left.color,
                written::time(left.at),
                left.color,
                written::time(*until),
            ),
        }
    }
}

impl FileProblem {
    #[must_use]
    pub fn repair(&self) -> String {
        match &self.instead {
            Some(command) => {
                format!("repair it (`cutover check`), or go by the configuration in force: `{command}`")
            }
            None => "repair it; to see every error: `cutover check`".to_owned(),
        }
    }
}

/// Quoted for a shell.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+:".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn paused(f: &mut fmt::Formatter<'_>, pause: &Hold, left: Duration) -> fmt::Result {
    let since = written::time(pause.since.wall);
    write!(f, "{} paused traffic at {since}", pause.origin.actor)?;
    if let Some(reason) = &pause.origin.reason {
        write!(f, ": {reason}")?;
    }
    write!(f, " ({} s left)", left.as_secs_f64().ceil())
}

fn frozen(f: &mut fmt::Formatter<'_>, freeze: &Freeze) -> fmt::Result {
    let since = written::time(freeze.since);
    write!(f, "{} froze all moves but rollbacks at {since}", freeze.by)?;
    if let Some(until) = freeze.until {
        write!(f, " until {}", written::time(until))?;
    }
    write!(f, ": {}", freeze.reason)
}

fn unhealthy(f: &mut fmt::Formatter<'_>, report: &GateReport) -> fmt::Result {
    let failed: Vec<_> = report.endpoints.iter().filter(|probed| !probed.passed).collect();
    match failed.as_slice() {
        [] => write!(f, "{} gave no answer to the gate in time", report.color),
        [first, rest @ ..] => {
            write!(
                f,
                "{} is not healthy: {} of {} endpoints failed",
                report.color,
                failed.len(),
                report.endpoints.len()
            )?;
            write!(f, " ({} {}: {}", first.upstream, first.endpoint, first.detail)?;
            for probed in rest.iter().take(4) {
                write!(f, "; {} {}: {}", probed.upstream, probed.endpoint, probed.detail)?;
            }
            write!(f, "{})", if rest.len() > 4 { "; …" } else { "" })
        }
    }
}

fn check_failed(f: &mut fmt::Formatter<'_>, report: &GateReport) -> fmt::Result {
    const SHOWN: usize = 3;
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.has_passed()).collect();
    if failed.is_empty() {
        return write!(
            f,
            "the checks of {} had not ended when the time of the gate was up (gate.timeout); nothing was moved",
            report.color
        );
    }
    write!(f, "{} of {} checks of {} failed, so nothing was moved", failed.len(), report.checks.len(), report.color)?;
    for (index, check) in failed.iter().take(SHOWN).enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        write!(f, "{separator}check \"{}\"", check.check.escape_debug())?;
        match check.failures.first() {
            Some(failure) => {
                write!(f, " at {} {}: {}, wanted {}", check.upstream, failure.endpoint, failure.found, failure.wanted)?;
            }
            None => write!(f, " had no endpoint of {} to ask", check.upstream)?,
        }
        let failures = check.endpoints - check.passed;
        if failures > 1 {
            write!(f, " (and at {} more endpoints)", failures - 1)?;
        }
    }
    write!(f, "{}", if failed.len() > SHOWN { "; …" } else { "" })
}

fn not_drained(f: &mut fmt::Formatter<'_>, color: Color, after: Duration, left: InFlight) -> fmt::Result {
    let under_way = if left.total() == 0 { "requests".to_owned() } else { left.to_string() };
    write!(
        f,
        "{under_way} of {color} did not end in {:.1} s, so the held requests were released to {color} and nothing moved; \
         allow more time (hold.timeout), or cut requests off earlier (drain.timeout, drain.streams)",
        after.as_secs_f64(),
    )
}
