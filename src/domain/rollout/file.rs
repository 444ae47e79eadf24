//! Orders in the file, and the write-back of `active`.
//!
//! The file orders a move where its content differs from what was `seen` before ([`Rollout::file_has_an_order`]). An
//! order waits until no move is under way; `idle` starts it.

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::force::Guard;
use crate::domain::gate::GateReport;
use crate::domain::rollout::{
    Asker, Configured, Effect, Move, OrderState, Overlap, Refusal, Rollout, State, called_off_by,
};
use crate::domain::schema::RolledBack;
use crate::domain::transition::{FileOrder, Kind, Origin, Transition, Trigger};

impl Rollout {
    /// Records that the file's order moved nothing. If the record fails, a restart looks at the order again.
    pub(super) fn record_seen(
        &mut self,
        now: Now,
        origin: &Origin,
        refusal: Option<&Refusal>,
        gate: Option<GateReport>,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = refusal.map(|refusal| (refusal.code().to_owned(), refusal.to_string()));
        let line = Transition::new(Kind::Seen, now.wall, origin.clone(), self.decision.clone());
        self.journal.hand_over(Transition { gate, refusal, ..line }, effects);
    }

    pub(super) fn configure(&mut self, now: Now, configured: Configured, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.configured, configured);
        self.relabel();
        self.end_mislabelled(now, effects);
        self.follow_target(now, &before, effects);
        self.file.edited();
        if !self.file_has_an_order() {
            self.decision.seen = self.configured.order.clone();
            return;
        }
        self.file.wait_if(true);
        if matches!(self.under_way(), Some(Move { asker: Asker::File, .. })) {
            let origin = self.configured.origin(Trigger::File);
            let by = Refusal::Withdrawn(format!("a newer edit of {}", self.configured.path));
            self.withdraw(now, &origin, by, effects);
        }
    }

    /// Colors that the file may name because of a move to this color.
    pub(super) fn written_back(&self, to: Color) -> Vec<Color> {
        let mut colors = self.decision.written_back.clone();
        let will_be_written = self.configured.write_back && self.configured.order.active != to;
        if will_be_written && !colors.contains(&to) {
            colors.push(to);
        }
        colors
    }

    /// After a crash the file may name a color that this program wrote for a move overtaken by another one. That is no
    /// order.
    pub(super) fn ignore_own_write_back(&mut self) {
        let order = &self.configured.order;
        if self.decision.written_back.contains(&order.active) && order.active != self.decision.seen.active {
            let serves = order.active == self.decision.active;
            let release = if serves { &self.decision.release } else { &order.release };
            self.decision.seen = FileOrder { active: order.active, release: release.clone() };
        }
        self.decision.written_back.clear();
    }

    /// The file names another color, or another release of the active color, than it did before.
    pub(super) fn file_has_an_order(&self) -> bool {
        let (order, seen) = (&self.configured.order, &self.decision.seen);
        if !self.configured.file_orders {
            return self.configured.deployed[self.decision.active] != self.decision.release;
        }
        order.active != seen.active || (order.active == self.decision.active && order.release != seen.release)
    }

    /// The active color, if the file orders none.
    fn ordered(&self) -> FileOrder {
        if self.configured.file_orders {
            return self.configured.order.clone();
        }
        let active = self.decision.active;
        FileOrder { active, release: self.configured.deployed[active].clone() }
    }

    /// After a restart: shows that the file still orders what a rollback left.
    pub(super) fn recall_overruled(&mut self, now: Now) {
        let order = self.ordered();
        if self.file.is_waiting() || order.active == self.decision.active {
            return;
        }
        let overruled = self.overruled_by_rollback(now, &order);
        if let Some(refusal @ Refusal::Overruled { left: RolledBack { reordered: true, .. }, .. }) = overruled {
            self.file.refused(refusal);
        }
    }

    /// After a restart: shows that the file still orders what was refused before.
    pub fn recall_refused(&mut self, code: &str, sentence: &str) {
        let stands = self.configured.file_orders && self.configured.order.active != self.decision.active;
        if stands && !self.file.is_waiting() && *self.file.last() == OrderState::Done {
            self.file.refused(Refusal::recalled(code, sentence));
        }
    }

    fn overruled_by_rollback(&self, now: Now, order: &FileOrder) -> Option<Refusal> {
        let same = |left: &&RolledBack| (left.color, &left.release) == (order.active, &order.release);
        let left = self.decision.lineage.rolled_back.iter().rev().find(same)?;
        let until = left.at + self.configured.order_window;
        (now.wall < until).then(|| Refusal::Overruled { left: left.clone(), until })
    }

    /// A command for the same move as the file's order replaces that order.
    pub(super) fn take_over_file_order(&mut self, asked: &Move) -> bool {
        let Asker::Command(_) = asked.asker else { return false };
        if asked.dry_run || asked.overlap == Overlap::None || self.decision.freeze.is_some() {
            return false;
        }
        let underway = match &mut self.state {
            State::Gating(underway, _) | State::Committing(underway, ..) => underway,
            State::Steady | State::Holding(..) => return false,
        };
        let same = underway.kind == Kind::Switch && (underway.to, &underway.release) == (asked.to, &asked.release);
        if !same || !matches!(underway.asker, Asker::File) {
            return false;
        }
        self.file.refused(Refusal::Withdrawn(called_off_by(&asked.origin, asked.kind)));
        (underway.asker, underway.origin) = (asked.asker, asked.origin.clone());
        if asked.force.overrides(Guard::Health) && matches!(self.state, State::Gating(..)) {
            // The command skips the gate.
            self.state = State::Steady;
            return false;
        }
        true
    }

    pub(super) fn wrote_back(&mut self, result: Result<Color, String>) {
        match result {
            Ok(color) => {
                let release = self.configured.deployed[color].clone();
                self.configured.order = FileOrder { active: color, release };
                self.decision.seen = self.configured.order.clone();
                self.file.wrote_back();
                if !self.file.is_writing_back() {
                    self.decision.written_back.clear();
                }
            }
            Err(reason) => self.file.write_back_failed(reason),
        }
        if !self.file.is_writing_back() {
            self.journal.write_back_ended();
        }
    }

    pub(super) fn start_ordered_switch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let order = self.ordered();
        let origin = self.configured.origin(Trigger::File);
        self.decision.seen = self.configured.order.clone();
        let kind = if order.active != self.decision.active {
            Kind::Switch
        } else if order.release != self.decision.release {
            Kind::Release
        } else {
            self.file.carried_out();
            return self.record_seen(now, &origin, None, None, effects);
        };
        let overruled = self.overruled_by_rollback(now, &order).filter(|_| kind == Kind::Switch);
        if overruled.is_some() {
            self.decision.lineage.reordered(order.active, &order.release);
        }
        let underway = Move::new(now, kind, (order.active, order.release), Asker::File, origin);
        match self.check_forward(&underway).and_then(|()| overruled.map_or(Ok(()), Err)) {
            Ok(()) => self.begin(now, underway, effects),
            Err(refusal) => self.refuse(now, underway, refusal, effects),
        }
    }
}
