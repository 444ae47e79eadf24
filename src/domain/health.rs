//! The health of one endpoint, by consecutive probe results.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet. Used only if no endpoint is up.
    Unknown,
    Up,
    /// It gets no requests.
    Down,
}

/// Follows the probes of one endpoint. The first result decides at once. Afterwards `rise` consecutive passes bring it
/// up and `fall` consecutive failures bring it down, so a lost packet changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Hysteresis {
    health: Health,
    /// Consecutive results that contradict `health`.
    against: u32,
    /// The first pass does not bring it up.
    joins: bool,
}

impl Default for Hysteresis {
    fn default() -> Hysteresis {
        Hysteresis { health: Health::Unknown, against: 0, joins: false }
    }
}

impl Hysteresis {
    /// For an endpoint that joins others: `rise` passes bring it up the first time.
    #[must_use]
    pub(crate) fn joining() -> Hysteresis {
        Hysteresis { joins: true, ..Hysteresis::default() }
    }

    #[must_use]
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    #[must_use]
    pub(crate) fn passed(&self) -> u32 {
        // With a limit of one failure, only passes are counted.
        if self.health == Health::Up { 0 } else { self.against }
    }

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
