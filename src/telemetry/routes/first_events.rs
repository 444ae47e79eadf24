//! Where a user stays on one color, all their bad requests come from one toss of the coin. So only the first bad event of
//! each user, on a route and of a kind, is evidence; and this remembers who had one.
//!
//! A bit for each user and class, found by a hash, so that slow requests, of which every second user has one, do not crowd out
//! errors. Two users may share a bit, and then the event of the second is not counted: never one too many. One bit and not
//! several, because of two workers at the same moment exactly one has to be the first. It is not kept over a restart.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{CLASSES, RouteId};
use crate::domain::deployment::DeploymentId;
use crate::domain::split;

/// 2^22 bits for each class: of 100,000 users, one of 80 shares a bit with one before.
const WORDS: usize = 1 << 16;

/// The users who had an event.
#[derive(Debug)]
pub struct FirstEvents {
    /// In which deployment.
    pub(super) deployment: DeploymentId,
    bits: Box<[AtomicU64]>,
}

impl FirstEvents {
    /// Nobody.
    #[must_use]
    pub fn new(deployment: DeploymentId) -> FirstEvents {
        FirstEvents { deployment, bits: (0..CLASSES * WORDS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether this is the first; also remembers it. Of two workers at the same moment only one is told so.
    pub fn is_first(&self, key: u64, route: RouteId, class: usize) -> bool {
        // Spread, or the next route is as good as the next user.
        let salt = (route.index() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = split::draw(&key.to_le_bytes(), salt);
        let words = &self.bits[class * WORDS..][..WORDS];
        let (word, bit) = (&words[hash as usize % WORDS], 1 << ((hash >> 32) % 64));
        // Most are known already, and a look takes the line from nobody.
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}
