//! A bounded rate for lines of the process log that outsiders can cause.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines within [`WINDOW`].
const LINES: u32 = 10;
/// The period that is counted.
const WINDOW: Duration = Duration::from_secs(10);

/// The lines of one kind and one worker: ten in ten seconds.
#[derive(Debug, Default)]
pub struct LogRate {
    began: Cell<Option<Instant>>,
    lines: Cell<u32>,
    suppressed: Cell<u64>,
}

impl LogRate {
    /// Whether a line may be written now; with the number of lines that were left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        if self.began.get().is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            self.began.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() == LINES {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let (rate, began) = (LogRate::default(), Instant::now());
        let admitted = (0..100).filter(|_| rate.admit(began).is_some()).count();
        assert_eq!(admitted, LINES as usize);
        assert_eq!(rate.admit(began + WINDOW), Some(90), "the next line says how many are missing");
        assert_eq!(rate.admit(began + WINDOW), Some(0));
    }
}
