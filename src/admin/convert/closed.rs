//! Warnings that requests are held, or get the maintenance answer.

use std::time::Instant;

use crate::control::handle::Status;

pub(super) fn not_served(status: &Status) -> Vec<String> {
    let mut said = Vec::new();
    if status.view.decision.maintenance {
        said.push(
            "maintenance is on, so every request gets the maintenance answer: `cutover maintenance off`".to_owned(),
        );
    }
    if let Some(hold) = status.view.hold.as_ref().filter(|hold| !hold.for_move) {
        let left = hold.until.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        let reason = hold.origin.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let by = &hold.origin.actor;
        said.push(format!("requests are held ({by}{reason}) for {left} s more: `cutover unpause`"));
    }
    said
}
