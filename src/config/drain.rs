//! How what began before a switch is ended.

use std::time::Duration;

/// `[drain]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// What is left after this is ended.
    pub timeout: Duration,
    /// What happens to tunnels at a switch.
    pub streams: Streams,
    /// With [`Streams::Spread`]: over which time.
    pub spread: Duration,
}

impl DrainConfig {
    /// Over which time tunnels are ended at a switch; `None`: they are not.
    #[must_use]
    pub fn ends_tunnels_over(&self) -> Option<Duration> {
        match self.streams {
            Streams::Keep => None,
            Streams::Close => Some(Duration::ZERO),
            Streams::Spread => Some(self.spread),
        }
    }
}

/// `drain.streams`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Tunnels live on, until they end or the drain does.
    Keep,
    /// Tunnels are closed at the switch.
    Close,
    /// Tunnels are closed one after the other.
    Spread,
}
