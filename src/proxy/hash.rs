//! The hash of the request path's small tables: FNV-1a (RFC 9923).
//!
//! Their keys come from the configuration or are numbers of our own, so nobody outside can choose them to collide, and
//! the lookups are short.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table hashed by FNV-1a.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// The state of one hash.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
