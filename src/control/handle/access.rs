//! How the admin API is reached and by whom: what its listener takes from the configuration in force.

use std::sync::Arc;

use crate::config::{Config, TokenConfig};
use crate::proxy::snapshot::trust::Trust;
use crate::tls::ServerTls;

/// Changes as a whole, with the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Each with its role.
    pub(crate) tokens: Arc<[TokenConfig]>,
    /// `[admin.tls]`; `None`: plain HTTP.
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// A client certificate stands for an operator's token (`admin.tls.client_ca`).
    pub(crate) certificates: bool,
}

impl Access {
    pub(crate) fn new(config: &Config, trust: &Trust) -> Access {
        let certificates = config.admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        Access { tokens: Arc::from(config.admin.tokens.clone()), tls: trust.admin().cloned(), certificates }
    }

    /// Everybody who reaches the address is an operator.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_empty() && !self.certificates
    }
}
