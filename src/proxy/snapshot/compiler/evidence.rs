//! The connections to endpoints that a new decision or configuration leaves in use.

use std::time::Instant;

use crate::config::Config;
use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::transition::Decision;
use crate::proxy::snapshot::compiler::Compiler;

#[derive(Debug, Default)]
pub(super) struct Before {
    serves: bool,
    label: Option<Release>,
}

impl Compiler {
    /// A color that stops serving keeps no connections. For a color that begins to serve, the gate has decided which
    /// ones carry requests; without a gate, or with a new label, only later ones do.
    pub(super) fn renew_endpoints(&mut self, config: &Config, decision: &Decision) {
        let now = Instant::now();
        let last = PerColor::from_fn(|color| Before {
            serves: decision.serves(color),
            label: Some(config.colors[color].release.clone()),
        });
        let before = std::mem::replace(&mut self.before, last);
        for color in Color::ALL {
            let (serves, Before { serves: served, label }) = (decision.serves(color), &before[color]);
            let relabelled = label.as_ref().is_some_and(|label| *label != config.colors[color].release);
            let forced = serves && !served && decision.by_force && color == decision.active;
            for endpoint in self.pools[color].iter().flat_map(|pool| &pool.endpoints) {
                if *served && !serves {
                    endpoint.stop_keeping();
                }
                if (serves && endpoint.keep()) || relabelled || forced {
                    endpoint.renew(now);
                }
            }
        }
    }
}
