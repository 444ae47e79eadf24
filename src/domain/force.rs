//! The guards of a move, and those that an operator overrides.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    Health,
    Quarantine,
    Schema,
    File,
    Cooldown,
    Bake,
}

impl Guard {
    pub const NAMES: [(&'static str, Guard); 6] = [
        ("health", Guard::Health),
        ("quarantine", Guard::Quarantine),
        ("schema", Guard::Schema),
        ("file", Guard::File),
        ("cooldown", Guard::Cooldown),
        ("bake", Guard::Bake),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Guard::NAMES.iter().find(|(_, guard)| *guard == self).map_or("", |(name, _)| name)
    }

    /// One line for `--help`.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Guard::Health => "The gate: the target's endpoints are not probed",
            Guard::Quarantine => "The quarantine of a release that was bad",
            Guard::Schema => "The data stores, which do not allow the move; needs a --reason",
            Guard::File => "A configuration file that is not valid, or being written",
            Guard::Cooldown => "The cooldown after an automatic rollback (canary start)",
            Guard::Bake => "Another release that bakes with a hold-back (canary start)",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Guard> {
        Guard::NAMES.iter().find(|(known, _)| *known == name).map(|(_, guard)| *guard)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Force(u8);

impl Force {
    pub const NONE: Force = Force(0);
    pub const ALL: Force = Force(u8::MAX);

    #[must_use]
    pub fn overrides(self, guard: Guard) -> bool {
        self.0 & (1 << guard as u8) != 0
    }

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Force::NONE
    }
}

impl From<bool> for Force {
    fn from(all: bool) -> Force {
        if all { Force::ALL } else { Force::NONE }
    }
}

impl FromIterator<Guard> for Force {
    fn from_iter<I: IntoIterator<Item = Guard>>(guards: I) -> Force {
        Force(guards.into_iter().fold(0, |bits, guard| bits | 1 << guard as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_force_overrides_the_guards_that_it_names_and_no_other() {
        let some: Force = [Guard::Health, Guard::Schema].into_iter().collect();
        let overridden = Guard::NAMES.iter().filter(|(_, guard)| some.overrides(*guard)).map(|(name, _)| *name);
        assert_eq!(overridden.collect::<Vec<_>>(), ["health", "schema"]);
        assert!(Guard::NAMES.iter().all(|(_, guard)| Force::ALL.overrides(*guard) && !Force::NONE.overrides(*guard)));
        assert!(Force::NONE.is_none() && Force::from(false).is_none() && !some.is_none());
        assert!(Guard::NAMES.iter().all(|(name, guard)| Guard::named(name) == Some(*guard) && guard.name() == *name));
    }
}
