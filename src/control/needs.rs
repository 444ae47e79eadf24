//! Needs for a color: may its processes be stopped, and may another release be staged there?
//!
//! A further reason is a variant of [`Need`] and a line here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::control::Controller;
use crate::control::handle::Need;
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::domain::rollout::Phase;
use crate::domain::split::Weight;
use crate::proxy::pool::Pool;

impl Controller {
    /// Empty: the processes may be stopped.
    pub(super) fn needs(&self, color: Color) -> Vec<Need> {
        let view = self.rollout.view();
        let mut needs = Vec::new();
        let share = self.publisher.shares()[color];
        if view.decision.active == color {
            needs.push(Need::Serves);
        } else if view.decision.serves(color) || share != Weight::NONE {
            needs.push(Need::Share(share));
        }
        match view.phase {
            Phase::Gating { to } | Phase::Holding { to } | Phase::Committing { to } if to == color => {
                needs.push(Need::Move);
            }
            _ => {}
        }
        if let Some(draining) = self.drains.current().filter(|draining| draining.color() == color) {
            let left = self.publisher.meters().in_flight(color);
            let ends_in = draining.deadline().saturating_duration_since(Instant::now());
            needs.push(Need::Drain { left, ends_in });
        }
        needs.extend(self.predecessors.needs(color));
        let bakes = view.decision.known_good.is_none() && !view.decision.serves(color);
        if let Some(previous) = view.rollback.ok().filter(|previous| bakes && previous.color == color) {
            let until = view.known_good_at.map(|at| at.saturating_duration_since(Instant::now()));
            needs.push(Need::WayBack {
                release: previous.release,
                serving: view.decision.release,
                // A stopped bake may be past its time.
                until: until.filter(|left| !left.is_zero()).and_then(|left| SystemTime::now().checked_add(left)),
            });
        }
        if view.decision.active != color
            && let Some(upstream) = self.only_up(color)
        {
            needs.push(Need::WayOut { upstream, color });
        }
        if let Some(linger) = self.lingering().filter(|linger| linger.color == color && linger.up > 0) {
            needs.push(Need::Lingering { until: linger.until });
        }
        needs
    }

    /// This color has an endpoint up where the serving color has none: in one upstream, or in all of them (`None`).
    fn only_up(&self, color: Color) -> Option<Option<String>> {
        let pools = self.publisher.pools();
        let up = |pool: &&Arc<Pool>| pool.endpoints.iter().any(|endpoint| endpoint.health() == Health::Up);
        let alive: HashSet<&str> = pools[color.other()].iter().filter(up).map(|pool| &*pool.upstream).collect();
        let first = pools[color].iter().filter(up).find(|pool| !alive.contains(&*pool.upstream))?;
        Some((!alive.is_empty()).then(|| first.upstream.to_string()))
    }
}
