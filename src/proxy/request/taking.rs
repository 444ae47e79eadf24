//! The taking of an answer: as it comes, or held up by the client.

use std::time::Instant;

use crate::proxy::blame::HELD_UP;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Client,
    Endpoint,
}

#[derive(Debug, Default)]
pub(crate) struct Taking {
    waits: Option<(WaitsFor, Instant)>,
    /// The answer waited long for the client, and not for the endpoint since. The endpoint may have given up, and its
    /// earlier bytes are still on the way.
    held_up: bool,
}

impl Taking {
    pub(crate) fn observe(&mut self, waits_for: WaitsFor, now: Instant) -> bool {
        let before = self.waits;
        if let Some((same, _)) = before
            && same == waits_for
        {
            return false;
        }
        self.held_up = self.is_held_up(now);
        self.waits = Some((waits_for, now));
        before.is_some() || waits_for == WaitsFor::Client
    }

    pub(crate) fn is_held_up(&self, now: Instant) -> bool {
        match self.waits {
            Some((waits_for, since)) if now.saturating_duration_since(since) >= HELD_UP => {
                waits_for == WaitsFor::Client
            }
            _ => self.held_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_is_held_up_by_a_pause_until_the_endpoint_has_been_waited_for() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut taking = Taking::default();
        assert!(!taking.observe(WaitsFor::Endpoint, at(0)), "that is how it begins");
        assert!(taking.observe(WaitsFor::Client, at(100)));
        assert!(!taking.observe(WaitsFor::Client, at(900)));
        assert!(!taking.is_held_up(at(900)));
        assert!(taking.is_held_up(at(1_100)));
        assert!(taking.observe(WaitsFor::Endpoint, at(1_200)));
        assert!(taking.is_held_up(at(1_300)), "the end of it may have been on the way");
        assert!(!taking.is_held_up(at(2_200)), "the endpoint was still there");
        assert!(taking.observe(WaitsFor::Client, at(2_300)));
        assert!(!taking.is_held_up(at(2_400)));
    }
}
