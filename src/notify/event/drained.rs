//! Notices about the end of a drain: requests cut off, and the remaining need for the color.

use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::transition::{Decision, Drained};
use crate::notify::event::Words;
use crate::notify::words::span;

pub(super) fn words(drained: &Drained, decision: &Decision) -> Words {
    let Drained { color, took, ended, timed_out } = drained;
    // Stopping the application now would remove the way back.
    let free = match decision.previous.as_ref().filter(|previous| previous.color == *color) {
        Some(previous) if previous.known_good.is_some() => format!(
            "Keep {} on {color} running: it is the rollback target. To check that: `cutover status`.",
            previous.release
        ),
        _ if decision.deployment.as_ref().is_some_and(|on_its_way| on_its_way.splits()) => {
            format!("{color} may get requests again: `cutover canary status` tells.")
        }
        _ => format!("No rollback leads to {color}. To see the state: `cutover status`."),
    };
    let (severity, rest, next) = if *timed_out {
        let rest = if ended.total() == 0 { "something".to_owned() } else { ended.to_string() };
        let rest = format!("{rest} cut off at drain.timeout");
        let next =
            "Clients saw a 504, a close frame or a closed connection; to give them longer, raise `drain.timeout`.";
        (Severity::Warn, rest, format!("{next} {free}"))
    } else if ended.total() > 0 {
        (Severity::Info, format!("{ended} closed, as drain.streams says"), free)
    } else {
        (Severity::Info, "nothing was cut off".to_owned(), free)
    };
    let sentence = format!("The requests that began on {color} before the switch ended after {}; {rest}.", span(*took));
    ((NoticeEvent::Drained, severity), format!("{color} is drained"), sentence, next)
}
