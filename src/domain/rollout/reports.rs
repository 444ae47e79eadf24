//! Reports about the colors: fitness, and the last gate checks.

use crate::domain::color::{Color, PerColor};
use crate::domain::gate::CheckReport;
use crate::domain::release::Release;
use crate::domain::rollout::Fitness;

type LastChecks = (Color, Release, Vec<CheckReport>);

#[derive(Debug, Default)]
pub(super) struct ColorReports {
    fitness: PerColor<Fitness>,
    last_checks: Option<LastChecks>,
}

impl ColorReports {
    pub(super) fn set_fitness(&mut self, color: Color, fitness: Fitness) {
        self.fitness[color] = fitness;
    }

    pub(super) fn fitness(&self, color: Color) -> &Fitness {
        &self.fitness[color]
    }

    pub(super) fn down(&self, color: Color) -> Option<&str> {
        match &self.fitness[color] {
            Fitness::Down(why) => Some(why),
            Fitness::Fit | Fitness::Unknown => None,
        }
    }

    pub(super) fn set_checks(&mut self, color: Color, release: Release, checks: Vec<CheckReport>) {
        self.last_checks = Some((color, release, checks));
    }

    /// `None` once another release is deployed there.
    pub(super) fn last_checks(&self, deployed: &PerColor<Release>) -> Option<LastChecks> {
        self.last_checks.clone().filter(|(color, of, _)| deployed[*color] == *of)
    }
}
