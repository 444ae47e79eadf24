//! The state of one worker; no other thread sees it.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant, SystemTime};

use crate::evidence::trial::Trials;
use crate::proxy::clock;
use crate::proxy::deadlines::slots::DeadlineSlots;
use crate::proxy::listener::Listener;
use crate::proxy::live::Live;
use crate::proxy::precedence;
use crate::proxy::upstream::connections::Connections;
use crate::proxy::upstream::retry::{Adjustable, Budget};
use crate::telemetry::access_log::AccessLogger;
use crate::telemetry::log_rate::LogRate;
use crate::telemetry::refused::Refusal;
use crate::wire::head::Head;

/// Lines of the process log for each kind that outsiders can cause,
const LINES: u32 = 10;
/// per period.
const PERIOD: Duration = Duration::from_secs(10);

/// A client that began a head keeps its connection for this long, even if another one needs room.
const HEAD_TIME: Duration = Duration::from_secs(1);
const HEADS: usize = 64;

pub(crate) struct Worker {
    /// Indexes all arrays by worker.
    pub(crate) index: usize,
    pub(crate) live: Arc<Live>,
    pub(crate) slots: DeadlineSlots,
    pub(crate) connections: Connections,
    pub(crate) logger: RefCell<AccessLogger>,
    ports: [Box<str>; 3],
    /// `Date`, renewed by time and not per answer.
    date: RefCell<[u8; 29]>,
    heads: RefCell<Vec<Head>>,
    budgets: RefCell<Vec<Budget>>,
    pub(crate) trials: Trials,
    pub(crate) shield: RefCell<Adjustable>,
    pub(crate) asks: RefCell<Adjustable>,
    pub(crate) refusals_logged: LogRate,
    pub(crate) bursts_logged: LogRate,
    pub(crate) bad_answers: LogRate,
    pub(crate) events_logged: LogRate,
    /// Connections ended or went idle since memory was last given back.
    pub(crate) freed: Cell<bool>,
    now: Cell<Instant>,
    millis: Cell<u64>,
}

impl Worker {
    pub(crate) fn new(index: usize, live: Arc<Live>, ports: [u16; 3], logger: AccessLogger) -> Worker {
        let trials = Trials::new(index, Arc::clone(&live.routes), Instant::now());
        Worker {
            index,
            live,
            slots: DeadlineSlots::default(),
            connections: Connections::default(),
            logger: RefCell::new(logger),
            ports: ports.map(|port| port.to_string().into()),
            date: RefCell::new(date()),
            heads: RefCell::default(),
            budgets: RefCell::default(),
            trials,
            shield: RefCell::default(),
            asks: RefCell::default(),
            refusals_logged: LogRate::new(LINES, PERIOD),
            bursts_logged: LogRate::new(LINES, PERIOD),
            bad_answers: LogRate::new(LINES, PERIOD),
            events_logged: LogRate::new(LINES, PERIOD),
            freed: Cell::new(false),
            now: Cell::new(Instant::now()),
            millis: Cell::new(clock::millis(Instant::now())),
        }
    }

    /// The start of the present poll of a connection: one reading of the clock serves the whole poll.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn millis(&self) -> u64 {
        self.millis.get()
    }

    pub(crate) fn tick(&self) {
        precedence::make_way();
        let now = Instant::now();
        self.now.set(now);
        self.trials.tick(now);
        self.millis.set(clock::millis(now));
    }

    pub(crate) fn count_slow(&self) {
        if self.trials.has_thresholds() {
            let now = Instant::now();
            self.slots.each_trial(|trial| self.trials.count_slow(trial, now));
        }
    }

    pub(crate) fn budget<R>(&self, number: usize, percent: u8, look: impl FnOnce(&Budget) -> R) -> R {
        let mut budgets = self.budgets.borrow_mut();
        while budgets.len() <= number {
            budgets.push(Budget::new(percent.into()));
        }
        if budgets[number].percent() != i64::from(percent) {
            budgets[number] = Budget::new(percent.into());
        }
        look(&budgets[number])
    }

    pub(crate) fn take_head(&self) -> Head {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_head(&self, mut head: Head) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < HEADS {
            head.shed();
            heads.push(head);
        }
    }

    pub(crate) fn date(&self) -> Ref<'_, [u8; 29]> {
        self.date.borrow()
    }

    pub(crate) fn renew_date(&self) {
        self.date.replace(date());
    }

    pub(crate) fn port(&self, listener: Listener) -> &str {
        &self.ports[listener as usize]
    }

    pub(crate) fn draw(&self) -> u64 {
        fastrand::u64(..)
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.live.refused[self.index].add(refusal);
    }

    pub(crate) fn clients(&self, listener: Listener) -> &AtomicUsize {
        &self.live.connections()[self.index].by_listener[listener as usize]
    }

    /// A head whose deadline is earlier began longer than [`HEAD_TIME`] ago.
    pub(crate) fn heads_before(&self) -> Instant {
        let timeout = self.live.with(|snapshot| snapshot.edge.header_timeout);
        Instant::now() + timeout.saturating_sub(HEAD_TIME)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.connections()[self.index].all() == 0
    }
}

/// RFC 9110, 5.6.7.
fn date() -> [u8; 29] {
    let text = httpdate::fmt_http_date(SystemTime::now());
    text.as_bytes().try_into().expect("IMF-fixdate has 29 letters")
}
