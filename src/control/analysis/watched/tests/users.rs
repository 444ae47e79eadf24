//! Users who stay on a color, from their requests to the verdict: through what the request path counts, what is
//! sampled, and the judge.

use std::sync::Arc;

use super::*;
use crate::config::{AccessLog, LogConfig};
use crate::domain::split::{Split, draw};
use crate::domain::verdict::Verdict;
use crate::evidence::routes::{Cause, Sampler, User};
use crate::evidence::trial::Counted;
use crate::evidence::trial::Outcome;
use crate::proxy::live::Live;
use crate::proxy::worker::Worker;
use crate::telemetry::access_log::AccessLogWriter;

/// A site with returning users, each from a network of its own; 5 % are on the candidate.
struct Site {
    worker: Worker,
    sampler: Sampler,
    watched: Watched,
    log: TickLog,
    began: Instant,
    route: RouteId,
    users: u64,
    split: Split,
    second: u64,
    _writer: AccessLogWriter,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new(users: u64, salt: u64) -> Site {
        let live = Live::new(1);
        let writer =
            AccessLogWriter::start(&LogConfig { access: AccessLog::Off, ..LogConfig::default() }).expect("a thread");
        let dir = tempfile::tempdir().expect("a directory");
        let split = Split { candidate: Color::Green, weight: weight(500), salt };
        live.routes.keep_users(Some(split), 1, false);
        let (route, began) = (live.routes.configured("/shop"), Instant::now());
        let sampler = Sampler::new(Arc::clone(&live.routes));
        let worker = Worker::new(0, live, [0; 3], writer.logger());
        let policy = Policy { horizon: Some(6_300), ..Policy::default() };
        let watched = Watched::begin(&at_step(0), true, 0, policy, began);
        let log = TickLog::start(dir.path()).expect("a thread");
        Site { worker, sampler, watched, log, began, route, users, split, second: 0, _writer: writer, _dir: dir }
    }

    /// A second of requests. `fails`: for a user, on a color.
    fn second(
        &mut self,
        requests: u64,
        random: &mut fastrand::Rng,
        fails: impl Fn(u64, Color, f64) -> bool,
    ) -> Verdict {
        self.worker.tick();
        for _ in 0..requests {
            let number = random.u64(..self.users);
            let key = draw(&number.to_le_bytes(), self.split.salt);
            let color = self.split.color(key);
            let user = User { key, network: number, drawn: false };
            let trial = self.worker.trials.begin(Counted::Route(self.route), b"/shop", color, Some(user));
            let failed = fails(number, color, random.f64());
            let outcome = if failed { Outcome::Bad(Cause::Status) } else { Outcome::Good };
            self.worker.trials.end(trial, outcome, b"/shop");
        }
        self.second += 1;
        let now = self.began + Duration::from_secs(self.second);
        let baselines = Baselines::default();
        let around = Surroundings { baselines: &baselines, routes: &self.worker.live.routes, log: &self.log, now };
        let sample = self.sampler.sample(self.split.weight);
        let judgement = self.watched.tick(&sample, Stage::Step(0), None, &around);
        judgement.map_or(Verdict::Insufficient, |judgement| judgement.verdict)
    }

    /// The first second with this verdict.
    fn first(
        &mut self,
        wanted: Verdict,
        to: u64,
        requests: u64,
        random: &mut fastrand::Rng,
        fails: impl Fn(u64, u64, Color, f64) -> bool,
    ) -> Option<u64> {
        while self.second < to {
            let second = self.second;
            if self.second(requests, random, |user, color, chance| fails(second, user, color, chance)) >= wanted {
                return Some(second);
            }
        }
        None
    }
}

#[test]
fn a_release_that_breaks_after_all_its_users_had_an_error_is_found() {
    for seed in 0..2 {
        let (mut site, mut random) = (Site::new(3_000, seed), fastrand::Rng::with_seed(seed));
        // Both fail half of their requests for a minute; later the candidate fails all.
        let fails = |second: u64, _, color, chance: f64| match second {
            220..280 => chance < 0.5,
            400.. => color == Color::Green || chance < 0.001,
            _ => chance < 0.001,
        };
        let found = site.first(Verdict::Fail, 481, 600, &mut random, fails);
        assert!(found.is_some_and(|second| (400..=460).contains(&second)), "{found:?}");
    }
}

#[test]
fn a_release_that_breaks_for_few_users_who_all_had_errors_is_found() {
    let (mut site, mut random) = (Site::new(300, 3), fastrand::Rng::with_seed(3));
    let fails = |second: u64, _, color, chance: f64| chance < 0.02 || second >= 180 && color == Color::Green;
    let found = site.first(Verdict::Fail, 420, 600, &mut random, fails);
    assert!(found.is_some_and(|second| (180..=300).contains(&second)), "{found:?}");
}

#[test]
fn users_who_stay_on_releases_that_are_alike_prove_nothing() {
    for seed in 0..4 {
        let (mut site, mut random) = (Site::new(3_000, seed), fastrand::Rng::with_seed(seed));
        // Some users have a broken client.
        let broken = if seed % 2 == 0 { 0 } else { 20 };
        let fails = |_, user: u64, _, chance: f64| user < broken || chance < 0.002;
        assert_eq!(site.first(Verdict::Suspect, 300, 200, &mut random, fails), None, "seed {seed}");
    }
}
