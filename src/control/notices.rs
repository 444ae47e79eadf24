//! Notices to people, with the numbers of the moment.
//!
//! A further notice is a method here (occasion and numbers) and one of [`Teller`](crate::notify::event::Teller)
//! (words).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::control::Controller;
use crate::control::handle::{SinkStatus, Tried};
use crate::domain::color::{Color, PerColor};
use crate::domain::headline::Finding;
use crate::domain::health::Health;
use crate::domain::history::History;
use crate::domain::transition::{Kind, Transition};
use crate::notify::event::{Exposure, Moment, Rates, Stated, Target, WayBack, served_since};
use crate::notify::queue::Record;
use crate::notify::{Alarm, Notifier, RecordedLine};
use crate::telemetry::meter::Reading;

#[derive(Debug)]
pub(super) struct Notices {
    notifier: Notifier,
    answered: PerColor<Exposure>,
    /// Endpoints reported down; only these are reported up again.
    down: BTreeSet<String>,
    /// Earlier responses are unknown.
    started: SystemTime,
}

impl Notices {
    /// `lines`: the whole ledger, oldest first.
    pub(super) fn start(config: &Config, lines: &[RecordedLine], alarms: mpsc::UnboundedSender<Alarm>) -> Notices {
        let mut notifier = Notifier::new(config.state.dir.clone(), config.service.clone(), alarms);
        notifier.configure(&config.notify, &config.service, lines, true);
        Notices {
            notifier,
            answered: PerColor::from_fn(|_| Exposure::default()),
            down: BTreeSet::new(),
            started: SystemTime::now(),
        }
    }

    pub(super) fn configure(&mut self, config: &Config, history: &History) {
        self.notifier.configure(&config.notify, &config.service, &lines(history), false);
    }

    pub(super) fn status(&self) -> Vec<(String, SinkStatus)> {
        self.notifier.status()
    }

    pub(super) fn alarm(&self, alarm: &Alarm) {
        self.notifier.alarm(alarm);
    }

    pub(super) fn test(&self, sink: Option<&str>, all: bool, answer: oneshot::Sender<Option<Vec<Tried>>>) {
        match self.notifier.test(sink, all) {
            Some(test) => {
                tokio::spawn(async move {
                    let _ = answer.send(Some(test.await));
                });
            }
            None => {
                let _ = answer.send(None);
            }
        }
    }

    pub(super) fn takes_over(&mut self, color: Color, readings: &[(Color, Arc<str>, Reading)]) {
        self.answered[color] = answered(color, readings);
    }

    pub(super) fn recorded(&self, sequence: u64, transition: &Transition) {
        self.notifier.recorded(transition, sequence);
    }
}

impl Controller {
    /// `sequence` 0: the line is not on disk yet.
    pub(super) fn notify_transition(&mut self, sequence: u64, transition: &Transition) {
        let record = if sequence == 0 { Record::Unwritten } else { Record::Line(sequence) };
        if !self.notices.notifier.is_empty() {
            let moment = self.moment(transition);
            if let Some(notice) = self.notices.notifier.teller().transition(transition, &moment) {
                self.notices.notifier.tell(notice, record);
            }
        }
        if transition.kind == Kind::Release {
            self.notices.takes_over(transition.decision.active, &self.publisher.meters().read());
        }
    }

    fn moment(&self, transition: &Transition) -> Moment {
        let left = transition.from.as_ref().map(|(color, _)| *color);
        let served_since = served_since(transition, self.records.history().newest_first());
        let exposure = left.filter(|_| served_since.is_some_and(|since| since >= self.notices.started)).map(|color| {
            let (now, before) = (answered(color, &self.publisher.meters().read()), self.notices.answered[color]);
            Exposure { requests: now.requests - before.requests, errors: now.errors - before.errors }
        });
        let before = left.map(|color| {
            let (requests, errors) = self.numbers.rates(color);
            Rates { requests, errors }
        });
        let pools = &self.publisher.pools()[transition.decision.active];
        let healths = pools.iter().flat_map(|pool| pool.endpoints.iter().map(|endpoint| endpoint.health()));
        let view = self.rollout.view();
        let (safe, why) = (view.safety.as_str(), view.safety.why());
        let to = match view.rollback {
            // A forced move gave the rollback up.
            Ok(_) if view.decision.lineage.overridden.is_some() => Err(why.clone().unwrap_or_default()),
            Ok(to) => Ok((to.color, to.release)),
            Err(refusal) => Err(refusal.to_string()),
        };
        let way_back = Some(WayBack { to, safe, why });
        let headline = self.headline_for_notice();
        Moment { served_since, exposure, before, up: Some(up(healths)), way_back, headline }
    }

    /// A decision being written is no problem: a notice follows if the disk fails.
    fn headline_for_notice(&self) -> Option<Finding> {
        let writes = |finding: &Finding| finding.code == "not_durable" && self.records.trouble().is_none();
        self.status().headline.into_iter().find(|finding| !writes(finding))
    }

    pub(super) fn notify_health(&mut self, color: Color, upstream: &str, endpoint: &str, health: Health, detail: &str) {
        let key = key(color, upstream, endpoint);
        let news = match health {
            Health::Down => self.notices.down.insert(key),
            // An endpoint found healthy after a start is no news.
            Health::Up => self.notices.down.remove(&key),
            Health::Unknown => false,
        };
        if !news || self.notices.notifier.is_empty() {
            return;
        }
        let pools = self.publisher.pools()[color].iter().filter(|pool| *pool.upstream == *upstream);
        let target = Target {
            color,
            active: self.rollout.active() == color,
            upstream: upstream.to_owned(),
            endpoint: endpoint.to_owned(),
            detail: detail.to_owned(),
            up: up(pools.flat_map(|pool| pool.endpoints.iter().map(|endpoint| endpoint.health()))),
            headline: self.headline_for_notice(),
        };
        let notice = self.notices.notifier.teller().target(SystemTime::now(), health == Health::Up, &target);
        self.notices.notifier.tell(notice, Record::Passing);
    }
}

impl Controller {
    pub(super) fn notify_release(&self, wrong: bool, stated: &Stated) {
        if !self.notices.notifier.is_empty() {
            let notice = self.notices.notifier.teller().stated(SystemTime::now(), wrong, stated);
            self.notices.notifier.tell(notice, Record::Passing);
        }
    }

    pub(super) fn forget_down(&mut self) {
        let pools = self.publisher.pools().iter().flat_map(|(_, pools)| pools);
        let keys = pools
            .flat_map(|pool| pool.endpoints.iter().map(|endpoint| key(pool.color, &pool.upstream, &endpoint.name)));
        let present: std::collections::HashSet<String> = keys.collect();
        self.notices.down.retain(|key| present.contains(key));
    }
}

fn key(color: Color, upstream: &str, endpoint: &str) -> String {
    format!("{color} {upstream} {endpoint}")
}

/// Endpoints that are up, and all endpoints.
fn up(healths: impl Iterator<Item = Health>) -> (usize, usize) {
    healths.fold((0, 0), |(up, all), health| (up + usize::from(health == Health::Up), all + 1))
}

fn answered(color: Color, readings: &[(Color, Arc<str>, Reading)]) -> Exposure {
    let of_color = readings.iter().filter(|(of, _, _)| *of == color);
    of_color.fold(Exposure::default(), |sum, (_, _, reading)| Exposure {
        requests: sum.requests + reading.requests(),
        errors: sum.errors + reading.codes[5],
    })
}

fn lines(history: &History) -> Vec<RecordedLine> {
    let mut lines: Vec<_> = history.newest_first().cloned().collect();
    lines.reverse();
    lines
}
