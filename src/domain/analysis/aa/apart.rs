//! A placebo that is a process of its own: it does what the stable release did some seconds before. What goes wrong in
//! a clump on one process goes wrong in a clump on one side, and what changes over minutes changes on both.
//!
//! What all processes suffer at once, such as an outage of a database, looks like a clump here: a record does not tell
//! them apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chance, dealt, thinned};
use crate::domain::analysis::tick::{Arms, Batch, Counts, RouteTick, Tick, number};
use crate::domain::split::Weight;

/// The least and the most of the ticks between both lives: a clump of a second or two is over, and the load is the
/// same.
const LATER: (u64, u64) = (3, 10);

/// By how many ticks the placebo is late.
#[expect(clippy::cast_possible_truncation, reason = "a few")]
pub(super) fn later(chance: &mut Chance) -> usize {
    let (least, most) = LATER;
    (least + chance.next() % (most - least + 1)) as usize
}

/// What the stable release did.
pub(super) struct Lives<'a> {
    ticks: &'a [Tick],
    /// Requests that it was given, by slot and tick.
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

    /// The tick at this place, and what the one so much earlier was as that of the placebo.
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
        // What the application tells is shared out in the first placebo alone.
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

/// Which shares of what the stable release did are each side's, so that they stand as the weight says.
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
