//! A set of hashes as bits. Two hashes may share one, and then the second counts as a member.

use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[derive(Debug)]
pub(super) struct Bits(Box<[AtomicU64]>);

impl Bits {
    pub(super) fn new(bits: usize) -> Bits {
        Bits((0..bits / 64).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn save(&self, saved: &mut Vec<u8>) {
        let words =
            || self.0.iter().map(|word| word.load(Ordering::Relaxed)).zip(0_u32..).filter(|(word, _)| *word != 0);
        saved.extend(u32::try_from(words().count()).unwrap_or(0).to_le_bytes());
        for (word, place) in words() {
            saved.extend(place.to_le_bytes());
            saved.extend(word.to_le_bytes());
        }
    }

    pub(super) fn read(&self, saved: &mut &[u8]) -> Option<()> {
        for _ in 0..take(saved).map(u32::from_le_bytes)? {
            let place = take(saved).map(u32::from_le_bytes)?;
            let word = take(saved).map(u64::from_le_bytes)?;
            self.0.get(place as usize)?.fetch_or(word, Ordering::Relaxed);
        }
        Some(())
    }

    fn place(&self, hash: u64) -> (&AtomicU64, u64) {
        (&self.0[hash as usize % self.0.len()], 1 << (hash >> 58))
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// True if it is new. Most are not, and a read leaves the cache line shared.
    pub(super) fn insert(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// An estimate of the number of members (linear counting).
    pub(super) fn members(&self) -> u64 {
        let bits = self.0.len() as u64 * 64;
        let taken: u64 = self.0.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum();
        let free = (bits - taken).max(1) as f64 / bits as f64;
        (-(bits as f64) * free.ln()).round() as u64
    }
}
