//! The last sampled trace of each bucket. One writer, its worker; a reader that meets a write reads again.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{SystemTime, UNIX_EPOCH};

/// Attempts of a reader.
const LOOKS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub trace: u128,
    pub micros: u64,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// A place for an exemplar: a sequence lock.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Odd during a write; 0: empty.
    version: AtomicU64,
    words: [AtomicU64; 4],
}

impl Exemplar {
    pub(crate) fn now(trace: u128, micros: u64) -> Exemplar {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Exemplar { trace, micros, at: u64::try_from(at).unwrap_or(u64::MAX) }
    }

    fn words(self) -> [u64; 4] {
        [(self.trace >> 64) as u64, self.trace as u64, self.micros, self.at]
    }
}

impl Place {
    /// Only for the worker that owns the place.
    pub(crate) fn write(&self, exemplar: Exemplar) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(exemplar.words()) {
            place.store(word, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    pub(crate) fn read(&self) -> Option<Exemplar> {
        (0..LOOKS).find_map(|_| {
            let version = self.version.load(Ordering::Acquire);
            let [high, low, micros, at] = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            let whole = version != 0 && version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
            whole.then_some(Exemplar { trace: u128::from(high) << 64 | u128::from(low), micros, at })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_half_of_an_exemplar() {
        let place = Place::default();
        assert_eq!(place.read(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=20_000 {
                    let trace = u128::from(number) << 64 | u128::from(number);
                    place.write(Exemplar { trace, micros: number, at: number });
                }
            });
            for _ in 0..20_000 {
                if let Some(Exemplar { trace, micros, at }) = place.read() {
                    assert_eq!((trace, at), (u128::from(micros) << 64 | u128::from(micros), micros));
                }
            }
        });
        assert_eq!(place.read().map(|exemplar| exemplar.micros), Some(20_000));
    }
}
