//! Notices about transitions: one arm for each kind of line in the ledger.

use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::transition::{Kind, Transition, Trigger};
use crate::notify::event::data::data;
use crate::notify::event::fields::fields;
use crate::notify::event::moment::Moment;
use crate::notify::event::served::{exposed, stays};
use crate::notify::event::{FOREIGN, NOTHING, Notice, Teller, by, canary, drained, fill, pause, refused};
use crate::notify::id::EventId;
use crate::notify::words::clipped;

impl Teller {
    /// A notice about a line of the ledger; `None`: bookkeeping.
    #[must_use]
    pub(crate) fn transition(&self, transition: &Transition, moment: &Moment) -> Option<Notice> {
        let decision = &transition.decision;
        let (active, release) = (decision.active, &decision.release);
        let origin = &transition.origin;
        let by = by(origin);
        let left = transition.from.as_ref().map(|(color, release)| format!("{release} ({color})"));
        let left = left.unwrap_or_else(|| "nothing".to_owned());
        let served = exposed(transition, moment);
        let (kind, what, sentence, next) = match (transition.kind, &transition.refusal) {
            (Kind::Noted | Kind::Staged, _) => return None,
            (Kind::Start, _) => (
                (NoticeEvent::Started, Severity::Info),
                format!("first start, {active} serves {release}"),
                format!("First start with an empty ledger: {active} serves {release}, as the file says."),
                NOTHING.to_owned(),
            ),
            (Kind::Rollback, _) if called_off(transition) => (
                (NoticeEvent::Aborted, Severity::Warn),
                format!("the switch to {} was cancelled", transition.from.as_ref().map_or(release, |(_, to)| to)),
                format!(
                    "The switch to {left} was cancelled {by} before any request saw it; {active} keeps serving {release}."
                ),
                format!("Nothing moved. To switch again: `cutover switch {}`.", active.other()),
            ),
            (Kind::Rollback, _) if transition.origin.trigger == Trigger::Automatic => (
                (NoticeEvent::RolledBack, Severity::Error),
                format!("{} was rolled back to {release}", transition.from.as_ref().map_or(release, |(_, from)| from)),
                format!(
                    "Rolled back from {left} to {release} ({active}) by itself: {}.{served}",
                    clipped(origin.reason.as_deref().unwrap_or_default(), FOREIGN)
                ),
                format!(
                    "{release} serves, and {left} is refused until it is replaced or forced. The evidence: `cutover history -n 5`."
                ),
            ),
            (Kind::Rollback, _) => (
                (NoticeEvent::RolledBack, Severity::Error),
                format!("rolled back to {release}"),
                format!("Rolled back from {left} to {release} ({active}) {by}.{served}"),
                format!(
                    "{release} serves. Find the cause before the next switch to {left}. The evidence: `cutover history -n 5`."
                ),
            ),
            (Kind::Switch, _) => (
                (NoticeEvent::Promoted, if transition.forced { Severity::Warn } else { Severity::Info }),
                format!("{release} serves"),
                format!("Switched from {left} to {release} ({active}) {by}.{served}"),
                "Watch errors and latencies; `cutover rollback` moves everything back at once.".to_owned(),
            ),
            (Kind::Release, _) => (
                (NoticeEvent::Promoted, Severity::Info),
                format!("{release} serves"),
                format!("The live color {active} has another release: {release} after {left}, {by}.{served}"),
                "Watch errors and latencies: `cutover status --watch`.".to_owned(),
            ),
            (Kind::Seen, Some((code, refusal))) => (
                (NoticeEvent::Refused, Severity::Warn),
                format!("an order in the file was refused ({code})"),
                format!(
                    "The file orders another color or release, which was refused: {}. {active} keeps serving {release}.",
                    clipped(refusal, FOREIGN)
                ),
                "Repair the named cause and edit the file again, or move by command. To see the effect of the file: `cutover check`.".to_owned(),
            ),
            (Kind::Seen, None) => (
                (NoticeEvent::Unchanged, Severity::Info),
                format!("the file orders the color that serves already ({active})"),
                format!("The file orders {active}, which serves already; nothing moved."),
                NOTHING.to_owned(),
            ),
            (Kind::Refused, refusal) => refused::words(transition, refusal.as_ref()),
            (Kind::Drained, _) => drained::words(transition.drained.as_ref()?, decision),
            (Kind::KnownGood, _) => (
                (NoticeEvent::Done, Severity::Info),
                format!("{release} is known good"),
                format!(
                    "{release} ({active}) has served for as long as `bake.duration` and is known good: a later rollback comes back to it."
                ),
                "Steps that wait for the end of the deployment may follow now. To see the state: `cutover status`.".to_owned(),
            ),
            (Kind::Barrier, _) => (
                (NoticeEvent::BarrierPassed, Severity::Warn),
                format!("a rollback from {release} is no longer safe"),
                format!("{release} ({active}) passed its barrier, {by}: a rollback is no longer safe."),
                "If the release turns out bad, fix it forward; `cutover status` names the obstacles to a rollback."
                    .to_owned(),
            ),
            (Kind::Freeze | Kind::Unfreeze | Kind::Hold | Kind::HoldEnd | Kind::Maintenance, _) => {
                pause::words(transition, &by)
            }
            (
                Kind::Canary
                | Kind::Advance
                | Kind::Abort
                | Kind::CanaryHold
                | Kind::CanaryResume
                | Kind::Suspect
                | Kind::WouldRollBack
                | Kind::RollbackBlocked
                | Kind::BaselineUnhealthy
                | Kind::BothUnhealthy
                | Kind::Recovered,
                _,
            ) => canary::words(transition, &by),
        };
        let mut notice = self.notice(EventId::of_transition(transition), kind, transition.at, &what, sentence);
        notice.next = next;
        notice.fields = fields(transition, moment);
        if let Some((_, before)) = &transition.from {
            fill(&mut notice.links, "{from}", before.as_str());
        }
        fill(&mut notice.links, "{to}", release.as_str());
        fill(&mut notice.links, "{color}", active.as_str());
        notice.data.extend(data(transition, moment));
        notice.data.extend(canary::data(transition));
        Some(notice)
    }
}

/// A rollback without a move: a switch was cancelled on its way to the disk.
fn called_off(transition: &Transition) -> bool {
    stays(transition) && transition.origin.trigger != Trigger::Automatic
}
