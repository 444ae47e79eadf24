//! The second placebo: a process of its own that repeats the stable release some seconds later. A clump on one process
//! stays on one side, and slow changes affect both.
//!
//! An outage that hits all processes at once, such as of a database, looks like a clump: a record does not tell them
//! apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chance, dealt, thinned};
use crate::domain::analysis::tick::{Arms, Batch, Counts, RouteTick, Tick, number};
use crate::domain::split::Weight;

/// Least and greatest delay in ticks: longer than a clump of a second or two, and short enough for the same load.
const LATER: (u64, u64) = (3, 10);

#[expect(clippy::cast_possible_truncation, reason = "a few")]
pub(super) fn later(chance: &mut Chance) -> usize {
    let (least, most) = LATER;
    (least + chance.next() % (most - least + 1)) as usize
}

/// The recorded ticks of the stable release.
pub(super) struct Lives<'a> {
    ticks: &'a [Tick],
    /// By slot and tick.
    assigned: BTreeMap<(usize, u64), u64>,
}

impl<'a> Lives<'a> {
    pub(super) fn new(ticks: &'a [Tick]) -> Lives<'a> {
        let mut assigned = BTreeMap::new();
        for route in ticks.iter().flat_map(|tick| &tick.routes) {
            for batch in &route.batches {
                assigned.insert((route.slot, batch.tick), batch.assigned.stable);
            }
        }
        Lives { ticks, assigned }
    }

    /// The tick at `place`, with the one `later` ticks before it as the placebo's.
    pub(super) fn tick(&self, place: usize, later: usize, chance: &mut Chance) -> Tick {
        let (now, then) = (&self.ticks[place], &self.ticks[place - later]);
        let shift = now.number.saturating_sub(then.number);
        let slots: BTreeSet<usize> = now.routes.iter().chain(&then.routes).map(|route| route.slot).collect();
        let mut routes = Vec::new();
        for slot in slots {
            let of = |tick: &'a Tick| tick.routes.iter().find(|route| route.slot == slot);
            let (real, earlier) = (of(now), of(then));
            let Some(known) = real.or(earlier) else { continue };
            let side = |route: Option<&'a RouteTick>| route.map_or(&[][..], |route| &route.batches);
            let batches = self.merged(slot, side(real), side(earlier), (now.weight, shift), chance);
            let overall = known.overall.is_some().then(|| {
                let side =
                    |route: Option<&'a RouteTick>| route.and_then(|route| route.overall.as_deref()).unwrap_or_default();
                self.merged(slot, side(real), side(earlier), (now.weight, shift), chance)
            });
            routes.push(RouteTick { batches, overall, seen: None, quantiles: Arms::default(), ..known.clone() });
        }
        let mut assigned: Arms<u64> = Arms::default();
        for batch in routes.iter().flat_map(|route| &route.batches).filter(|batch| batch.tick == now.number) {
            assigned.add(batch.assigned);
        }
        let minute = now.minute.map(|minute| dealt(&minute, chance));
        // Events of the application are split in the first placebo only.
        Tick { assigned, routes, events: Vec::new(), cpu: None, broken: 0, minute, ..now.clone() }
    }

    fn merged(
        &self,
        slot: usize,
        real: &[Batch],
        earlier: &[Batch],
        (weight, shift): (Weight, u64),
        chance: &mut Chance,
    ) -> Vec<Batch> {
        let mut done: BTreeMap<u64, (Weight, Arms<Counts>)> = BTreeMap::new();
        for batch in real {
            let keeps = kept(batch.weight).stable;
            let of = done.entry(batch.tick).or_insert((batch.weight, Arms::default()));
            of.1.stable.add(&thinned(&batch.done.stable, keeps, chance));
        }
        for batch in earlier {
            let of = done.entry(batch.tick + shift).or_insert((weight, Arms::default()));
            let keeps = kept(of.0).candidate;
            of.1.candidate.add(&thinned(&batch.done.stable, keeps, chance));
        }
        let batches = done.into_iter().map(|(tick, (weight, done))| {
            let given = |tick: u64, keeps: f64| {
                let all = self.assigned.get(&(slot, tick)).copied().unwrap_or_default();
                scaled(all, keeps)
            };
            let keeps = kept(weight);
            let candidate = tick.checked_sub(shift).map_or(0, |tick| given(tick, keeps.candidate));
            Batch { tick, weight, assigned: Arms { stable: given(tick, keeps.stable), candidate }, done }
        });
        batches.collect()
    }
}

/// The part of the stable release that each side keeps, so that their sizes match the weight.
fn kept(weight: Weight) -> Arms<f64> {
    let (share, rest) = (weight.share(), weight.rest().share());
    if weight == Weight::ALL || share <= 0.0 {
        return Arms { stable: 1.0, candidate: 0.0 };
    }
    Arms { stable: (rest / share).min(1.0), candidate: (share / rest).min(1.0) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn scaled(all: u64, share: f64) -> u64 {
    (number(all) * share).round() as u64
}
