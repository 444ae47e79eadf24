//! What happens to requests that are not simply served: held, told of maintenance, shown the other color.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Page, PreviewSecret};

/// `[hold]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldConfig {
    /// Requests that may wait, over all workers.
    pub max_requests: usize,
    /// What they may occupy, in bytes.
    pub max_bytes: usize,
    /// How long a request waits at most, and how long a move may hold them.
    pub timeout: Duration,
    /// The readiness path goes on to answer 200 meanwhile.
    pub ready: bool,
}

/// `[maintenance]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceConfig {
    /// 400 to 599.
    pub status: u16,
    /// When clients may come back.
    pub retry_after: Duration,
    /// What they are shown; `None`: a sentence.
    pub page: Option<Arc<Page>>,
}

/// `[preview]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewConfig {
    /// The field that asks for a color; in lower case.
    pub header: String,
    /// Whoever sends it along may ask.
    pub secret: Option<PreviewSecret>,
    /// Clients that may ask without it.
    pub allow: Vec<IpNet>,
    /// Everything for this host is for the color that does not serve; in lower case, without a port.
    pub host: Option<String>,
    /// Answers say which color they are from.
    pub name_color: bool,
}
