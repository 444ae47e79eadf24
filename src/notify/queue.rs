//! What waits for one sink, and what is next: a pure machine, so that a day of a dead receiver is a test of a
//! millisecond.
//!
//! The ledger is the outbox. A [`Cursor`] says which of its lines are dealt with; what lies behind it is sent again
//! after a restart, under the same ids. What no ledger keeps (health, drains) lives here only.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::notice::Severity;
use crate::notify::event::Notice;
use crate::notify::id::EventId;
use crate::notify::schedule::{self, Breaker, GIVE_UP};

/// More than this never waits; the least important goes first.
pub(super) const MOST: usize = 1_000;
/// A rollback is in force before it is on disk. Its notice waits so long for the line, and then goes without.
pub(super) const FOR_THE_LINE: Duration = Duration::from_secs(1);
/// What is important and can't be told for so long is told elsewhere.
pub(super) const ALARM: Duration = Duration::from_secs(120);
/// While something waits, its age is looked at so often.
const GLANCE: Duration = Duration::from_secs(60);

/// How a notice stands to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// It is not kept there.
    Passing,
    /// Its line is not on disk yet.
    Unwritten,
    /// It is told by this line.
    Line(u64),
}

/// Which lines of the ledger are dealt with: all up to a number, and some after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Cursor {
    /// All up to this one.
    pub sequence: u64,
    /// And these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub also: BTreeSet<u64>,
}

impl Cursor {
    /// Whether a line is dealt with.
    #[must_use]
    pub(crate) fn has(&self, sequence: u64) -> bool {
        sequence <= self.sequence || self.also.contains(&sequence)
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Send this one.
    Send(Arc<Notice>, Record),
    /// Nothing before this.
    At(Instant),
    /// Nothing waits.
    Nothing,
}

#[derive(Debug)]
struct Waiting {
    notice: Arc<Notice>,
    record: Record,
    due: Instant,
    /// How old it was when it came in, and when that was: a clock that is set later makes nothing older.
    age: (Duration, Instant),
    attempts: u32,
    /// Since when it fails.
    failing: Option<Instant>,
}

/// The queue of one sink.
#[derive(Debug)]
pub(crate) struct Queue {
    plan: Vec<Duration>,
    /// As things happened.
    waiting: VecDeque<Waiting>,
    breaker: Breaker,
    dealt_with: Cursor,
    /// The last line that was seen. Lines are seen in their order, so one that is passed over is nobody's news.
    newest: u64,
    /// Lines after it that an earlier process dealt with.
    earlier: BTreeSet<u64>,
    alarmed: bool,
    dropped: u64,
}

impl Queue {
    /// From where it left off.
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

    /// Another plan of retries, from the next failure on.
    pub(crate) fn replan(&mut self, plan: Vec<Duration>) {
        self.plan = plan;
        self.hurry();
    }

    /// Takes a notice in. What was dealt with or waits already is not taken twice.
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

    /// A line that this sink does not tell.
    pub(crate) fn skip(&mut self, sequence: u64) {
        self.newest = self.newest.max(sequence);
        self.settle();
    }

    /// The line of a notice that was taken in without is on disk now.
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

    /// What is to be sent, the oldest first.
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

    /// It is told. Whatever else waits for a later try has reason to hope.
    pub(crate) fn succeeded(&mut self, id: &EventId) {
        self.waiting.retain(|waiting| waiting.notice.id != *id);
        self.settle();
        self.works();
    }

    /// The receiver is there.
    pub(crate) fn works(&mut self) {
        self.breaker.succeeded();
        self.alarmed = false;
        self.hurry();
    }

    /// It could not be told. `patience`: what the receiver asked for.
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

    /// Drops what is too old to be news.
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

    /// Drops everything: the receiver said that it is gone.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.waiting.len() as u64;
        self.waiting.clear();
        self.breaker = Breaker::default();
        self.settle();
    }

    /// True once for an outage in which something important can't be told for too long; and for how long.
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

    /// Which lines need not be sent again.
    #[must_use]
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.dealt_with
    }

    /// How many wait.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many were given up.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The receiver is not asked for each notice any more.
    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Makes everything due that failed before.
    fn hurry(&mut self) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.attempts > 0) {
            if let Some(failing) = waiting.failing {
                waiting.due = failing;
            }
        }
    }

    /// Brings the cursor up to what no longer waits.
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
