//! Notices about a freeze, a pause and maintenance.

use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::transition::{Kind, Transition};
use crate::notify::event::{NOTHING, Words};

pub(super) fn words(transition: &Transition, by: &str) -> Words {
    let decision = &transition.decision;
    let until = decision.freeze.as_ref().and_then(|freeze| freeze.until);
    let until = until.map(|until| format!(" until {}", humantime::format_rfc3339_seconds(until))).unwrap_or_default();
    let (kind, what, sentence, next) = match transition.kind {
        Kind::Freeze => (
            (NoticeEvent::FreezeSet, Severity::Warn),
            "no switches for now",
            format!("All moves but rollbacks are frozen{until}, {by}."),
            "`cutover unfreeze` allows them again.",
        ),
        Kind::Hold => (
            (NoticeEvent::HoldSet, Severity::Warn),
            "requests are held",
            format!("New requests are held, {by}, until the pause ends."),
            "`cutover unpause` ends it; it ends by itself at its timeout.",
        ),
        Kind::HoldEnd => (
            (NoticeEvent::HoldCleared, Severity::Info),
            "requests are served again",
            format!("The pause ended after {}, {by}.", humantime::format_duration(whole(transition.took))),
            NOTHING,
        ),
        Kind::Maintenance if decision.maintenance => (
            (NoticeEvent::MaintenanceSet, Severity::Warn),
            "maintenance",
            format!("Requests get the maintenance answer instead of being served, {by}."),
            "`cutover maintenance off` serves them again.",
        ),
        Kind::Maintenance => (
            (NoticeEvent::MaintenanceCleared, Severity::Info),
            "maintenance is over",
            format!("Requests are served again, {by}."),
            NOTHING,
        ),
        _ => (
            (NoticeEvent::FreezeCleared, Severity::Info),
            "switches are allowed again",
            format!("Moves are allowed again, {by}."),
            NOTHING,
        ),
    };
    (kind, what.to_owned(), sentence, next.to_owned())
}

fn whole(took: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}
