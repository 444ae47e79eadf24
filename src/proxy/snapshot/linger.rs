//! The other color, for requests that one color fails or for files that it does not have.

use std::sync::Arc;

use crate::domain::color::Color;
use crate::proxy::snapshot::Snapshot;
use crate::proxy::snapshot::admission::{Admission, Admissions};
use crate::proxy::snapshot::route::Paths;

#[derive(Debug)]
pub(crate) struct Linger {
    pub(crate) paths: Paths<()>,
    pub(crate) percent: u32,
    pub(crate) idle: Admissions,
}

impl Linger {
    pub(super) fn new(paths: &[String], percent: u8, idle: Admissions) -> Linger {
        let mut all = Paths::default();
        for path in paths {
            all.insert(path, ());
        }
        Linger { paths: all, percent: percent.into(), idle }
    }
}

impl Snapshot {
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
