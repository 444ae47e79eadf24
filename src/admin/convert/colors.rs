//! Staging, and the remaining needs of a color, as answers of the admin API.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::admin::api::{NeedAnswer, ReplacedAnswer, SafeToStop, StageAnswer};
use crate::admin::convert::time;
use crate::config::{ColorConfig, EndpointAddress};
use crate::control::handle::{ColorStatus, Need, StageOutcome};

/// Name of the upstream that a color has itself.
const DEFAULT_UPSTREAM: &str = "default";

impl StageAnswer {
    pub(in crate::admin) fn new(outcome: &StageOutcome) -> StageAnswer {
        StageAnswer {
            changed: outcome.changed,
            dry_run: outcome.dry_run,
            color: outcome.color.to_string(),
            release: outcome.release.to_string(),
            generation: outcome.generation.0,
            staged: outcome.mark.clone(),
            replaced: outcome.replaced.as_ref().map(replaced),
        }
    }
}

fn replaced(color: &ColorConfig) -> ReplacedAnswer {
    let mut pools: BTreeMap<String, Vec<String>> = color
        .pools
        .iter()
        .map(|(name, pool)| (name.clone(), pool.iter().map(EndpointAddress::to_string).collect()))
        .collect();
    let endpoints = pools.remove(DEFAULT_UPSTREAM).unwrap_or_default();
    ReplacedAnswer { release: color.release.to_string(), endpoints, upstreams: pools }
}

impl SafeToStop {
    pub(super) fn new(color: &ColorStatus) -> SafeToStop {
        SafeToStop { safe: color.needs.is_empty(), needed_by: color.needs.iter().map(need).collect() }
    }
}

fn need(need: &Need) -> NeedAnswer {
    let (name, detail, until) = match need {
        Need::Lingering { until } => {
            ("lingering", "pages of its release are open, and ask it for their files (linger)".to_owned(), Some(*until))
        }
        Need::WayOut { upstream, color } => {
            let of = upstream.as_ref().map(|upstream| format!(" of {upstream}")).unwrap_or_default();
            ("way_out", format!("{color} is the only color with an endpoint{of} up; it is the way out"), None)
        }
        Need::Serves => ("serves", "it serves".to_owned(), None),
        Need::Share(share) => ("share", format!("it gets {share} of the requests"), None),
        Need::Move => ("move", "traffic is about to move there".to_owned(), None),
        Need::Drain { left, ends_in } => {
            let left = if left.total() == 0 { String::new() } else { format!(": {left}") };
            ("drain", format!("it still drains{left}"), SystemTime::now().checked_add(*ends_in))
        }
        Need::Predecessor { pid, left, ends_in } => {
            let left = left
                .map_or("has not said what it still serves there".to_owned(), |left| format!("still has {left} there"));
            let until = ends_in.and_then(|ends_in| SystemTime::now().checked_add(ends_in));
            ("predecessor", format!("process {pid}, which served before the upgrade, {left}"), until)
        }
        Need::WayBack { release, serving, until } => {
            ("way_back", format!("a rollback goes to {release} there while {serving} is not known good"), *until)
        }
    };
    NeedAnswer { need: name.to_owned(), detail, until: until.map(time) }
}
