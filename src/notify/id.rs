//! The id of a notice, derived from its event: the same for every attempt and sink, before its line is on disk, and
//! after a restart.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::transition::Transition;

/// Crockford's alphabet, without letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID behind `evt_`: 48 bits of time in milliseconds, so that ids sort by time, and 80 bits more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EventId(String);

impl EventId {
    /// The id for a line of the ledger, from its constant parts. Times have the ledger's microseconds.
    #[must_use]
    pub(crate) fn of_transition(transition: &Transition) -> EventId {
        let (origin, decision) = (&transition.origin, &transition.decision);
        let from = transition.from.as_ref();
        let parts = [
            transition.kind.name(),
            origin.trigger.name(),
            &micros(transition.at).to_string(),
            &transition.took.as_micros().to_string(),
            &decision.generation.to_string(),
            decision.active.as_str(),
            decision.release.as_str(),
            from.map_or("", |(color, _)| color.as_str()),
            from.map_or("", |(_, release)| release.as_str()),
            transition.refusal.as_ref().map_or("", |(code, _)| code),
            &origin.actor,
            &origin.source,
            origin.reason.as_deref().unwrap_or(""),
        ];
        // Lengths keep two lists of parts apart.
        let text: String = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
        let hash = digest(&SHA256, text.as_bytes());
        let mut rest = [0; 10];
        rest.copy_from_slice(&hash.as_ref()[..10]);
        EventId::new(transition.at, rest)
    }

    /// The id of an event without a line.
    #[must_use]
    pub(crate) fn by_chance(at: SystemTime) -> EventId {
        EventId::new(at, std::array::from_fn(|_| fastrand::u8(..)))
    }

    fn new(at: SystemTime, rest: [u8; 10]) -> EventId {
        let millis = (micros(at) / 1_000) & ((1 << 48) - 1);
        let value = rest.iter().fold(millis, |value, byte| value << 8 | u128::from(*byte));
        let digit = |place: u32| char::from(ALPHABET[usize::try_from(value >> (5 * place) & 31).unwrap_or(0)]);
        EventId(format!("evt_{}", (0..26).rev().map(digit).collect::<String>()))
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn micros(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ_within_a_millisecond() {
        let at = UNIX_EPOCH + Duration::from_millis(1_763_820_187_412);
        let (one, other) = (EventId::by_chance(at), EventId::by_chance(at));
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 30);
        assert_eq!(one.as_str()[..14], other.as_str()[..14], "the time is the same");
        assert!(one < EventId::by_chance(at + Duration::from_millis(1)));
    }

    #[test]
    fn a_ulid_is_written_as_its_specification_says() {
        // The largest time there is, and all other bits set, is the largest ULID.
        let at = UNIX_EPOCH + Duration::from_millis((1 << 48) - 1);
        assert_eq!(EventId::new(at, [255; 10]).as_str(), "evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert_eq!(EventId::new(UNIX_EPOCH, [0; 10]).as_str(), "evt_00000000000000000000000000");
    }
}
