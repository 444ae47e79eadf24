//! The health of one endpoint: rise and fall hysteresis over probe results.

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet. Used only where no endpoint is up.
    Unknown,
    /// Passes its checks.
    Up,
    /// Fails its checks; gets no requests.
    Down,
}

/// Follows the probes of one endpoint. The first result decides at once; after that it takes `rise` passes in a row to
/// come up and `fall` failures in a row to go down, so that one lost packet moves nothing.
#[derive(Clone, Debug)]
pub(crate) struct Hysteresis {
    health: Health,
    /// Results in a row that speak against `health`.
    against: u32,
    /// One pass is not enough to come up the first time.
    joins: bool,
}

impl Default for Hysteresis {
    fn default() -> Hysteresis {
        Hysteresis { health: Health::Unknown, against: 0, joins: false }
    }
}

impl Hysteresis {
    /// For an endpoint that joins others that serve: it takes `rise` passes to come up the first time.
    #[must_use]
    pub(crate) fn joining() -> Hysteresis {
        Hysteresis { joins: true, ..Hysteresis::default() }
    }

    /// What is known.
    #[must_use]
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Passes in a row of an endpoint that is not up.
    #[must_use]
    pub(crate) fn passed(&self) -> u32 {
        // Where one failure decides, only passes are counted.
        if self.health == Health::Up { 0 } else { self.against }
    }

    /// Takes one result; the new health, if it changed.
    pub(crate) fn observe(&mut self, passed: bool, rise: u32, fall: u32) -> Option<Health> {
        let says = if passed { Health::Up } else { Health::Down };
        if says == self.health {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match self.health {
            Health::Unknown if self.joins && passed => rise,
            Health::Unknown => 1,
            Health::Up => fall,
            Health::Down => rise,
        };
        if self.against < needed {
            return None;
        }
        self.health = says;
        self.against = 0;
        Some(says)
    }
}

#[cfg(test)]
mod tests;
