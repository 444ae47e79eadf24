//! The data stores from the core's side: last answers of probes, and a barrier that is not in the ledger yet.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::schema::{Currents, FirstWrite, Lineage, Live, Reading};

#[derive(Debug, Default)]
pub(super) struct Stores {
    live: Live,
    barrier: Option<(Release, FirstWrite)>,
}

impl Stores {
    pub(super) fn currents<'n>(
        &self,
        active: Color,
        lineage: &Lineage,
        named: impl Iterator<Item = &'n String>,
    ) -> Currents {
        self.live.currents(active, lineage, named)
    }

    pub(super) fn read(&mut self, now: Instant, readings: Vec<Reading>) {
        self.live.read(now, readings);
    }

    pub(super) fn forget(&mut self, now: Instant) {
        self.live.forget(now);
    }

    pub(super) fn retain(&mut self, probed: &PerColor<BTreeSet<String>>) {
        self.live.retain(probed);
    }

    pub(super) fn pass_barrier(&mut self, release: Release, write: FirstWrite) {
        self.barrier = Some((release, write));
    }

    pub(super) fn take_barrier(&mut self) -> Option<(Release, FirstWrite)> {
        self.barrier.take()
    }
}
