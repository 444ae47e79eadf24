//! The bounded list of past transitions.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::transition::Transition;

/// How many are kept in memory; older ones are in the ledger until it is compacted.
const KEPT: usize = 1_000;

/// Past transitions with their sequence numbers in the ledger, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<(u64, Arc<Transition>)>);

impl History {
    /// Adds the newest.
    pub fn push(&mut self, sequence: u64, transition: Arc<Transition>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((sequence, transition));
    }

    /// At most `limit`, newest first, and only those older than sequence number `before`.
    #[must_use]
    pub fn page(&self, limit: usize, before: Option<u64>) -> Vec<(u64, Arc<Transition>)> {
        let older = self.0.iter().rev().filter(|(sequence, _)| before.is_none_or(|before| *sequence < before));
        older.take(limit).cloned().collect()
    }

    /// The newest that moved traffic or was a start.
    #[must_use]
    pub fn last(&self) -> Option<&(u64, Arc<Transition>)> {
        self.0.back()
    }
}
