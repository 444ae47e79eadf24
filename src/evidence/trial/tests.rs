use std::sync::Arc;

use super::counting::SLOW;
use super::*;
use crate::config::{AccessLog, LogConfig};
use crate::domain::analysis::Thresholds;
use crate::domain::split::{Split, Weight};
use crate::evidence::routes::{Counts, Sampler};
use crate::proxy::blame::Blame;
use crate::proxy::deadlines::Phase;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::live::Live;
use crate::proxy::worker::Worker;
use crate::telemetry::access_log::AccessLogWriter;

#[test]
fn what_an_endpoint_does_is_its_own_and_what_others_do_is_not() {
    let answer = |status| Outcome::of_answer(Blame::of_status(status), false);
    assert_eq!(
        [200, 301, 404, 503].map(answer),
        [Outcome::Good, Outcome::Good, Outcome::ClientError, Outcome::Bad(Cause::Status)]
    );
    assert_eq!(Outcome::of_answer(Some(Blame::Release), true), Outcome::Bad(Cause::Grpc));
    let end = |kind: ErrorKind| Outcome::of_end(kind, kind.blame());
    for (kind, cause) in [
        (ErrorKind::Refused, Cause::Connect),
        (ErrorKind::ConnectTimeout, Cause::Connect),
        (ErrorKind::NoEndpoint, Cause::Connect),
        (ErrorKind::UpstreamClosed, Cause::Broken),
        (ErrorKind::BadAnswer, Cause::Broken),
        (ErrorKind::ResponseTimeout, Cause::Timeout),
        (ErrorKind::BodyTimeout, Cause::Cut),
    ] {
        assert_eq!(end(kind), Outcome::Bad(cause), "{kind:?}");
    }
    for kind in [
        ErrorKind::DrainTimeout,
        ErrorKind::Stopping,
        ErrorKind::Exhausted(Resource::Descriptors),
        ErrorKind::LimitReached,
        ErrorKind::BodyTooLarge,
        ErrorKind::BadRequest,
        ErrorKind::RequestTimeout,
        ErrorKind::ClientStalled,
        ErrorKind::NotUpgraded,
        ErrorKind::NoUpgrade,
        ErrorKind::StreamIdle,
        ErrorKind::NameUnknown,
    ] {
        assert_eq!(end(kind), Outcome::Neither, "{kind:?}");
    }
}

struct Site {
    worker: Worker,
    sampler: Sampler,
    _writer: AccessLogWriter,
}

impl Site {
    fn new() -> Site {
        let live = Live::new(1);
        let writer =
            AccessLogWriter::start(&LogConfig { access: AccessLog::Off, ..LogConfig::default() }).expect("a thread");
        let sampler = Sampler::new(Arc::clone(&live.routes));
        let worker = Worker::new(0, live, [0; 3], writer.logger());
        Site { worker, sampler, _writer: writer }
    }

    fn begin(&self, path: &str, key: Option<u64>) -> Trial {
        self.begin_as(path, key.map(|key| User { key, network: 1, drawn: false }))
    }

    fn begin_as(&self, path: &str, user: Option<User>) -> Trial {
        self.worker.tick();
        self.worker.trials.begin(Counted::Segment, path.as_bytes(), Color::Green, user)
    }

    fn keep_users(&self) {
        let split = Split { candidate: Color::Blue, weight: Weight::HALF, salt: 1 };
        self.worker.live.routes.keep_users(Some(split), 1, false);
    }

    fn end(&self, trial: Trial, outcome: Outcome, path: &str) {
        self.worker.tick();
        self.worker.trials.end(trial, outcome, path.as_bytes());
    }

    fn new_counts(&mut self) -> Counts {
        let mut sum = Counts::default();
        let sample = self.sampler.sample(Weight::HALF);
        sample.routes.iter().flat_map(|route| &route.batches).for_each(|batch| sum.add(&batch.done.green));
        sum
    }

    fn thresholds(&self, micros: [u64; 3]) {
        let thresholds = Thresholds { stable: [0; 3], candidate: micros };
        self.worker.live.routes.set_thresholds(RouteId::OTHER, Color::Green, Some(thresholds));
    }
}

const HOUR: u64 = 3_600_000_000;

#[test]
fn a_route_is_found_by_lasting_success_and_not_by_asking() {
    let mut site = Site::new();
    site.end(site.begin("/scanned", None), Outcome::ClientError, "/scanned");
    site.end(site.begin("/broken", None), Outcome::Bad(Cause::Status), "/broken");
    for order in 0..12 {
        let path = format!("/checkout/{order}");
        site.end(site.begin(&path, None), Outcome::Good, &path);
        site.end(site.begin("/scanned", None), Outcome::ClientError, "/scanned");
        let once = format!("/scan-{}", char::from(b'a' + order));
        site.end(site.begin(&once, None), Outcome::Good, &once);
        site.sampler.sample(Weight::HALF);
    }
    let found: Vec<_> = site.worker.live.routes.iter().map(|(_, route)| route.name().to_string()).collect();
    assert_eq!(found, ["~other", "/checkout"]);
}

#[test]
fn a_request_that_an_other_endpoint_saved_is_bad_all_the_same() {
    let mut site = Site::new();
    let mut trial = site.begin("/", None);
    trial.attempt_failed(Cause::Connect);
    site.end(trial, Outcome::Good, "/");
    let counts = site.new_counts();
    assert_eq!((counts.assigned, counts.completed, counts.bad[Class::Error as usize]), (1, 1, 1));
}

#[test]
fn what_says_nothing_of_a_release_was_given_and_never_comes_back() {
    let mut site = Site::new();
    site.end(site.begin("/", None), Outcome::Neither, "/");
    assert_eq!(site.new_counts(), Counts { assigned: 1, ..Counts::default() });
}

#[test]
fn a_failure_is_slow_only_if_it_took_long_and_is_no_latency() {
    let mut site = Site::new();
    site.thresholds([HOUR; 3]);
    site.end(site.begin("/", None), Outcome::Bad(Cause::Status), "/");
    let counts = site.new_counts();
    assert_eq!((counts.bad[Class::Error as usize], SLOW.map(|class| counts.bad[class as usize])), (1, [0; 3]));
    let routes = &site.worker.live.routes;
    assert_eq!(routes.latencies(RouteId::OTHER, Color::Green).count(), 0);
    site.end(site.begin("/", None), Outcome::Good, "/");
    assert_eq!(routes.latencies(RouteId::OTHER, Color::Green).count(), 1);
    assert_eq!(SLOW.map(|class| site.new_counts().bad[class as usize]), [0; 3]);
}

#[test]
fn what_hangs_is_slow_when_it_passes_a_threshold_and_once() {
    let mut site = Site::new();
    site.thresholds([0, HOUR, HOUR]);
    let slot = site.worker.slots.add(Phase::Request, None);
    slot.trial.set(Some(site.begin("/", None)));
    std::thread::sleep(Duration::from_micros(10));
    for _ in 0..3 {
        site.worker.count_slow();
    }
    let counts = site.new_counts();
    assert_eq!((counts.completed, SLOW.map(|class| counts.bad[class as usize])), (0, [1, 0, 0]), "it is under way");
    site.end(slot.trial.take().expect("it is counted"), Outcome::Bad(Cause::Timeout), "/");
    let counts = site.new_counts();
    assert_eq!((counts.completed, SLOW.map(|class| counts.bad[class as usize])), (1, [0; 3]), "not again");
}

#[test]
fn an_answer_that_streams_took_as_long_as_to_its_first_byte() {
    let mut site = Site::new();
    let mut trial = site.begin("/", None);
    trial.first_byte(&site.worker.trials);
    site.thresholds([0; 3]);
    std::thread::sleep(Duration::from_micros(10));
    let slot = site.worker.slots.add(Phase::Body, None);
    slot.trial.set(Some(trial));
    site.worker.count_slow();
    site.end(trial, Outcome::Good, "/");
    let counts = site.new_counts();
    assert_eq!((counts.completed, SLOW.map(|class| counts.bad[class as usize])), (1, [0; 3]));
    assert_eq!(site.worker.live.routes.latencies(RouteId::OTHER, Color::Green).count(), 1);
}

#[test]
fn a_stream_is_completed_when_it_begins_and_has_failed_when_it_breaks() {
    let mut site = Site::new();
    site.keep_users();
    let begun = |site: &Site, user| {
        let mut trial = site.begin("/", Some(user));
        trial.first_byte(&site.worker.trials);
        site.worker.trials.answered(&mut trial, b"/");
        trial
    };
    let seen =
        |counts: Counts| (counts.completed, counts.bad[Class::Error as usize], counts.sampled, counts.sampled_failed);
    let (whole, broken) = (begun(&site, 1), begun(&site, 2));
    assert_eq!(seen(site.new_counts()), (2, 0, 1, 0), "one of a network is sampled");
    site.end(whole, Outcome::Bad(Cause::Cut), "/");
    site.end(broken, Outcome::Good, "/");
    assert_eq!(seen(site.new_counts()), (0, 1, 0, 1), "nothing is completed twice");
    let mut saved = site.begin("/", None);
    saved.attempt_failed(Cause::Connect);
    site.worker.trials.answered(&mut saved, b"/");
    assert_eq!(site.new_counts().completed, 0, "an attempt failed: that is known at its end");
    site.end(saved, Outcome::Good, "/");
    assert_eq!(seen(site.new_counts()), (1, 1, 0, 0));
}

#[test]
fn files_that_are_not_there_are_told_from_other_4xx() {
    let mut site = Site::new();
    for path in ["/assets/app.3f9c.js", "/login", "/a.b/"] {
        let mut trial = site.begin(path, None);
        trial.note_missing(path.as_bytes());
        site.end(trial, Outcome::ClientError, path);
    }
    site.end(site.begin("/a.js", None), Outcome::Good, "/a.js");
    let missing =
        |site: &mut Site| site.sampler.sample(Weight::HALF).routes.iter().map(|of| of.missing.green).sum::<u64>();
    assert_eq!(missing(&mut site), 1);
}

fn errors(counts: &Counts) -> [u64; 3] {
    [counts.bad, counts.on_route, counts.overall].map(|events| events[Class::Error as usize])
}

#[test]
fn the_first_requests_of_users_count_and_one_later_one_of_a_network_and_all_are_shown() {
    let mut site = Site::new();
    site.keep_users();
    site.end(site.begin("/", Some(17)), Outcome::Good, "/");
    for _ in 0..5 {
        site.end(site.begin("/", Some(17)), Outcome::Bad(Cause::Status), "/");
    }
    assert_eq!(errors(&site.new_counts()), [5, 1, 1]);
    for user in 20..28 {
        site.end(site.begin("/", Some(user)), Outcome::Good, "/");
        site.end(site.begin("/", Some(user)), Outcome::Bad(Cause::Status), "/");
    }
    assert_eq!(errors(&site.new_counts()), [8, 0, 0], "the network has had its event");
    for user in 30..38 {
        site.end(site.begin("/", Some(user)), Outcome::Bad(Cause::Status), "/");
    }
    assert_eq!(errors(&site.new_counts()), [8, 8, 8], "nobody knew these colors");
    site.end(site.begin("/", None), Outcome::Bad(Cause::Status), "/");
    assert_eq!(errors(&site.new_counts()), [1, 0, 0], "no user");
}

#[test]
fn a_first_request_is_none_where_its_rest_may_be_chosen_by_the_color() {
    let site = Site::new();
    site.keep_users();
    let is_first = |drawn: bool, act: fn(&mut Trial)| {
        let mut trial = site.begin_as("/", Some(User { key: fastrand::u64(..), network: 1, drawn }));
        act(&mut trial);
        trial.witness.expect("users stay").first
    };
    let upload: fn(&mut Trial) = |trial| trial.begins_delivery(Instant::now());
    let told: fn(&mut Trial) = |trial| {
        trial.begins_delivery(Instant::now());
        trial.tells_color();
    };
    let answered: fn(&mut Trial) = |trial| {
        trial.begins_delivery(Instant::now());
        trial.ends_delivery(Instant::now());
        trial.tells_color();
    };
    assert_eq!([upload, told, answered].map(|act| is_first(false, act)), [false; 3], "another request may tell");
    assert_eq!([upload, told, answered].map(|act| is_first(true, act)), [true, false, true]);
    assert!(is_first(false, |trial| trial.tells_color()), "it was whole");
}

#[test]
fn one_request_of_a_network_on_a_route_is_judged_by_its_latency_as_soon_as_latency_is_judged() {
    let mut site = Site::new();
    site.keep_users();
    let routes = Arc::clone(&site.worker.live.routes);
    let thresholds = Thresholds { stable: [1, 1, 1], candidate: [1, 1, 1] };
    routes.set_thresholds(RouteId::OTHER, Color::Green, Some(thresholds));
    let slow = |site: &Site, user: u64| {
        let mut trial = site.begin("/", Some(user));
        trial.clock = Stopwatch { running_since: None, before: Duration::from_secs(1) };
        site.end(trial, Outcome::Good, "/");
    };
    let p90 = |site: &mut Site| site.new_counts().overall[Class::SlowP90 as usize];
    (0..5).for_each(|user| slow(&site, user));
    assert_eq!(p90(&mut site), 0, "caches are cold");
    routes.judge_latency(true);
    (0..5).for_each(|user| slow(&site, user));
    assert_eq!(p90(&mut site), 1, "later requests of one network");
    (10..15).for_each(|user| slow(&site, user));
    assert_eq!(p90(&mut site), 5, "first requests");
}

#[test]
fn latency_begins_when_the_request_is_delivered_and_stands_still_while_the_client_is_waited_for() {
    let began = Instant::now();
    let at = |millis| began + Duration::from_millis(millis);
    let site = Site::new();
    let mut trial = site.begin("/", None);
    trial.begins_delivery(at(10));
    trial.begins_delivery(at(400));
    assert_eq!(trial.clock.elapsed(at(900)), Duration::ZERO, "the client sends it slowly");
    trial.ends_delivery(at(1_000));
    assert_eq!(trial.clock.elapsed(at(1_030)), Duration::from_millis(30));
    trial.waits_for_client(true, at(1_030));
    trial.ends_delivery(at(2_000));
    assert_eq!(trial.clock.elapsed(at(9_000)), Duration::from_millis(30), "the client reads it slowly");
    trial.waits_for_client(false, at(9_000));
    assert_eq!(trial.clock.elapsed(at(9_005)), Duration::from_millis(35));
}
