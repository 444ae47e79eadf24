//! Lines that move nothing: refused attempts, ends of drains, automatic changes.

use crate::domain::clock::Now;
use crate::domain::gate::GateReport;
use crate::domain::rollout::{Effect, Refusal, Rollout};
use crate::domain::transition::{Asked, Drained, Kind, Origin, Transition, Trigger};

impl Rollout {
    pub(super) fn record_refused(
        &mut self,
        now: Now,
        asked: Asked,
        origin: Origin,
        gate: Option<GateReport>,
        refusal: &Refusal,
    ) {
        self.journal.record_refused(now, (asked, origin), gate, refusal, &self.decision);
    }

    pub(super) fn drained(&mut self, now: Now, drained: Drained) {
        let line = Transition::new(Kind::Drained, now.wall, automatic(None), self.decision.clone());
        self.journal.record(Transition { took: drained.took, drained: Some(drained), ..line });
    }

    /// At the end of the process: nobody hears of a write-back any more.
    pub fn write_waiting_records(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.journal.write_back_ended();
        if !self.is_committing() {
            self.journal.write_records(now.mono, &self.decision, effects);
        }
    }
}

pub(super) fn automatic(reason: Option<&str>) -> Origin {
    Origin {
        trigger: Trigger::Automatic,
        actor: "cutover".to_owned(),
        source: String::new(),
        reason: reason.map(str::to_owned),
        key: None,
    }
}
