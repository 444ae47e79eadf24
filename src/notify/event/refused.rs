//! Notices about refused commands: actor, command, reason, and the release that serves.

use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::transition::{Kind, Transition};
use crate::notify::event::{FOREIGN, Words, by};
use crate::notify::words::clipped;

/// A conflict with another command is no reason to worry.
pub(super) fn words(transition: &Transition, refusal: Option<&(String, String)>) -> Words {
    let (code, why) = refusal.map_or(("refused", ""), |(code, why)| (code.as_str(), why.as_str()));
    let asked = transition.asked.as_ref();
    let kind = asked.map_or(Kind::Switch, |asked| asked.kind);
    let to = asked.and_then(|asked| asked.to.as_ref());
    let to = to.map(|(color, release)| format!(" to {release} ({color})")).unwrap_or_default();
    let quicker = ["stale_generation", "in_progress"].contains(&code);
    let (event, severity, next) = match kind {
        _ if quicker => (
            NoticeEvent::Refused,
            Severity::Info,
            "To see the state: `cutover status`. Then repeat the command if it is still wanted.",
        ),
        Kind::Rollback | Kind::Abort => (
            NoticeEvent::RollbackBlocked,
            Severity::Error,
            "A rollback is wanted and not possible. To see why: `cutover status`.",
        ),
        _ => (
            NoticeEvent::Refused,
            Severity::Warn,
            "Repair the named cause and repeat the command. All refusals: `cutover history --kind refused`.",
        ),
    };
    let order = if kind == Kind::Staged { "deploy" } else { kind.name() };
    let by = by(&transition.origin);
    let article = if order.starts_with('a') { "an" } else { "a" };
    let decision = &transition.decision;
    let sentence = format!(
        "{} {order}{to} {by} was refused: {}. {} keeps serving {}.",
        if article == "an" { "An" } else { "A" },
        clipped(why, FOREIGN),
        decision.active,
        decision.release
    );
    ((event, severity), format!("{article} {order} was refused ({code})"), sentence, next.to_owned())
}
