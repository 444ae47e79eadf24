//! Events in the head of an answer: `Cutover-Event: order`, or `Cutover-Event: signup, mail_failed;n=2`. The field goes
//! no further than this hop. Trailers are not looked at.

mod list;

use std::sync::Arc;

use crate::domain::analysis::MOST_EVENTS;
use crate::evidence::routes::{AppEvent, EventIgnored};
use crate::proxy::request::exchange::Exchange;
use crate::wire::head::{Head, Name};

use list::{Member, Members};

const MOST: usize = 16;
const SHOWN: usize = 120;

#[cold]
pub(super) fn tell(exchange: &Exchange, answer: &mut Head) {
    if let Some(events) = exchange.admission().events.as_ref().filter(|_| !exchange.report.is_lingered()) {
        let mut told = [0; MOST_EVENTS];
        // RFC 9651: a list that can't be parsed is ignored as a whole.
        match read(events, answer, &mut told, |why, member| ignore(exchange, why, member)) {
            Ok(()) => count(exchange, events, told),
            Err((why, line)) => ignore(exchange, why, line),
        }
    }
    answer.remove(Name::CutoverEvent);
}

/// Sums up the reports by event; a single bad member goes to `ignored`.
fn read<'a>(
    events: &[Arc<AppEvent>],
    answer: &'a Head,
    told: &mut [u64],
    mut ignored: impl FnMut(EventIgnored, &[u8]),
) -> Result<(), (EventIgnored, &'a [u8])> {
    let mut members = 0;
    for line in answer.all(Name::CutoverEvent) {
        for member in Members::of(line) {
            let Member { name, n } = member.map_err(|_| (EventIgnored::Malformed, line))?;
            members += 1;
            if members > MOST {
                return Err((EventIgnored::TooMany, line));
            }
            let known = events.iter().position(|event| event.kind.name.as_bytes() == name);
            match (known, n) {
                (None, _) => ignored(EventIgnored::Unknown, name),
                (Some(_), None) => ignored(EventIgnored::Number, line),
                (Some(event), Some(n)) => told[event] += u64::from(n),
            }
        }
    }
    Ok(())
}

fn count(exchange: &Exchange, events: &[Arc<AppEvent>], told: impl IntoIterator<Item = u64>) {
    let worker = &exchange.client.worker;
    let color = exchange.admission().pool.color;
    for (event, n) in events.iter().zip(told).filter(|(_, n)| *n > 0) {
        event.told(worker.index, color, n);
        if let Some(trial) = exchange.slot().trial.get() {
            worker.trials.told(&trial, event, n);
        }
    }
}

fn ignore(exchange: &Exchange, why: EventIgnored, bytes: &[u8]) {
    let worker = &exchange.client.worker;
    worker.live.routes.told().ignore(why);
    let Some(suppressed) = worker.events_logged.allow(worker.now()) else { return };
    let (endpoint, pool) = exchange.target();
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    tracing::warn!(
        color = %pool.color, upstream = %pool.upstream, endpoint = %endpoint.name, reason = why.label(), received = %shown, suppressed,
        "event ignored"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::analysis::Bad;
    use crate::evidence::routes::{EventKind, Routes};

    fn told(lines: &[&str]) -> ([u64; 2], Option<&'static str>) {
        let kinds = ["order", "failed"].map(|name| EventKind { name: name.to_owned(), bad: Bad::More, per_request: 1 });
        let events: Arc<[Arc<AppEvent>]> = Routes::new(1).tell(&kinds);
        let mut answer = Head::default();
        lines.iter().for_each(|line| answer.push(b"cutover-EVENT", line.as_bytes()));
        let mut told = [0; 2];
        let mut wrong = None;
        match read(&events, &answer, &mut told, |why, _| wrong = Some(why.label())) {
            Ok(()) => (told, wrong),
            Err((why, _)) => ([0; 2], Some(why.label())),
        }
    }

    #[test]
    fn fields_and_members_add_up() {
        assert_eq!(told(&["order"]), ([1, 0], None));
        assert_eq!(told(&["order;n=3, failed", "order"]), ([4, 1], None));
        assert_eq!(told(&[""]), ([0, 0], None));
    }

    #[test]
    fn what_is_wrong_with_one_member_is_ignored_alone_and_a_list_that_can_not_be_read_as_a_whole() {
        assert_eq!(told(&["order, else"]), ([1, 0], Some("unknown")));
        assert_eq!(told(&["order;n=0, failed;n=1000"]), ([0, 1_000], Some("number")));
        assert_eq!(told(&["order", "fai led"]), ([0, 0], Some("malformed")));
        assert_eq!(
            told(&[
                "order, order, order, order, order, order, order, order, order",
                "order, order, order, order, order, order, order, order"
            ]),
            ([0, 0], Some("too_many"))
        );
    }
}
