//! The service time and the exposure of the release that a move leaves.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Exposure, Moment};
use crate::domain::transition::{Kind, Transition};
use crate::notify::words::{count, percent, span, thousands};

/// The time since which the release that a line leaves has had requests, by the lines before it: since the start of
/// its canary, or without one since its switch.
pub(crate) fn served_since<'a>(
    line: &Transition,
    newest_first: impl IntoIterator<Item = &'a (u64, Arc<Transition>)>,
) -> Option<SystemTime> {
    let (_, left) = line.from.as_ref()?;
    let mut since = None;
    for (_, line) in newest_first {
        let on_its_way = line.decision.deployment.as_ref().is_some_and(|it| it.is_canary() && it.release == *left);
        if on_its_way && line.kind == Kind::Canary {
            return Some(line.at);
        }
        if since.is_some() && !on_its_way {
            break;
        }
        if line.kind.moves() && !stays(line) {
            since = Some(line.at);
        }
    }
    since
}

/// A rollback that leaves the live release in place.
pub(super) fn stays(transition: &Transition) -> bool {
    transition.kind == Kind::Rollback && transition.decision.since < transition.at
}

pub(super) fn exposed(transition: &Transition, moment: &Moment) -> String {
    let (Some((_, release)), Some(since)) = (&transition.from, moment.served_since) else { return String::new() };
    let so_long = span(transition.at.duration_since(since).unwrap_or_default());
    match moment.exposure {
        Some(Exposure { requests, errors }) => {
            let share = percent(errors as f64, requests as f64);
            let (requests, errors) = (count(requests, "request"), thousands(errors));
            format!(" {release} had served for {so_long} and answered {requests}, {errors} of them with 5xx ({share}).")
        }
        None => format!(" {release} had served for {so_long}."),
    }
}
