//! What is tolerated, and how sure the judge has to be: fixed before the first tick.

use std::time::Duration;

use super::rule::EventRule;

/// What is tolerated, and how sure the judge has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How likely a rollback of a good release is, in a whole deployment and however often one looks: at most this.
    pub alpha: f64,
    /// From these odds on the deployment goes no further.
    pub suspect_at: f64,
    /// The candidate may have so many times the errors.
    pub ratio_tolerated: f64,
    /// Below this share of errors nobody rolls back, whatever the ratio.
    pub error_floor: f64,
    /// The candidate may be so many times slower.
    pub latency_margin: f64,
    /// And a difference below this is none.
    pub latency_min_delta: Duration,
    /// So many requests of the stable release are needed to say what is slow on a route.
    pub latency_samples: u64,
    /// The latency of the candidate is not judged before it was given so many requests: caches are cold at first.
    pub warmup_requests: u64,
    /// Nor before it had requests for so long.
    pub warmup_time: Duration,
    /// To pass, it is shown that the candidate has fewer errors than this share ...
    pub pass_error_below: f64,
    /// ... or less than so many times those of the stable release ...
    pub pass_ratio: f64,
    /// ... and that is wrong at most so often in a step.
    pub pass_beta: f64,
    /// 4xx: the candidate may have so many times as many.
    pub client_error_ratio: f64,
    /// From this share of errors on, the stable release is not what to compare with.
    pub baseline_unhealthy: f64,
    /// Over so long.
    pub baseline_window: Duration,
    /// The candidate may use so many times the CPU for a request.
    pub cpu_margin: f64,
    /// CPU alone may end a deployment, at odds of a thousand or those of `alpha`.
    pub cpu_rolls_back: bool,
    /// To pass needs so many windows of CPU time, where there are any.
    pub cpu_windows: u64,
    /// What happens in one second multiplies a bet by no more than this.
    pub second_gain: f64,
    /// So many routes are judged by themselves.
    pub max_routes: usize,
    /// So many ticks are planned. It costs little to be wrong; without it late regressions are found later.
    pub horizon: Option<u64>,
    /// How often the evidence of this deployment was lost: each time halves `alpha`, so that the promise holds all the
    /// same.
    pub lost: u32,
    /// Events that the application tells.
    pub events: Vec<EventRule>,
    /// What the stable release had before, for a deployment that leaves nothing to compare with.
    pub before: Option<Before>,
}

/// What a release had before it was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Requests.
    pub requests: u64,
    /// How many of them ended in an error.
    pub errors: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            alpha: 0.001,
            suspect_at: 20.0,
            ratio_tolerated: 1.5,
            error_floor: 0.005,
            latency_margin: 1.5,
            latency_min_delta: Duration::from_millis(10),
            latency_samples: 50,
            warmup_requests: 50,
            warmup_time: Duration::from_secs(30),
            pass_error_below: 0.01,
            pass_ratio: 3.0,
            pass_beta: 0.05,
            client_error_ratio: 3.0,
            baseline_unhealthy: 0.05,
            baseline_window: Duration::from_secs(30),
            cpu_margin: 1.25,
            cpu_rolls_back: false,
            cpu_windows: 10,
            second_gain: 30.0,
            max_routes: 64,
            horizon: None,
            lost: 0,
            events: Vec::new(),
            before: None,
        }
    }
}

impl Policy {
    /// A rollback needs this evidence, as odds to one.
    #[must_use]
    pub fn limit(&self) -> f64 {
        f64::from(self.lost).exp2() / self.alpha
    }

    pub(super) fn ln_limit(&self) -> f64 {
        f64::from(self.lost) * std::f64::consts::LN_2 - self.alpha.ln()
    }

    /// The nearest policy that can be computed with. A configuration says what is wrong; here nothing may go wrong.
    pub(super) fn bounded(mut self) -> Policy {
        // `max` and `min` give the bound where the value is no number.
        let within = |value: f64, least: f64, most: f64| value.max(least).min(most);
        self.alpha = within(self.alpha, 1e-12, 0.5);
        self.suspect_at = within(self.suspect_at, 1.0, 1e12);
        self.ratio_tolerated = within(self.ratio_tolerated, 1.0, 100.0);
        self.error_floor = within(self.error_floor, 1e-6, 0.5);
        self.latency_margin = within(self.latency_margin, 1.0, 100.0);
        self.pass_error_below = within(self.pass_error_below, 1e-6, 0.9);
        self.pass_ratio = within(self.pass_ratio, 1.1, 100.0);
        self.pass_beta = within(self.pass_beta, 1e-9, 0.5);
        self.client_error_ratio = within(self.client_error_ratio, 1.0, 100.0);
        self.baseline_unhealthy = within(self.baseline_unhealthy, 1e-3, 1.0);
        self.cpu_margin = within(self.cpu_margin, 1.0, 100.0);
        self.second_gain = within(self.second_gain, 2.0, 1e9);
        self.horizon = self.horizon.map(|horizon| horizon.clamp(1, 1 << 40));
        self.max_routes = self.max_routes.min(1024);
        self.lost = self.lost.min(64);
        EventRule::bounded(&mut self.events);
        self
    }
}
