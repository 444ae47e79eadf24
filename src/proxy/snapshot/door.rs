//! The door: what a snapshot does with requests that it has no admission for.

use std::sync::Arc;
use std::time::Instant;

use crate::config::HoldConfig;
use crate::proxy::notice::Notice;

#[derive(Clone, Debug)]
pub(crate) enum Door {
    Open,
    Held { until: Instant, limits: HoldConfig },
    Maintenance(Arc<Notice>),
}
