//! The bounded list of past transitions, and the releases in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::{Kind, Origin, Transition, Trigger};

/// Transitions kept in memory. Older ones stay in the ledger until it is compacted.
const KEPT: usize = 1_000;

/// With their sequence numbers in the ledger, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(VecDeque<(u64, Arc<Transition>)>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub kinds: Vec<Kind>,
    pub actor: Option<String>,
    /// It moved to, from or asked for this release, or this release was on its way.
    pub release: Option<Release>,
    pub since: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub release: Release,
    pub color: Color,
    pub from: SystemTime,
    pub until: Option<SystemTime>,
    pub by: Origin,
    pub known_good: Option<SystemTime>,
}

impl Filter {
    fn wants(&self, transition: &Transition) -> bool {
        let names = |release: &Release| {
            let from = transition.from.as_ref().is_some_and(|(_, from)| from == release);
            let asked = transition.asked.as_ref().and_then(|asked| asked.to.as_ref());
            let way = transition.decision.deployment.as_ref().is_some_and(|on_its_way| on_its_way.release == *release);
            transition.decision.release == *release || from || way || asked.is_some_and(|(_, asked)| asked == release)
        };
        (self.kinds.is_empty() || self.kinds.contains(&transition.kind))
            && self.actor.as_ref().is_none_or(|actor| *actor == transition.origin.actor)
            && self.since.is_none_or(|since| transition.at >= since)
            && self.release.as_ref().is_none_or(names)
    }
}

impl History {
    /// A drain's end is attached to the move that began it; bookkeeping is left out.
    pub(crate) fn push(&mut self, sequence: u64, transition: Arc<Transition>) {
        if transition.kind == Kind::Noted {
            return;
        }
        if let Some(drained) = &transition.drained {
            let left = |(_, before): &&mut (u64, Arc<Transition>)| {
                (before.kind.moves() || before.kind == Kind::Abort)
                    && before.from.as_ref().is_some_and(|(color, _)| *color == drained.color)
            };
            if let Some((_, before)) = self.0.iter_mut().rev().find(left) {
                Arc::make_mut(before).drained = Some(drained.clone());
            }
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((sequence, transition));
    }

    /// At most `limit`, newest first, older than sequence number `before`.
    #[must_use]
    pub(crate) fn page(&self, limit: usize, before: Option<u64>, filter: &Filter) -> Vec<(u64, Arc<Transition>)> {
        let older = self.0.iter().rev().filter(|(sequence, _)| before.is_none_or(|before| *sequence < before));
        older.filter(|(_, transition)| filter.wants(transition)).take(limit).cloned().collect()
    }

    #[must_use]
    pub(crate) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (_, transition) in &self.0 {
            let decision = &transition.decision;
            // A canary that was rolled back took no color from the release that served all along.
            let stays = |last: &Run| {
                let same = (last.color, &last.release) == (decision.active, &decision.release);
                transition.kind == Kind::Rollback && same
            };
            if transition.kind.moves() && !runs.last().is_some_and(stays) {
                if let Some(last) = runs.last_mut() {
                    last.until = Some(transition.at);
                }
                runs.push(Run {
                    release: decision.release.clone(),
                    color: decision.active,
                    from: transition.at,
                    until: None,
                    by: transition.origin.clone(),
                    known_good: decision.known_good,
                });
            } else if let Some(last) = runs.last_mut().filter(|_| transition.kind == Kind::KnownGood) {
                last.known_good = decision.known_good;
            }
        }
        runs.reverse();
        runs
    }

    #[must_use]
    pub(crate) fn of_key(&self, actor: &str, key: &str) -> Option<&Arc<Transition>> {
        let mut of_key = self.0.iter().map(|(_, line)| line).filter(|line| {
            line.origin.trigger == Trigger::Api && line.origin.actor == actor && line.origin.key.as_deref() == Some(key)
        });
        let first = of_key.next()?;
        // A move that is being written can still be called off.
        Some(of_key.find(|line| line.kind == Kind::Refused).unwrap_or(first))
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &(u64, Arc<Transition>)> {
        self.0.iter().rev()
    }
}
