//! The pending notices of one sink, as a pure machine: a day of a dead receiver is a test of a millisecond.
//!
//! The ledger is the outbox. A [`Cursor`] marks the lines that are done; a restart sends the later ones again under the
//! same ids. Notices without a line (health, drains) exist here only.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::notice::Severity;
use crate::notify::event::Notice;
use crate::notify::id::EventId;
use crate::notify::schedule::{self, Breaker, GIVE_UP};

/// The most pending notices; above it the least severe is dropped.
pub(super) const MOST: usize = 1_000;
/// A rollback is in force before it is on disk. Its notice waits this long for the line, and then goes without.
pub(super) const FOR_THE_LINE: Duration = Duration::from_secs(1);
/// The time of failure after which a severe notice alarms the other sinks.
pub(super) const ALARM: Duration = Duration::from_secs(120);
/// The time between two checks of the age of pending notices.
const GLANCE: Duration = Duration::from_secs(60);

/// The line of a notice in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// No line.
    Passing,
    /// Not on disk yet.
    Unwritten,
    Line(u64),
}

/// The lines of the ledger that are done.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Cursor {
    /// All lines up to this one.
    pub sequence: u64,
    /// Later lines.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub also: BTreeSet<u64>,
}

impl Cursor {
    #[must_use]
    pub(crate) fn has(&self, sequence: u64) -> bool {
        sequence <= self.sequence || self.also.contains(&sequence)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    Send(Arc<Notice>, Record),
    At(Instant),
    Nothing,
}

#[derive(Debug)]
struct Waiting {
    notice: Arc<Notice>,
    record: Record,
    due: Instant,
    /// The age on arrival, and the arrival: setting the clock changes no age.
    age: (Duration, Instant),
    attempts: u32,
    failing: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    plan: Vec<Duration>,
    /// In the order of events.
    waiting: VecDeque<Waiting>,
    breaker: Breaker,
    dealt_with: Cursor,
    /// The last line seen. Lines come in order, so a skipped one needs no notice.
    newest: u64,
    /// Later lines that an earlier process has done.
    earlier: BTreeSet<u64>,
    alarmed: bool,
    dropped: u64,
}

impl Queue {
    #[must_use]
    pub(crate) fn new(plan: Vec<Duration>, cursor: Cursor) -> Queue {
        Queue {
            plan,
            waiting: VecDeque::new(),
            breaker: Breaker::default(),
            newest: cursor.sequence,
            earlier: cursor.also.clone(),
            dealt_with: cursor,
            alarmed: false,
            dropped: 0,
        }
    }

    /// Sets another plan of retries, from the next failure on.
    pub(crate) fn replan(&mut self, plan: Vec<Duration>) {
        self.plan = plan;
        self.hurry();
    }

    /// Adds a notice, unless it is done or pending.
    pub(crate) fn add(&mut self, now: Now, notice: Arc<Notice>, record: Record) {
        if let Record::Line(sequence) = record {
            let known = self.dealt_with.has(sequence);
            self.newest = self.newest.max(sequence);
            if known {
                return self.settle();
            }
        }
        if self.waiting.iter().any(|waiting| waiting.notice.id == notice.id) {
            return;
        }
        if notice.replaces.is_some() {
            self.waiting.retain(|waiting| waiting.notice.replaces != notice.replaces);
        }
        let due = if record == Record::Unwritten { now.mono + FOR_THE_LINE } else { now.mono };
        let age = (now.wall.duration_since(notice.at).unwrap_or_default(), now.mono);
        self.waiting.push_back(Waiting { notice, record, due, age, attempts: 0, failing: None });
        if self.waiting.len() > MOST {
            let least = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.notice.severity);
            if let Some(index) = least.map(|(index, _)| index) {
                self.waiting.remove(index);
                self.dropped += 1;
            }
        }
        self.settle();
    }

    /// Marks a line that this sink does not want.
    pub(crate) fn skip(&mut self, sequence: u64) {
        self.newest = self.newest.max(sequence);
        self.settle();
    }

    /// The line of a pending notice is on disk now.
    pub(crate) fn recorded(&mut self, now: Now, id: &EventId, sequence: u64) {
        self.newest = self.newest.max(sequence);
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.notice.id == *id) {
            waiting.record = Record::Line(sequence);
            if waiting.attempts == 0 {
                waiting.due = now.mono;
            }
        }
        self.settle();
    }

    /// The oldest notice that is due.
    #[must_use]
    pub(crate) fn next(&self, now: Instant) -> Next {
        let not_before = self.breaker.until();
        let earliest = |due: Instant| not_before.map_or(due, |until| until.max(due));
        if let Some(first) = self.waiting.iter().find(|waiting| earliest(waiting.due) <= now) {
            return Next::Send(Arc::clone(&first.notice), first.record);
        }
        let due = self.waiting.iter().map(|waiting| earliest(waiting.due)).min();
        match [due, self.alarm_at()].into_iter().flatten().min() {
            Some(at) => Next::At(at.min(now + GLANCE)),
            None => Next::Nothing,
        }
    }

    /// Removes a delivered notice; the failed ones are due at once.
    pub(crate) fn succeeded(&mut self, id: &EventId) {
        self.waiting.retain(|waiting| waiting.notice.id != *id);
        self.settle();
        self.works();
    }

    /// The receiver works again.
    pub(crate) fn works(&mut self) {
        self.breaker.succeeded();
        self.alarmed = false;
        self.hurry();
    }

    /// Schedules the next attempt. `patience` is the receiver's `Retry-After`.
    pub(crate) fn failed(&mut self, now: Now, id: &EventId, patience: Option<Duration>, chance: f64) {
        self.breaker.failed(now.mono, chance);
        let patience = patience.map(|patience| patience.min(schedule::PATIENCE));
        if let Some(patience) = patience {
            self.breaker.throttled(now.mono, patience);
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.notice.id == *id) {
            waiting.attempts = waiting.attempts.saturating_add(1);
            waiting.failing.get_or_insert(now.mono);
            let pause = schedule::pause(&self.plan, waiting.attempts, chance);
            waiting.due = now.mono + patience.unwrap_or(pause);
        }
    }

    /// Drops notices that are too old, and counts them.
    pub(crate) fn give_up(&mut self, now: Instant) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|Waiting { age: (age, since), .. }| {
            age.saturating_add(now.saturating_duration_since(*since)) < GIVE_UP
        });
        let given_up = before - self.waiting.len();
        self.dropped += given_up as u64;
        self.settle();
        given_up
    }

    /// Drops everything, since the receiver is gone.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.waiting.len() as u64;
        self.waiting.clear();
        self.breaker = Breaker::default();
        self.settle();
    }

    /// Set once in an outage that delays a severe notice for too long: the time of failure.
    pub(crate) fn alarm(&mut self, now: Instant) -> Option<Duration> {
        let at = self.alarm_at()?;
        (at <= now).then(|| {
            self.alarmed = true;
            now.saturating_duration_since(at) + ALARM
        })
    }

    fn alarm_at(&self) -> Option<Instant> {
        let important = self.waiting.iter().filter(|waiting| waiting.notice.severity >= Severity::Error);
        let since = important.filter_map(|waiting| waiting.failing).min().filter(|_| !self.alarmed);
        since.map(|since| since + ALARM)
    }

    #[must_use]
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.dealt_with
    }

    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Makes failed notices due at once.
    fn hurry(&mut self) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.attempts > 0) {
            if let Some(failing) = waiting.failing {
                waiting.due = failing;
            }
        }
    }

    /// Moves the cursor behind the lines that no longer wait.
    fn settle(&mut self) {
        let lines = self.waiting.iter().filter_map(|waiting| match waiting.record {
            Record::Line(sequence) => Some(sequence),
            Record::Passing | Record::Unwritten => None,
        });
        let open: BTreeSet<u64> = lines.collect();
        let first = open.first().copied().unwrap_or(self.newest + 1);
        self.earlier = self.earlier.split_off(&(self.newest + 1));
        let passed = (first..=self.newest).filter(|sequence| !open.contains(sequence));
        self.dealt_with = Cursor { sequence: first - 1, also: passed.chain(self.earlier.iter().copied()).collect() };
    }
}

#[cfg(test)]
mod tests;
