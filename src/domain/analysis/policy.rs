//! Tolerances and error budgets of the judge, fixed before the first tick.

use std::time::Duration;

use super::rule::EventRule;

#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Greatest probability that a good release is rolled back, over a whole deployment.
    pub alpha: f64,
    /// Odds from which the deployment pauses.
    pub suspect_at: f64,
    /// Tolerated ratio of the candidate's errors to the stable release's.
    pub ratio_tolerated: f64,
    /// Below this share of errors nothing is rolled back.
    pub error_floor: f64,
    pub latency_margin: f64,
    /// Smaller differences are ignored.
    pub latency_min_delta: Duration,
    /// Requests of the stable release needed for a route's thresholds.
    pub latency_samples: u64,
    /// Requests to the candidate before its latency is judged: caches are cold at first.
    pub warmup_requests: u64,
    /// Time with requests before its latency is judged.
    pub warmup_time: Duration,
    /// An advance needs proof that the candidate has a smaller share of errors than this,
    pub pass_error_below: f64,
    /// or less than this multiple of the stable release's,
    pub pass_ratio: f64,
    /// with this probability of error per step.
    pub pass_beta: f64,
    pub client_error_ratio: f64,
    /// Share of errors from which the stable release is no measure,
    pub baseline_unhealthy: f64,
    /// over this time.
    pub baseline_window: Duration,
    pub cpu_margin: f64,
    /// CPU alone may end a deployment, at odds of a thousand or those of `alpha`.
    pub cpu_rolls_back: bool,
    /// Windows of CPU time needed to advance, if there are any.
    pub cpu_windows: u64,
    /// Greatest factor of a bet in one second.
    pub second_gain: f64,
    pub max_routes: usize,
    /// Planned ticks. A wrong plan costs little; without one, late regressions are found later.
    pub horizon: Option<u64>,
    /// Losses of the evidence; each halves `alpha`, so that the promise still holds.
    pub lost: u32,
    pub events: Vec<EventRule>,
    /// The stable release before the deployment, if nothing is left to compare with.
    pub before: Option<Before>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub requests: u64,
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
    #[must_use]
    pub fn limit(&self) -> f64 {
        f64::from(self.lost).exp2() / self.alpha
    }

    pub(super) fn ln_limit(&self) -> f64 {
        f64::from(self.lost) * std::f64::consts::LN_2 - self.alpha.ln()
    }

    /// The nearest computable policy. The configuration reports errors; here none may remain.
    pub(super) fn bounded(mut self) -> Policy {
        // `max` and `min` return the bound for NaN.
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
