//! `[canary]`: the growing share of requests that a new release gets.

mod sticky;

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Value;

use crate::config::file::kinds::is_field_name;
use crate::config::file::{Section, quoted};
use crate::config::render::{duration, integer, share, table, texts};
use crate::config::units::{DAY, HOUR, MINUTE, SECOND};
use crate::domain::deployment::{Mode, OnClientErrors, OnInsufficient, Plan};
use crate::domain::split::Weight;

pub(crate) use sticky::{Sticky, VisitorCookie};

const MOST_STEPS: usize = 50;
const MOST_ROUTES: usize = 64;
const LEAST: Weight = Weight::new(1).expect("a share");
const MOST_STEP: Weight = Weight::new(9_999).expect("a share");

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    pub mode: Mode,
    /// Growing shares between 0 % and 100 %, both excluded; never empty.
    pub steps: Vec<Weight>,
    pub dwell: Duration,
    /// The longest time that a step waits for evidence; at least `dwell`.
    pub max_step: Duration,
    pub on_insufficient: OnInsufficient,
    pub on_client_errors: OnClientErrors,
    pub holdback: Weight,
    pub sticky: Sticky,
    /// With `sticky`: the events of a kind, beside first requests, that count of one client network; 0: all.
    pub evidence_per_network: u32,
    pub cookie: VisitorCookie,
    /// Distinct path prefixes that are judged on their own; each begins with `/`.
    pub routes: Vec<String>,
    pub shield: bool,
    pub shield_budget: Weight,
}

impl Default for CanaryConfig {
    fn default() -> CanaryConfig {
        CanaryConfig {
            mode: Mode::Enforce,
            steps: [500, 2_500, 5_000].map(|share| Weight::new(share).expect("a share")).to_vec(),
            dwell: 30 * SECOND,
            max_step: 30 * MINUTE,
            on_insufficient: OnInsufficient::Hold,
            on_client_errors: OnClientErrors::Back,
            holdback: Weight::new(200).expect("a share"),
            sticky: Sticky::Off,
            evidence_per_network: 1,
            cookie: VisitorCookie { name: "cutover_visitor".to_owned(), max_age: 30 * DAY },
            routes: Vec::new(),
            shield: false,
            shield_budget: Weight::new(1_000).expect("a share"),
        }
    }
}

impl CanaryConfig {
    pub(super) fn read(section: &Section<'_>) -> CanaryConfig {
        let defaults = CanaryConfig::default();
        let cookie = VisitorCookie {
            name: cookie_name(section).unwrap_or(defaults.cookie.name),
            max_age: section.duration("cookie_max_age", defaults.cookie.max_age, HOUR..=365 * DAY),
        };
        let canary = CanaryConfig {
            mode: section.choice("mode", &Mode::NAMES, defaults.mode),
            steps: steps(section).unwrap_or(defaults.steps),
            dwell: section.duration("dwell", defaults.dwell, SECOND..=DAY),
            max_step: section.duration("max_step", defaults.max_step, SECOND..=DAY),
            on_insufficient: section.choice("on_insufficient", &OnInsufficient::NAMES, defaults.on_insufficient),
            on_client_errors: section.choice("on_client_errors", &OnClientErrors::NAMES, defaults.on_client_errors),
            holdback: section.weight("holdback", defaults.holdback, Weight::NONE..=Plan::MOST_HELD_BACK),
            sticky: Sticky::read(section, &cookie).unwrap_or(defaults.sticky),
            evidence_per_network: section.integer("evidence_per_network", defaults.evidence_per_network, 0..=100),
            cookie,
            routes: routes(section),
            shield: section.boolean("shield", defaults.shield),
            shield_budget: section.weight("shield_budget", defaults.shield_budget, LEAST..=Weight::ALL),
        };
        if canary.max_step < canary.dwell
            && let Some((_, span)) = section.string("max_step").or_else(|| section.string("dwell"))
        {
            let [dwell, max] = [canary.dwell, canary.max_step].map(humantime::format_duration);
            let message = format!("`canary.max_step` is {max}, and a step lasts at least for `canary.dwell`, {dwell}");
            section.problem(span, message, format!("write a `max_step` of {dwell} or more, or a shorter `dwell`"));
        }
        canary
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let defaults = CanaryConfig::default();
        let off = section.string("sticky").is_some_and(|(text, _)| text == "off");
        let idle = !matches!(self.sticky, Sticky::Own(_)) && !off;
        let (why, help) = ("it is for the proxy's own cookie", "add `sticky = \"cookie\"`, or remove this");
        section.idle("cookie_name", idle && self.cookie.name != defaults.cookie.name, why, help);
        section.idle("cookie_max_age", idle && self.cookie.max_age != defaults.cookie.max_age, why, help);
        let idle = self.sticky == Sticky::Off && self.evidence_per_network != defaults.evidence_per_network;
        let (why, help) = ("nothing keeps a user on one color", "add `sticky = \"cookie\"`, or remove this");
        section.idle_unless("evidence_per_network", "sticky", idle, why, help);
        let idle = !self.shield && self.shield_budget != defaults.shield_budget;
        let help = "add `shield = true`, or remove this";
        section.idle_unless("shield_budget", "shield", idle, "`canary.shield` is off by default", help);
    }

    pub(super) fn write(&self) -> Value {
        table([
            ("mode", self.mode.name().into()),
            ("steps", self.steps.iter().copied().map(share).collect::<Vec<_>>().into()),
            ("dwell", duration(self.dwell)),
            ("max_step", duration(self.max_step)),
            ("on_insufficient", self.on_insufficient.name().into()),
            ("on_client_errors", self.on_client_errors.name().into()),
            ("holdback", share(self.holdback)),
            ("sticky", self.sticky.to_string().into()),
            ("evidence_per_network", integer(self.evidence_per_network)),
            ("cookie_name", self.cookie.name.clone().into()),
            ("cookie_max_age", duration(self.cookie.max_age)),
            ("routes", texts(&self.routes)),
            ("shield", self.shield.into()),
            ("shield_budget", share(self.shield_budget)),
        ])
    }
}

fn steps(section: &Section<'_>) -> Option<Vec<Weight>> {
    let value = section.get("steps")?;
    let mut steps: Vec<Weight> = Vec::new();
    for (text, span) in section.as_strings("steps", value)? {
        let step = section.as_weight("steps", (text, span.clone()), LEAST..=MOST_STEP)?;
        if let Some(before) = steps.last().filter(|before| **before >= step) {
            let message = format!("`canary.steps` do not grow: {step} comes after {before}");
            section.problem(span, message, "write each step once, the smallest first");
            return None;
        }
        steps.push(step);
    }
    if steps.is_empty() || steps.len() > MOST_STEPS {
        let message = format!("`canary.steps` has {} steps; it goes from 1 to {MOST_STEPS}", steps.len());
        section.problem(value.span(), message, "write `steps = [\"5%\", \"25%\", \"50%\"]`");
        return None;
    }
    Some(steps)
}

fn cookie_name(section: &Section<'_>) -> Option<String> {
    let written = section.string("cookie_name")?;
    let name = written.0;
    let valid = is_field_name(name);
    if !valid {
        section.refuse("cookie_name", written, "which is not the name of a cookie", "use letters, digits, `-` and `_`");
    }
    valid.then(|| name.to_owned())
}

fn routes(section: &Section<'_>) -> Vec<String> {
    let Some(value) = section.get("routes") else { return Vec::new() };
    let texts = section.as_strings("routes", value).unwrap_or_default();
    if texts.len() > MOST_ROUTES {
        let message = format!("`canary.routes` has {} paths; it takes {MOST_ROUTES}", texts.len());
        section.plain_problem(value.span(), message);
    }
    let mut seen = BTreeSet::new();
    let mut routes = Vec::new();
    for (text, span) in texts {
        let Some(path) = section.prefix("routes", (text, span.clone())) else { continue };
        if seen.insert(path.trim_end_matches('/').to_owned()) {
            routes.push(path);
        } else {
            section.problem(span, format!("the path {} is in `canary.routes` twice", quoted(text)), "keep one of them");
        }
    }
    routes
}
