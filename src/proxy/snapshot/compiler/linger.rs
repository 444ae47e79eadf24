//! The color that is asked for old files.

use crate::config::Config;
use crate::domain::color::Color;
use crate::domain::transition::Decision;
use crate::proxy::snapshot::admission::Admissions;
use crate::proxy::snapshot::compiler::{Compiler, Serving};
use crate::proxy::snapshot::door::Door;
use crate::proxy::snapshot::linger::Linger;

impl Compiler {
    pub(crate) fn linger(&mut self, color: Option<Color>) {
        self.lingering = color;
    }

    pub(super) fn lingers(&self, config: &Config, decision: &Decision, door: &Door) -> bool {
        let other = decision.split().is_some() || self.lingering == Some(decision.active.other());
        matches!(door, Door::Open) && other && !config.linger.paths.is_empty()
    }

    pub(super) fn lingering(&mut self, config: &Config, decision: &Decision) -> Option<Box<Linger>> {
        if !self.lingers {
            return None;
        }
        let idle = match decision.split() {
            Some(_) => Admissions::default(),
            None => {
                let color = decision.active.other();
                let release = config.colors[color].release.as_str().into();
                self.admissions(config, decision, &Serving { color, release, mark: None })
            }
        };
        Some(Box::new(Linger::new(&config.linger.paths, config.linger.budget_percent, idle)))
    }
}
