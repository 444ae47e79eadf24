//! How a new release gets its share, how it is judged, and how long it is watched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::file::{Section, quoted};
use crate::config::validate::{DAY, File, HOUR, MS, SECOND};
use crate::config::{
    AnalysisConfig, BakeConfig, CanaryConfig, CpuConfig, Decimal, IgnoreConfig, Sticky, VisitorCookie, Warmup,
};
use crate::domain::deployment::{Mode, OnClientErrors, OnInsufficient, OnUnsafe, Plan};
use crate::domain::split::Weight;

/// So many steps, and so many routes of their own, are enough for anybody.
const MOST_STEPS: usize = 50;
const MOST_ROUTES: usize = 64;
const LEAST: Weight = Weight::new(1).expect("a share");

const fn weight(basis_points: u16) -> Weight {
    Weight::new(basis_points).expect("a share")
}

impl File<'_> {
    pub(super) fn canary(&self) -> CanaryConfig {
        let defaults = CanaryConfig {
            mode: Mode::Enforce,
            steps: vec![weight(500), weight(2_500), weight(5_000)],
            dwell: 30 * SECOND,
            max_step: 1_800 * SECOND,
            on_insufficient: OnInsufficient::Hold,
            on_client_errors: OnClientErrors::Back,
            holdback: weight(200),
            sticky: Sticky::Off,
            evidence_per_network: 1,
            cookie: VisitorCookie { name: "cutover_visitor".to_owned(), max_age: 30 * DAY },
            routes: Vec::new(),
            shield: false,
            shield_budget: weight(1_000),
        };
        let Some(section) = self.root.section("canary") else { return defaults };
        let cookie = VisitorCookie {
            name: self.cookie_name(&section).unwrap_or(defaults.cookie.name),
            max_age: section.duration("cookie_max_age", defaults.cookie.max_age, HOUR..=365 * DAY),
        };
        let canary = CanaryConfig {
            mode: section.choice("mode", &Mode::NAMES),
            steps: self.steps(&section).unwrap_or(defaults.steps),
            dwell: section.duration("dwell", defaults.dwell, SECOND..=DAY),
            max_step: section.duration("max_step", defaults.max_step, SECOND..=DAY),
            on_insufficient: section.choice("on_insufficient", &OnInsufficient::NAMES),
            on_client_errors: section.choice("on_client_errors", &OnClientErrors::NAMES),
            holdback: section.weight("holdback", defaults.holdback, Weight::NONE..=Plan::MOST_HELD_BACK),
            sticky: self.sticky(&section, &cookie).unwrap_or_default(),
            evidence_per_network: u32::try_from(section.integer("evidence_per_network", 1, 0..=100))
                .unwrap_or(defaults.evidence_per_network),
            cookie,
            routes: self.judged_routes(&section),
            shield: section.boolean("shield", defaults.shield),
            shield_budget: section.weight("shield_budget", defaults.shield_budget, LEAST..=Weight::ALL),
        };
        if canary.max_step < canary.dwell
            && let Some((_, span)) = section.string("max_step").or_else(|| section.string("dwell"))
        {
            let [dwell, max] = [canary.dwell, canary.max_step].map(humantime::format_duration);
            let message = format!("`canary.max_step` is {max}, and a step lasts at least for `canary.dwell`, {dwell}");
            self.notes.problem(span, message, format!("write a `max_step` of {dwell} or more, or a shorter `dwell`"));
        }
        section.refuse_unknown();
        canary
    }

    fn steps(&self, section: &Section<'_>) -> Option<Vec<Weight>> {
        let value = section.get("steps")?;
        let mut steps: Vec<Weight> = Vec::new();
        for (text, span) in section.as_strings("steps", value)? {
            let step = section.as_weight("steps", (text, span.clone()), LEAST..=weight(9_999))?;
            if let Some(before) = steps.last().filter(|before| **before >= step) {
                let message = format!("`canary.steps` do not grow: {step} comes after {before}");
                self.notes.problem(span, message, "write each step once, the smallest first".to_owned());
                return None;
            }
            steps.push(step);
        }
        if steps.is_empty() || steps.len() > MOST_STEPS {
            let message = format!("`canary.steps` has {} steps; it goes from 1 to {MOST_STEPS}", steps.len());
            self.notes.problem(value.span(), message, "write `steps = [\"5%\", \"25%\", \"50%\"]`".to_owned());
            return None;
        }
        Some(steps)
    }

    fn cookie_name(&self, section: &Section<'_>) -> Option<String> {
        let (text, span) = section.string("cookie_name")?;
        if http::HeaderName::from_bytes(text.as_bytes()).is_ok() {
            return Some(text.to_owned());
        }
        let message = format!("`canary.cookie_name` is {}, which is not the name of a cookie", quoted(text));
        self.notes.problem(span, message, "use letters, digits, `-` and `_`".to_owned());
        None
    }

    fn sticky(&self, section: &Section<'_>, own: &VisitorCookie) -> Option<Sticky> {
        let (text, span) = section.string("sticky")?;
        let name = |name: &str| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        let sticky = match text.split_once(':') {
            None if text == "off" => Some(Sticky::Off),
            None if text == "address" => Some(Sticky::Address),
            None if text == "cookie" => Some(Sticky::Own(Arc::new(own.clone()))),
            // What may be in the name of a cookie is what may be in that of a field (RFC 6265, 4.1.1).
            Some(("cookie", cookie)) if name(cookie) => Some(Sticky::Cookie(cookie.to_owned())),
            Some(("header", header)) if name(header) => Some(Sticky::Header(header.to_ascii_lowercase())),
            _ => None,
        };
        if sticky.is_none() {
            let help = "it is \"off\", \"cookie\", \"cookie:NAME\", \"header:NAME\" or \"address\"".to_owned();
            self.notes.problem(span, format!("`canary.sticky` is {}", quoted(text)), help);
        }
        sticky
    }

    fn judged_routes(&self, section: &Section<'_>) -> Vec<String> {
        let Some(value) = section.get("routes") else { return Vec::new() };
        let texts = section.as_strings("routes", value).unwrap_or_default();
        if texts.len() > MOST_ROUTES {
            let message = format!("`canary.routes` has {} paths; it takes {MOST_ROUTES}", texts.len());
            self.notes.problem(value.span(), message, None);
        }
        let mut seen = BTreeSet::new();
        let mut routes = Vec::new();
        for (text, span) in texts {
            let Some(path) = self.prefix("canary.routes", text, span.clone()) else { continue };
            if seen.insert(path.trim_end_matches('/').to_owned()) {
                routes.push(path);
            } else {
                let message = format!("the path {} is in `canary.routes` twice", quoted(text));
                self.notes.problem(span, message, "keep one of them".to_owned());
            }
        }
        routes
    }

    pub(super) fn analysis(&self) -> AnalysisConfig {
        let defaults = AnalysisConfig {
            false_rollback_per_deploy: Decimal::from_millionths(1_000),
            suspect_at: 20,
            tick: SECOND,
            ratio_tolerated: Decimal::from_millionths(1_500_000),
            error_floor: weight(50),
            latency_margin: Decimal::from_millionths(1_500_000),
            latency_min_delta: 10 * MS,
            pass_error_below: weight(100),
            pass_beta: Decimal::from_millionths(50_000),
            max_routes: 64,
            warmup: Warmup { requests: 50, time: 30 * SECOND },
            cpu: None,
            baseline_unhealthy: weight(500),
            cooldown: 600 * SECOND,
            on_unsafe: OnUnsafe::Hold,
            events: Vec::new(),
            ignore: IgnoreConfig::default(),
        };
        let Some(section) = self.root.section("analysis") else { return defaults };
        let ratio = 1.0..=100.0;
        let analysis = AnalysisConfig {
            false_rollback_per_deploy: section.decimal(
                "false_rollback_per_deploy",
                defaults.false_rollback_per_deploy,
                0.000_001..=0.1,
            ),
            suspect_at: u32::try_from(section.integer("suspect_at", 20, 2..=1_000_000)).unwrap_or(defaults.suspect_at),
            tick: section.duration("tick", defaults.tick, 100 * MS..=60 * SECOND),
            ratio_tolerated: section.decimal("ratio_tolerated", defaults.ratio_tolerated, ratio.clone()),
            error_floor: section.weight("error_floor", defaults.error_floor, LEAST..=weight(5_000)),
            latency_margin: section.decimal("latency_margin", defaults.latency_margin, ratio),
            latency_min_delta: section.duration(
                "latency_min_delta",
                defaults.latency_min_delta,
                Duration::ZERO..=60 * SECOND,
            ),
            pass_error_below: section.weight("pass_error_below", defaults.pass_error_below, LEAST..=weight(5_000)),
            pass_beta: section.decimal("pass_beta", defaults.pass_beta, 0.000_001..=0.5),
            max_routes: usize::try_from(section.integer("max_routes", 64, 0..=64)).unwrap_or(defaults.max_routes),
            warmup: self.warmup(&section, defaults.warmup),
            cpu: self.cpu(&section),
            baseline_unhealthy: section.weight("baseline_unhealthy", defaults.baseline_unhealthy, LEAST..=Weight::ALL),
            cooldown: section.duration("cooldown", defaults.cooldown, Duration::ZERO..=7 * DAY),
            on_unsafe: section.choice("on_unsafe", &[("hold", OnUnsafe::Hold), ("force", OnUnsafe::Force)]),
            events: self.events(&section),
            ignore: self.ignored(&section),
        };
        section.refuse_unknown();
        analysis
    }

    fn warmup(&self, analysis: &Section<'_>, defaults: Warmup) -> Warmup {
        let Some(section) = analysis.section("warmup") else { return defaults };
        let requests = section.integer("requests", defaults.requests.into(), 0..=1_000_000);
        let warmup = Warmup {
            requests: u32::try_from(requests).unwrap_or(defaults.requests),
            time: section.duration("time", defaults.time, Duration::ZERO..=HOUR),
        };
        section.refuse_unknown();
        warmup
    }

    fn cpu(&self, analysis: &Section<'_>) -> Option<CpuConfig> {
        let section = analysis.section("cpu")?;
        let path = match section.string("path") {
            None => Some("/metrics".to_owned()),
            Some((path, span)) => self.request_path("analysis.cpu.path", path, span),
        };
        let interval = section.duration("interval", 15 * SECOND, SECOND..=HOUR);
        let decide = section.boolean("decide", false);
        section.refuse_unknown();
        Some(CpuConfig { path: path?, interval, decide })
    }

    pub(super) fn bake(&self) -> BakeConfig {
        let defaults = BakeConfig { duration: 900 * SECOND, holdback: Weight::NONE, mode: Mode::Observe };
        let Some(section) = self.root.section("bake") else { return defaults };
        let modes = [("observe", Mode::Observe), ("enforce", Mode::Enforce), ("off", Mode::Off)];
        let bake = BakeConfig {
            duration: section.duration("duration", defaults.duration, Duration::ZERO..=DAY),
            holdback: section.weight("holdback", defaults.holdback, Weight::NONE..=Plan::MOST_HELD_BACK),
            mode: section.choice("mode", &modes),
        };
        section.refuse_unknown();
        bake
    }
}
