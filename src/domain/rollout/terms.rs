//! The target of a command, and its deviations from the configuration.

use std::time::Duration;

use crate::domain::color::Color;
use crate::domain::release::Release;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    #[default]
    Other,
    Color(Color),
    Release(Release),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub gate: Option<Duration>,
    pub bake: Option<Duration>,
    /// The command was forced although the file could not be taken in.
    pub past_file: bool,
}
