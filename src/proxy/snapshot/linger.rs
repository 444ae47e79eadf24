//! The other color, for what one color fails at or does not know.

use std::sync::Arc;

use crate::config::Config;
use crate::domain::color::Color;
use crate::domain::transition::Decision;
use crate::proxy::snapshot::door::Door;
use crate::proxy::snapshot::route::Paths;
use crate::proxy::snapshot::{Admission, Admissions, Compiler, Serving, Snapshot};

/// Where files linger, in one snapshot.
#[derive(Debug)]
pub(crate) struct Linger {
    pub(crate) paths: Paths<()>,
    pub(crate) percent: u32,
    /// Of the color that stopped serving; empty where both serve.
    pub(crate) idle: Admissions,
}

impl Linger {
    fn new(paths: &[String], percent: u8, idle: Admissions) -> Linger {
        let mut all = Paths::default();
        for path in paths {
            all.insert(path, ());
        }
        Linger { paths: all, percent: percent.into(), idle }
    }
}

impl Snapshot {
    /// For a request that a color has failed: the other one, if that serves.
    #[cold]
    pub(crate) fn admit_beside(&self, color: Color, worker: usize, host: &str, path: &str) -> Option<Arc<Admission>> {
        let upstream = self.routes.find(host, path)?.upstream;
        let admissions = match (&self.split, color == self.active) {
            (_, false) => &self.admissions,
            (Some(splitting), true) => &splitting.other,
            (None, true) => return None,
        };
        Some(Arc::clone(&admissions.get(upstream)?[worker]))
    }

    /// For a file that this color does not know: the other one.
    #[cold]
    pub(crate) fn admit_lingering(
        &self,
        color: Color,
        worker: usize,
        host: &str,
        path: &str,
    ) -> Option<Arc<Admission>> {
        let linger = self.linger.as_ref()?;
        if color != self.active || self.split.is_some() {
            return self.admit_beside(color, worker, host, path);
        }
        let upstream = self.routes.find(host, path)?.upstream;
        Some(Arc::clone(&linger.idle.get(upstream)?[worker]))
    }
}

impl Compiler {
    /// Which color that does not serve may be asked from the next snapshot on.
    pub(crate) fn linger(&mut self, color: Option<Color>) {
        self.lingering = color;
    }

    /// Whether files linger: the other color serves, or did until not long ago.
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
