//! What a command says of its move: where it goes, and what is to be otherwise than configured.

use std::time::Duration;

use crate::domain::color::Color;
use crate::domain::release::Release;

/// Which color a switch goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The one that does not serve.
    #[default]
    Other,
    /// This one.
    Color(Color),
    /// The one that has this release.
    Release(Release),
}

/// What one move is to do otherwise than configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long it may wait for its gate.
    pub gate: Option<Duration>,
    /// How long its release has to serve to be known good.
    pub bake: Option<Duration>,
    /// The file could not be taken in first, and the command was forced past that.
    pub past_file: bool,
}
