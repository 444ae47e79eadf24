//! CPU time per request: each endpoint's `process_cpu_seconds_total`, the standard name of Prometheus' client
//! libraries, divided by the requests it got.
//!
//! The idle use of a process is subtracted: a canary with few requests would look expensive for being up. It is
//! measured while the color gets no requests. A counter that goes back, or a restarted process, invalidates a window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::config::HealthConfig;
use crate::control::probe::fetch;
use crate::domain::analysis::{Arms, CpuUse};
use crate::domain::color::PerColor;
use crate::domain::deployment::Deployment;
use crate::proxy::pool::Pool;

const MAX_PAGE: usize = 1 << 20;
/// Fewer requests make the quotient meaningless.
const LEAST_REQUESTS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::control) struct Used {
    /// Seconds since the process started.
    cpu: f64,
    started: f64,
}

/// By endpoint id; `None`: no answer.
pub(in crate::control) type Reading = PerColor<BTreeMap<u64, Option<Used>>>;

#[derive(Debug, Default)]
pub(in crate::control) struct Cpu {
    asked: Option<Instant>,
    last: Option<(Instant, PerColor<u64>, Reading)>,
    idle: PerColor<Option<f64>>,
    window: Option<PerColor<Option<CpuUse>>>,
    warned: bool,
}

impl Cpu {
    pub(super) fn take_turn(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= interval);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// `assigned`: requests given to each color when the endpoints were asked, since the process started.
    pub(in crate::control) fn read(&mut self, now: Instant, assigned: PerColor<u64>, reading: &Reading) {
        let silent = reading.iter().any(|(_, of)| of.values().any(Option::is_none));
        if silent && !self.warned {
            tracing::warn!(
                "CPU time of an endpoint unknown (process_cpu_seconds_total at analysis.cpu.path); its color is not compared"
            );
        }
        if self.warned && !silent {
            tracing::info!("CPU time of every endpoint known again");
        }
        self.warned = silent;
        let Some((then, before, last)) = self.last.replace((now, assigned, reading.clone())) else { return };
        let took = now.saturating_duration_since(then).as_secs_f64();
        let window = PerColor::from_fn(|color| {
            let busy = busy(&last[color], &reading[color])?;
            let requests = assigned[color].saturating_sub(before[color]);
            if requests == 0 {
                let idle = busy / took.max(0.001);
                // A lower value is closer to idle: requests may have been left over.
                self.idle[color] = Some(self.idle[color].map_or(idle, |known| known.min(idle)));
            }
            let idle = self.idle[color].unwrap_or(0.0) * took;
            let busy = Duration::try_from_secs_f64((busy - idle).max(0.0)).ok()?;
            (requests >= LEAST_REQUESTS).then_some(CpuUse { busy, requests })
        });
        self.window = Some(window);
    }

    pub(super) fn take_window(&mut self, deployment: &Deployment) -> Option<Arms<CpuUse>> {
        let window = self.window.take()?;
        Some(Arms { stable: window[deployment.stable_color()]?, candidate: window[deployment.candidate]? })
    }
}

/// Seconds between two readings of one color; `None`: not comparable.
fn busy(before: &BTreeMap<u64, Option<Used>>, after: &BTreeMap<u64, Option<Used>>) -> Option<f64> {
    if after.is_empty() || before.len() != after.len() {
        return None;
    }
    after.iter().try_fold(0.0, |sum, (endpoint, after)| {
        let (before, after) = ((*before.get(endpoint)?)?, (*after)?);
        // The same start time in the same words; otherwise it is another process.
        let same = before.started.total_cmp(&after.started).is_eq() && after.cpu >= before.cpu;
        same.then_some(sum + after.cpu - before.cpu)
    })
}

pub(super) fn ask(
    pools: &PerColor<Vec<Arc<Pool>>>,
    path: &str,
    health: &HealthConfig,
) -> impl Future<Output = Reading> + use<> {
    let mut asked = JoinSet::new();
    for (color, pools) in pools.iter() {
        for pool in pools {
            for endpoint in &pool.endpoints {
                let (pool, endpoint) = (Arc::clone(pool), Arc::clone(endpoint));
                let (path, health) = (path.to_owned(), health.clone());
                asked.spawn(async move {
                    let fetched = fetch(&endpoint, pool.rules(), &health, &path, MAX_PAGE);
                    let page = tokio::time::timeout(health.timeout, fetched).await;
                    let used = page.ok().and_then(Result::ok).and_then(|page| used(&String::from_utf8_lossy(&page)));
                    (color, endpoint.id, used)
                });
            }
        }
    }
    async move {
        let mut reading = Reading::default();
        for (color, endpoint, used) in asked.join_all().await {
            reading[color].insert(endpoint, used);
        }
        reading
    }
}

/// From the text format of Prometheus or OpenMetrics.
fn used(page: &str) -> Option<Used> {
    let of = |name: &str| {
        let mut sum = None;
        for line in page.lines() {
            let Some(rest) = line.strip_prefix(name) else { continue };
            // Labels, then the value, then perhaps a time.
            let value = match rest.strip_prefix('{') {
                Some(labelled) => labelled.rsplit_once('}').map_or("", |(_, value)| value),
                None if rest.starts_with([' ', '\t']) => rest,
                None => continue,
            };
            let value: f64 = value.split_whitespace().next()?.parse().ok()?;
            if value.is_finite() {
                // Several processes share one address.
                *sum.get_or_insert(0.0) += value;
            }
        }
        sum
    };
    Some(Used { cpu: of("process_cpu_seconds_total")?, started: of("process_start_time_seconds").unwrap_or(0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(cpu: f64, started: f64) -> BTreeMap<u64, Option<Used>> {
        BTreeMap::from([(1, Some(Used { cpu, started }))])
    }

    #[test]
    fn a_page_of_metrics_is_read_in_the_forms_that_clients_write() {
        let page = "# HELP process_cpu_seconds_total Total.\n# TYPE process_cpu_seconds_total counter\n\
            process_cpu_seconds_total 12.5\nprocess_start_time_seconds 1.7e9\n";
        assert_eq!(used(page), Some(Used { cpu: 12.5, started: 1.7e9 }));
        let labelled = "process_cpu_seconds_total{pid=\"1\"} 1 1700000000\nprocess_cpu_seconds_total{pid=\"2\"} 2.25\n";
        assert_eq!(used(labelled), Some(Used { cpu: 3.25, started: 0.0 }));
        for none in ["", "process_cpu_seconds_total_of_others 1", "process_cpu_seconds_total x", "# process_cpu 1"] {
            assert_eq!(used(none), None, "{none}");
        }
    }

    #[test]
    fn a_process_that_was_started_again_makes_a_window_of_no_use() {
        assert_eq!(busy(&reading(10.0, 1.0), &reading(12.0, 1.0)), Some(2.0));
        assert_eq!(busy(&reading(10.0, 1.0), &reading(1.0, 1.0)), None);
        assert_eq!(busy(&reading(10.0, 1.0), &reading(12.0, 2.0)), None);
        assert_eq!(busy(&BTreeMap::new(), &reading(12.0, 2.0)), None);
        assert_eq!(busy(&BTreeMap::from([(1, None)]), &reading(12.0, 2.0)), None);
    }

    #[test]
    fn what_is_used_without_requests_is_taken_off() {
        let mut cpu = Cpu::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let said = |blue: f64, green: f64| PerColor { blue: reading(blue, 0.0), green: reading(green, 0.0) };
        // Green is idle at first, at a tenth of a CPU.
        cpu.read(at(0), PerColor { blue: 0, green: 0 }, &said(0.0, 0.0));
        cpu.read(at(10), PerColor { blue: 1_000, green: 0 }, &said(5.0, 1.0));
        cpu.read(at(20), PerColor { blue: 2_000, green: 50 }, &said(10.0, 2.25));
        let window = cpu.window.take().expect("a window");
        assert_eq!(window.blue, Some(CpuUse { busy: Duration::from_secs(5), requests: 1_000 }));
        assert_eq!(window.green, Some(CpuUse { busy: Duration::from_millis(250), requests: 50 }));
    }
}
