//! The series at `/metrics`. Each exists from the start, at 0 if need be.
//!
//! To add one: its line below [`render`], and a field of [`Facts`] that `control::status` fills. A count of the request
//! path is a field of `telemetry::meter::Meter` instead. `cargo test --test it reference` then asks for the list in
//! `docs/metrics.md`, and CONTRIBUTING.md has the command that writes it.

mod latency;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::analysis::BUCKETS;
use crate::domain::color::{Color, PerColor};
use crate::domain::health::Health;
use crate::domain::split::Weight;
use crate::telemetry::exposition::{Format, Page};
use crate::telemetry::meter::{Exemplar, InFlight, Lingered, Reading};
use crate::telemetry::refused::{self, Refused};
use crate::telemetry::upgrades;

/// The controller's state at the time of a scrape.
#[derive(Debug)]
pub(crate) struct Facts {
    pub active: Color,
    pub releases: PerColor<String>,
    pub shares: PerColor<Weight>,
    pub generation: u64,
    pub since: SystemTime,
    /// There is a target, and the last switch was not forced over it.
    pub rollback_possible: bool,
    /// 1: the target could serve; 0: it could not; -1: unknown.
    pub rollback_safe: i8,
    pub stores: Vec<StoreFacts>,
    pub durable: bool,
    pub frozen: bool,
    pub quarantined: usize,
    pub ledger_writable: bool,
    /// Times the ledger was written anew because another program removed or replaced it.
    pub ledger_rewritten: u64,
    pub unusable_files: usize,
    /// `steady`, `canary`, `baking`, `gating`, `holding` or `committing`.
    pub phase: &'static str,
    /// Odds to one that the release is worse: errors, latency, 4xx, clients that left, CPU, application events.
    pub evidence: [f64; 6],
    pub events: Vec<(String, PerColor<u64>)>,
    pub events_ignored: [(&'static str, u64); 4],
    pub readings: Vec<(Color, Arc<str>, Reading)>,
    /// By bucket of each of the readings.
    pub exemplars: Vec<Vec<Option<Exemplar>>>,
    /// Previews, which are counted nowhere else.
    pub previews: Vec<(Color, Arc<str>, Reading)>,
    pub refused: Refused,
    pub draining: Option<(Color, InFlight)>,
    pub endpoints: Vec<(Color, Arc<str>, String, Health)>,
    /// Endpoints ejected for failed requests, by color and upstream.
    pub ejected: Vec<(Color, Arc<str>, u64)>,
    pub routes: Vec<(Color, Arc<str>, [u64; BUCKETS])>,
    /// Per endpoint of a serving color: whether its answers name another release than the label. Empty without
    /// comparison.
    pub wrong_releases: Vec<(Color, Arc<str>, String, bool)>,
    pub names: Vec<(String, bool)>,
    pub certificates: Vec<(String, PathBuf, SystemTime)>,
    pub certificates_valid: bool,
    pub waiting: Waiting,
    pub maintenance: bool,
    /// The color that does not serve and is asked for old files.
    pub lingering: Option<Color>,
    /// Without TLS, with it, and for previews.
    pub open_connections: [u64; 3],
    pub buffered: [u64; 2],
    pub descriptors: [u64; 3],
    pub config_valid: bool,
    pub config_valid_at: SystemTime,
    /// The file names another color than the live one.
    pub file_disagrees: bool,
    pub access_log_dropped: u64,
    pub spans: SpanFacts,
    /// Per sink: waiting notices, failed attempts, notices given up.
    pub sinks: Vec<(String, [u64; 3])>,
}

/// Spans of traces so far.
#[derive(Debug)]
pub(crate) struct SpanFacts {
    pub exported: u64,
    /// By [`DROPS`].
    pub dropped: [u64; 3],
}

#[derive(Debug)]
pub(crate) struct StoreFacts {
    pub store: String,
    pub version: Option<u64>,
    pub probe_failed: bool,
    /// `None`: the live release has no barrier there.
    pub barrier_passed: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Released,
    Full,
    Expired,
    ClientLeft,
}

impl Ending {
    pub(crate) const ALL: [(Ending, &'static str); 4] = [
        (Ending::Released, "released"),
        (Ending::Full, "full"),
        (Ending::Expired, "expired"),
        (Ending::ClientLeft, "client_left"),
    ];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub requests: usize,
    pub bytes: usize,
    pub ended: [u64; 4],
}

#[derive(Debug, Default)]
pub(crate) struct Tallies {
    switches: BTreeMap<(&'static str, &'static str), u64>,
    rollbacks: BTreeMap<&'static str, u64>,
    drains: [u64; DRAIN_SECONDS.len() + 1],
    drain_sum: Duration,
    holds: [u64; DRAIN_SECONDS.len() + 1],
    hold_sum: Duration,
}

const DRAIN_SECONDS: [f64; 8] = [0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];
const TRIGGERS: [&str; 3] = ["api", "file", "rollback"];
const ROLLBACKS: [&str; 3] = ["api", "file", "automatic"];
const CLASSES: [&str; 6] = ["errors", "latency", "client_errors", "aborts", "cpu", "events"];
const OUTCOMES: [&str; 3] = ["done", "refused", "unchanged"];
const PHASES: [&str; 6] = ["steady", "canary", "baking", "gating", "holding", "committing"];
const KINDS: [&str; 3] = ["request", "stream", "tunnel"];
const DROPS: [&str; 3] = ["queue_full", "rejected", "unreachable"];
const CODES: [&str; 6] = ["client_left", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Tallies {
    pub(crate) fn switched(&mut self, trigger: &'static str, outcome: &'static str) {
        *self.switches.entry((trigger, outcome)).or_default() += 1;
    }

    pub(crate) fn rolled_back(&mut self, trigger: &'static str) {
        *self.rollbacks.entry(trigger).or_default() += 1;
    }

    pub(crate) fn held(&mut self, took: Duration) {
        self.holds[DRAIN_SECONDS.partition_point(|bound| *bound < took.as_secs_f64())] += 1;
        self.hold_sum += took;
    }

    pub(crate) fn drained(&mut self, took: Duration) {
        let bucket = DRAIN_SECONDS.partition_point(|bound| *bound < took.as_secs_f64());
        self.drains[bucket] += 1;
        self.drain_sum += took;
    }
}

#[must_use]
pub(crate) fn render(format: Format, facts: &Facts, tallies: &Tallies) -> String {
    let mut page = Page::new(format);
    decisions(&mut page, facts, tallies);
    requests(&mut page, facts);
    shielded(&mut page, facts);
    lingering(&mut page, facts);
    told(&mut page, facts);
    previews(&mut page, &facts.previews);
    refused::render(&mut page, &facts.refused);
    drains(&mut page, facts, tallies);
    holds(&mut page, facts, tallies);
    let mut up = page.gauge("cutover_endpoint_up", "Whether an endpoint passes its health checks.");
    for (color, upstream, endpoint, health) in &facts.endpoints {
        let labels = [("color", color.as_str()), ("upstream", &**upstream), ("endpoint", endpoint)];
        up.sample(&labels, u8::from(*health == Health::Up));
    }
    let mut ejected = page.gauge(
        "cutover_endpoints_ejected",
        "Endpoints that get no requests for a while because requests failed there.",
    );
    for (color, upstream, count) in &facts.ejected {
        ejected.sample(&[("color", color.as_str()), ("upstream", &**upstream)], *count);
    }
    let mut wrong = page.gauge(
        "cutover_endpoint_wrong_release",
        "Whether an endpoint of a color that serves answers as another release than its label.",
    );
    for (color, upstream, endpoint, is_wrong) in &facts.wrong_releases {
        let labels = [("color", color.as_str()), ("upstream", &**upstream), ("endpoint", endpoint)];
        wrong.sample(&labels, u8::from(*is_wrong));
    }
    let mut resolves =
        page.gauge("cutover_name_resolves", "Whether the last look-up of an endpoint's name returned an address.");
    for (name, fine) in &facts.names {
        resolves.sample(&[("name", name)], u8::from(*fine));
    }
    let mut ends = page.gauge("cutover_tls_certificate_not_after_seconds", "The time when a certificate expires.");
    for (name, path, not_after) in &facts.certificates {
        let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        ends.sample(&[("name", name.as_str()), ("path", &path.to_string_lossy())], seconds);
    }
    page.gauge("cutover_tls_last_reload_successful", "Whether the certificates in force are those in the files.")
        .sample(&[], u64::from(facts.certificates_valid));
    let mut open = page.gauge("cutover_open_connections", "Open client connections.");
    for (listener, count) in ["http", "https", "preview"].into_iter().zip(facts.open_connections) {
        open.sample(&[("listener", listener)], count);
    }
    let [held, limit] = facts.buffered;
    page.gauge("cutover_buffered_bytes", "Bytes of messages in transit that the process holds.").sample(&[], held);
    page.gauge("cutover_buffered_limit_bytes", "The bound on cutover_buffered_bytes (listen.max_buffered).")
        .sample(&[], limit);
    let [room, clients, endpoints] = facts.descriptors;
    page.gauge("cutover_descriptors_room", "Descriptors that connections may use, by the limit on open files.")
        .sample(&[], room);
    let mut taken = page.gauge("cutover_descriptors_taken", "Descriptors in use by connections, by side.");
    for (side, count) in [("client", clients), ("endpoint", endpoints)] {
        taken.sample(&[("side", side)], count);
    }
    page.gauge("cutover_config_last_reload_successful", "Whether the configuration file is valid.")
        .sample(&[], u8::from(facts.config_valid));
    page.gauge(
        "cutover_config_last_reload_success_timestamp_seconds",
        "The time when the configuration file was last valid.",
    )
    .sample(&[], seconds(facts.config_valid_at));
    page.gauge("cutover_file_disagrees", "Whether the file names another color than the live one.")
        .sample(&[], u8::from(facts.file_disagrees));
    page.counter("cutover_access_log_dropped_lines_total", "Lines of the access log that could not be written.")
        .sample(&[], facts.access_log_dropped);
    spans(&mut page, &facts.spans);
    notices(&mut page, facts);
    upgrades::render(&mut page);
    page.gauge("cutover_build_info", "Always 1; the version is the label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    process(&mut page);
    page.finish()
}

fn decisions(page: &mut Page, facts: &Facts, tallies: &Tallies) {
    let mut active = page.gauge("cutover_active", "1 for the live color, 0 for the other.");
    for color in Color::ALL {
        active.sample(&[("color", color.as_str())], u8::from(color == facts.active));
    }
    let mut releases = page.gauge("cutover_release_info", "Always 1; the release of a color is the label.");
    for (color, release) in facts.releases.iter() {
        releases.sample(&[("color", color.as_str()), ("release", release)], 1);
    }
    let mut weights = page.gauge("cutover_split_weight", "The share of the requests that a color gets, from 0 to 1.");
    for (color, weight) in facts.shares.iter() {
        weights.sample(&[("color", color.as_str())], weight.share());
    }
    page.gauge("cutover_generation", "The generation in force.").sample(&[], facts.generation);
    page.gauge("cutover_last_switch_timestamp_seconds", "The time since when the live color serves.")
        .sample(&[], seconds(facts.since));
    let mut switches = page.counter("cutover_switches_total", "Orders to move traffic, by outcome.");
    for trigger in TRIGGERS {
        for outcome in OUTCOMES {
            let count = tallies.switches.get(&(trigger, outcome)).copied().unwrap_or(0);
            switches.sample(&[("trigger", trigger), ("outcome", outcome)], count);
        }
    }
    let mut rollbacks = page.counter("cutover_rollbacks_total", "Releases that were rolled back, including canaries.");
    for trigger in ROLLBACKS {
        rollbacks.sample(&[("trigger", trigger)], tallies.rollbacks.get(trigger).copied().unwrap_or(0));
    }
    page.gauge("cutover_rollback_possible", "Whether a rollback has a release to go to.")
        .sample(&[], u8::from(facts.rollback_possible));
    let help = "Whether the target of a rollback can run on the data stores: 1, 0, or -1 if unknown.";
    page.gauge("cutover_rollback_safe", help).sample(&[], facts.rollback_safe);
    stores(page, &facts.stores);
    page.gauge("cutover_durable", "Whether the decision in force is on disk.").sample(&[], u8::from(facts.durable));
    page.gauge("cutover_ledger_writable", "1 if the ledger is in its place and can be written.")
        .sample(&[], u8::from(facts.ledger_writable));
    page.gauge("cutover_frozen", "1 if only rollbacks may move traffic.").sample(&[], u8::from(facts.frozen));
    page.gauge("cutover_quarantined_releases", "Releases that are refused because they were bad.")
        .sample(&[], facts.quarantined);
    page.counter("cutover_ledger_rewrites_total", "Rewrites of a removed or replaced ledger.")
        .sample(&[], facts.ledger_rewritten);
    page.gauge("cutover_unusable_files", "Unusable files that the configuration names.")
        .sample(&[], facts.unusable_files);
    let mut phase = page.gauge("cutover_phase", "The phase of the decision core.");
    for name in PHASES {
        phase.sample(&[("phase", name)], u8::from(name == facts.phase));
    }
    let help = "Evidence that the candidate is worse, as odds to one; 0: nothing is judged.";
    let mut evidence = page.gauge("cutover_evidence", help);
    for (class, odds) in CLASSES.into_iter().zip(facts.evidence) {
        evidence.sample(&[("class", class)], odds);
    }
}

fn stores(page: &mut Page, stores: &[StoreFacts]) {
    let mut version = page.gauge("cutover_schema_version", "The known version of a data store's schema.");
    for store in stores {
        if let Some(known) = store.version {
            version.sample(&[("store", &store.store)], known);
        }
    }
    let mut failed = page.gauge("cutover_schema_probe_failed", "Whether the probe of a data store fails.");
    for store in stores {
        failed.sample(&[("store", &store.store)], u8::from(store.probe_failed));
    }
    let help = "Whether the release that serves passed its barrier at a data store.";
    let mut passed = page.gauge("cutover_schema_barrier_passed", help);
    for (store, of) in stores.iter().filter_map(|store| Some((store, store.barrier_passed?))) {
        passed.sample(&[("store", &store.store)], u8::from(of));
    }
}

fn requests(page: &mut Page, facts: &Facts) {
    let mut total = page.counter("cutover_http_requests_total", "Finished requests, by class of the status code.");
    for (color, upstream, reading) in &facts.readings {
        for (code, count) in CODES.iter().zip(reading.codes) {
            total.sample(&[("color", color.as_str()), ("upstream", &**upstream), ("code", code)], count);
        }
    }
    latency::render(page, facts);
    let mut in_flight = page.gauge("cutover_http_requests_in_flight", "In-flight requests, by kind.");
    for color in Color::ALL {
        let mut sum = InFlight::default();
        for (_, _, reading) in facts.readings.iter().filter(|(of, _, _)| *of == color) {
            sum += reading.in_flight;
        }
        for (kind, count) in KINDS.iter().zip([sum.requests, sum.streams, sum.tunnels]) {
            in_flight.sample(&[("color", color.as_str()), ("kind", kind)], count);
        }
    }
    let mut errors = page.counter("cutover_upstream_connect_errors_total", "Connections that could not be made.");
    for (color, upstream, reading) in &facts.readings {
        errors.sample(&[("color", color.as_str()), ("upstream", &**upstream)], reading.connect_errors);
    }
    let mut retries = page.counter("cutover_retries_total", "Requests that were retried.");
    for (color, upstream, reading) in &facts.readings {
        retries.sample(&[("color", color.as_str()), ("upstream", &**upstream)], reading.retries);
    }
}

fn shielded(page: &mut Page, facts: &Facts) {
    let help = "Requests that failed on the candidate and were answered by the other color.";
    let mut total = page.counter("cutover_shielded_total", help);
    for (color, upstream, reading) in &facts.readings {
        total.sample(&[("color", color.as_str()), ("upstream", &**upstream)], reading.shielded);
    }
}

fn lingering(page: &mut Page, facts: &Facts) {
    let help = "Files below linger.paths that a color answered with 404 or 410, by the outcome at the other color.";
    let mut total = page.counter("cutover_linger_requests_total", help);
    for (color, upstream, reading) in &facts.readings {
        for (outcome, count) in Lingered::NAMES.iter().zip(reading.lingered) {
            total.sample(&[("color", color.as_str()), ("upstream", &**upstream), ("outcome", outcome)], count);
        }
    }
    let mut lingers =
        page.gauge("cutover_lingering", "Whether a color that does not serve gets requests for old files.");
    for color in Color::ALL {
        lingers.sample(&[("color", color.as_str())], u8::from(facts.lingering == Some(color)));
    }
}

fn previews(page: &mut Page, readings: &[(Color, Arc<str>, Reading)]) {
    let help = "Finished previews, by class of the status code.";
    let mut total = page.counter("cutover_preview_requests_total", help);
    for color in Color::ALL {
        for (class, code) in CODES.iter().enumerate() {
            let of_color = readings.iter().filter(|(of, _, _)| *of == color);
            let count: u64 = of_color.map(|(_, _, reading)| reading.codes[class]).sum();
            total.sample(&[("color", color.as_str()), ("code", code)], count);
        }
    }
}

fn told(page: &mut Page, facts: &Facts) {
    let mut told =
        page.counter("cutover_events_total", "Events of the application (Cutover-Event), by the color of the answer.");
    for (event, counts) in &facts.events {
        for (color, count) in counts.iter() {
            told.sample(&[("color", color.as_str()), ("event", event)], *count);
        }
    }
    let mut ignored =
        page.counter("cutover_events_ignored_total", "Ignored events of the application (Cutover-Event), by reason.");
    for (reason, count) in facts.events_ignored {
        ignored.sample(&[("reason", reason)], count);
    }
}

fn drains(page: &mut Page, facts: &Facts, tallies: &Tallies) {
    let mut draining = page.gauge("cutover_draining", "In-flight requests on a color that drains, by kind.");
    for color in Color::ALL {
        let left = facts.draining.filter(|(of, _)| *of == color).map(|(_, left)| left).unwrap_or_default();
        for (kind, count) in KINDS.iter().zip([left.requests, left.streams, left.tunnels]) {
            draining.sample(&[("color", color.as_str()), ("kind", kind)], count);
        }
    }
    let mut ended = page.counter(
        "cutover_drain_ended_total",
        "Requests, streams and tunnels that drain.streams or drain.timeout cut off, by kind.",
    );
    for color in Color::ALL {
        let mut sum = InFlight::default();
        for (_, _, reading) in facts.readings.iter().filter(|(of, _, _)| *of == color) {
            sum += reading.drained;
        }
        for (kind, count) in KINDS.iter().zip([sum.requests, sum.streams, sum.tunnels]) {
            ended.sample(&[("color", color.as_str()), ("kind", kind)], count);
        }
    }
    page.histogram(
        "cutover_drain_seconds",
        "Seconds from a switch to the last byte of the requests that began before it.",
    )
    .buckets(&[], &DRAIN_SECONDS, &tallies.drains, tallies.drain_sum.as_secs_f64());
}

fn spans(page: &mut Page, spans: &SpanFacts) {
    page.counter("cutover_trace_spans_exported_total", "Spans that the collector took (trace.endpoint).")
        .sample(&[], spans.exported);
    let help = "Spans that did not reach the collector (trace.endpoint), by reason.";
    let mut dropped = page.counter("cutover_trace_spans_dropped_total", help);
    for (reason, count) in DROPS.into_iter().zip(spans.dropped) {
        dropped.sample(&[("reason", reason)], count);
    }
}

fn notices(page: &mut Page, facts: &Facts) {
    let mut pending = page.gauge("cutover_notify_pending", "Notices that wait for a sink.");
    for (sink, [waiting, _, _]) in &facts.sinks {
        pending.sample(&[("sink", sink)], *waiting);
    }
    let mut failures = page.counter("cutover_notify_failures_total", "Failed attempts to send a notice.");
    for (sink, [_, failed, _]) in &facts.sinks {
        failures.sample(&[("sink", sink)], *failed);
    }
    let mut dropped = page.counter("cutover_notify_dropped_total", "Dropped notices.");
    for (sink, [_, _, given_up]) in &facts.sinks {
        dropped.sample(&[("sink", sink)], *given_up);
    }
}

fn holds(page: &mut Page, facts: &Facts, tallies: &Tallies) {
    page.gauge("cutover_maintenance", "Whether requests get the maintenance answer.")
        .sample(&[], u8::from(facts.maintenance));
    page.gauge("cutover_held_requests", "Held requests.").sample(&[], facts.waiting.requests as u64);
    page.gauge("cutover_held_bytes", "Bytes of held requests.").sample(&[], facts.waiting.bytes as u64);
    let mut ended = page
        .counter("cutover_hold_outcomes_total", "Requests that a pause or a switch without overlap held, by outcome.");
    for ((_, outcome), count) in Ending::ALL.into_iter().zip(facts.waiting.ended) {
        ended.sample(&[("outcome", outcome)], count);
    }
    page.histogram("cutover_hold_seconds", "Seconds for which requests were held.").buckets(
        &[],
        &DRAIN_SECONDS,
        &tallies.holds,
        tallies.hold_sum.as_secs_f64(),
    );
}

/// The usual series of a process (Prometheus client library guidelines), from `/proc/self`.
fn process(page: &mut Page) {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses, which may hold anything: state is the first field, utime the twelfth.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0.0);
    let booted = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok()).unwrap_or(0.0);
    let open = open_descriptors();
    let max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    page.counter("process_cpu_seconds_total", "User and system CPU time in seconds.")
        .sample(&[], (field(11) + field(12)) / ticks);
    page.gauge("process_resident_memory_bytes", "Resident memory.")
        .sample(&[], field(21) * rustix::param::page_size() as f64);
    page.gauge("process_virtual_memory_bytes", "Virtual memory.").sample(&[], field(20));
    page.gauge("process_start_time_seconds", "The time when the process started.")
        .sample(&[], booted + field(19) / ticks);
    page.gauge("process_open_fds", "Open file descriptors.").sample(&[], open);
    page.gauge("process_max_fds", "The limit on file descriptors.").sample(&[], max);
    page.gauge("process_threads", "Threads.").sample(&[], field(17));
}

/// The size of the directory is their number since Linux 6.2; before that it is 0, and they are counted.
fn open_descriptors() -> u64 {
    const OPEN: &str = "/proc/self/fd";
    let size = std::fs::metadata(OPEN).map_or(0, |directory| directory.len());
    if size > 0 { size } else { std::fs::read_dir(OPEN).map_or(0, Iterator::count) as u64 }
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
