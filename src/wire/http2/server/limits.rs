//! Limits on useless work that a client can cause on one connection. Each is a rate with a burst, so that harmless
//! events do not add up over weeks.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// RST_STREAM before the response was complete (CVE-2023-44487).
    Resets,
    /// Protocol errors that make the proxy reset a stream (CVE-2025-8671).
    Violations,
    /// Frames without effect, and requests refused unread.
    Useless,
    /// Field blocks that unpack to many times their size.
    Unpacked,
    /// A field block incomplete for longer than `header_timeout`.
    SlowHead,
}

impl Flood {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Flood::Resets => "too many streams were reset",
            Flood::Violations => "too many streams broke the rules",
            Flood::Useless => "too many frames without effect",
            Flood::Unpacked => "field blocks unpack to many times their size",
            Flood::SlowHead => "a field block was not complete in time",
        }
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    level: u32,
    burst: u32,
    per_second: u32,
    filled: Instant,
}

impl Bucket {
    fn new(burst: u32, per_second: u32, now: Instant) -> Bucket {
        Bucket { level: burst, burst, per_second, filled: now }
    }

    fn take(&mut self, tokens: u32, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        if elapsed >= Duration::from_millis(1) {
            self.fill(elapsed, now);
        }
        let enough = self.level >= tokens;
        self.level = self.level.saturating_sub(tokens);
        enough
    }

    fn fill(&mut self, elapsed: Duration, now: Instant) {
        let earned = elapsed.as_micros().saturating_mul(self.per_second.into()) / 1_000_000;
        let level = u128::from(self.level) + earned;
        if level >= self.burst.into() {
            (self.level, self.filled) = (self.burst, now);
        } else if earned > 0 {
            // The fraction of a token is kept as time.
            let used = earned * 1_000_000 / u128::from(self.per_second);
            self.level = level as u32;
            self.filled += Duration::from_micros(used as u64);
        }
    }

    fn earn(&mut self, tokens: u32) {
        self.level = self.burst.min(self.level.saturating_add(tokens));
    }
}

/// Burst, and tokens per second: nghttp2's limits.
const RESETS: (u32, u32) = (1000, 33);
const VIOLATIONS: (u32, u32) = (256, 33);
const USELESS: (u32, u32) = (10_000, 1000);
/// In KiB of unpacked bytes beyond [`allowance`].
const UNPACKED: (u32, u32) = (16 << 10, 1 << 10);
/// A useful frame pays for this many WINDOW_UPDATE and PING frames.
const EARNED: u32 = 4;
const REFUSED: u32 = 10;
/// A SETTINGS frame costs one useless frame for each of this many entries.
const ENTRIES: usize = 32;

#[derive(Debug)]
pub(super) struct Limits {
    pub(super) now: Instant,
    resets: Bucket,
    violations: Bucket,
    useless: Bucket,
    unpacked: Bucket,
    pub(super) flood: Option<Flood>,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Limits {
        let bucket = |(burst, per_second)| Bucket::new(burst, per_second, now);
        Limits {
            now,
            resets: bucket(RESETS),
            violations: bucket(VIOLATIONS),
            useless: bucket(USELESS),
            unpacked: bucket(UNPACKED),
            flood: None,
        }
    }

    fn check(&mut self, within: bool, flood: Flood) {
        if !within {
            self.flood.get_or_insert(flood);
        }
    }

    pub(super) fn reset(&mut self) {
        let within = self.resets.take(1, self.now);
        self.check(within, Flood::Resets);
    }

    /// A complete response earns the right to one cancellation.
    pub(super) fn answered(&mut self) {
        self.resets.earn(1);
    }

    pub(super) fn violation(&mut self) {
        let within = self.violations.take(1, self.now);
        self.check(within, Flood::Violations);
    }

    pub(super) fn useless(&mut self) {
        self.useless_frames(1);
    }

    pub(super) fn refused(&mut self) {
        self.useless_frames(REFUSED);
    }

    pub(super) fn settings(&mut self, entries: usize) {
        self.useless_frames(1 + (entries / ENTRIES) as u32);
    }

    fn useless_frames(&mut self, frames: u32) {
        let within = self.useless.take(frames, self.now);
        self.check(within, Flood::Useless);
    }

    pub(super) fn useful(&mut self) {
        self.useless.earn(EARNED);
    }

    pub(super) fn unpacked(&mut self, packed: usize, unpacked: usize) {
        if let Some(excess) = unpacked.checked_sub(allowance(packed)) {
            let within = self.unpacked.take(u32::try_from(excess >> 10).unwrap_or(u32::MAX), self.now);
            self.check(within, Flood::Unpacked);
        }
    }

    #[cfg(test)]
    pub(super) fn patience(&self) -> u32 {
        self.useless.level
    }
}

/// Unpacked bytes expected of a block. Real clients name each entry of the table at most once, which adds at most the
/// size of the table; only repetition adds more.
fn allowance(packed: usize) -> usize {
    (16 << 10) + 16 * packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        assert!((0..10).all(|_| bucket.take(1, start)));
        assert!(!bucket.take(1, start));
        // Frequent calls lose no fraction of a token.
        let taken = (1..=1000).filter(|nth| bucket.take(1, start + Duration::from_millis(10 * nth))).count();
        assert!((29..=30).contains(&taken), "{taken} in 10 s at 3/s");
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(10, later) && !bucket.take(1, later), "never more than the burst");
    }

    #[test]
    fn responses_pay_for_resets() {
        let mut limits = Limits::new(Instant::now());
        for _ in 0..100_000 {
            limits.answered();
            limits.reset();
        }
        assert_eq!(limits.flood, None);
        (0..=RESETS.0).for_each(|_| limits.reset());
        assert_eq!(limits.flood, Some(Flood::Resets));
    }

    #[test]
    fn a_large_cookie_from_the_table_is_no_amplification() {
        let mut limits = Limits::new(Instant::now());
        (0..1_000_000).for_each(|_| limits.unpacked(6, 4500));
        assert_eq!(limits.flood, None);
        (0..400).for_each(|_| limits.unpacked(40, 64 << 10));
        assert_eq!(limits.flood, Some(Flood::Unpacked));
    }
}
