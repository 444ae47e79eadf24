//! The maintenance response.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Page;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) status: u16,
    pub(crate) retry_after: Duration,
    pub(crate) page: Option<Arc<Page>>,
}
