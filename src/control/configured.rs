//! The core's part of a configuration.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::SystemTime;

use crate::config::Config;
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{Plan, Policy};
use crate::domain::rollout::{Checks, Configured};
use crate::domain::schema::Lineage;
use crate::domain::transition::{Decision, FileOrder};

pub(super) fn configured(config: &Config, path: &std::path::Path) -> Configured {
    Configured {
        order: order(config),
        deployed: PerColor::from_fn(|color| config.colors[color].release.clone()),
        schema: PerColor::from_fn(|color| config.colors[color].schema.clone()),
        probed: PerColor::from_fn(|color| config.colors[color].probes.keys().cloned().collect()),
        gate: config.gate.clone(),
        checks: Checks {
            forward: !config.gate_checks.is_empty(),
            back: config.gate_checks.iter().any(|check| check.on_rollback),
        },
        drain_timeout: config.drain.timeout,
        policy: policy(config),
        secret: secret(),
        hold_timeout: config.hold.timeout,
        targets: PerColor::from_fn(|color| target(config, color)),
        file_orders: config.state.file_orders,
        order_window: config.state.order_window,
        write_back: config.state.write_back,
        path: path.display().to_string(),
    }
}

/// Without random numbers of the system, the hasher's are the best there are.
fn secret() -> u64 {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => RandomState::new().hash_one(SystemTime::now()),
    }
}

fn target(config: &Config, color: Color) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    let gate = (&config.gate, &config.gate_checks);
    format!("{:?}", (&config.colors[color].pools, &config.upstreams, &config.health, gate)).hash(&mut hasher);
    // Their `Debug` form hides secrets.
    for check in &config.gate_checks {
        check.kept().for_each(|kept| kept.value.as_ref().map(|secret| &secret.0).hash(&mut hasher));
    }
    hasher.finish()
}

fn policy(config: &Config) -> Policy {
    let canary = &config.canary;
    Policy {
        plan: Plan {
            steps: canary.steps.clone(),
            dwell: canary.dwell,
            max_step: canary.max_step,
            on_insufficient: canary.on_insufficient,
            holdback: canary.holdback,
            bake: config.bake.duration,
        },
        canary: canary.mode,
        bake: config.bake.mode,
        cooldown: config.analysis.cooldown,
        on_unsafe: config.analysis.on_unsafe,
        sticky: canary.sticky.recorded(),
        on_client_errors: canary.on_client_errors,
        switch_holdback: config.bake.holdback,
    }
}

fn order(config: &Config) -> FileOrder {
    FileOrder { active: config.active, release: config.colors[config.active].release.clone() }
}

pub(crate) fn first_decision(config: &Config) -> Decision {
    let (order, since) = (order(config), SystemTime::now());
    let labels = &config.colors[order.active].schema;
    Decision {
        // It served before the proxy could watch it.
        known_good: Some(since),
        lineage: Lineage::default().followed_by(&order.release, labels, None),
        ..Decision::first(order.active, order.release, since)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn another_secret_of_a_gate_check_is_another_target() {
        let dir = tempfile::tempdir().expect("a directory");
        let (token, body) = (dir.path().join("token"), dir.path().join("body"));
        let targets = |token_is: &str, body_is: &str| {
            std::fs::write(&token, token_is).expect("written");
            std::fs::write(&body, body_is).expect("written");
            let text = format!(
                "active = \"blue\"\n[state]\ndir = \"/s\"\n[listen]\nhttp = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\n\
                 [blue]\nrelease = \"1\"\nendpoints = [\"127.0.0.1:3\"]\n[green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:4\"]\n\
                 [[gate.check]]\npath = \"/\"\nmethod = \"POST\"\nheader_files = {{ authorization = {token:?} }}\nbody_file = {body:?}\n"
            );
            let config = Config::parse(Path::new("c.toml"), &text).expect("valid");
            configured(&config, Path::new("c.toml")).targets.green
        };
        let before = targets("one", "two");
        assert_eq!(before, targets("one", "two"));
        assert_ne!(before, targets("other", "two"));
        assert_ne!(before, targets("one", "other"));
    }
}
