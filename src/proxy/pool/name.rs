//! The known addresses of a name.
//!
//! The task that resolves the name writes a [`Resolution`]; the snapshot compiler makes an endpoint of each address. A
//! connection to a name without an address waits for the first answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

#[derive(Debug, Default)]
pub struct Resolution {
    known: watch::Sender<Known>,
    suspected: Notify,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Sorted; empty before the first answer. A failure changes nothing here.
    pub addresses: Arc<[SocketAddr]>,
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    pub since: SystemTime,
}

impl Known {
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.addresses.is_empty() && self.failure.is_none()
    }
}

impl Resolution {
    pub fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Returns true if the addresses changed.
    pub fn resolved(&self, addresses: Vec<SocketAddr>) -> bool {
        let addresses: Arc<[SocketAddr]> = addresses.into();
        let mut changed = false;
        self.known.send_modify(|known| {
            changed = known.addresses != addresses;
            *known = Known { addresses, failure: None };
        });
        changed
    }

    pub fn failed(&self, reason: String, now: SystemTime) {
        self.known.send_modify(|known| {
            let since = known.failure.as_ref().map_or(now, |failure| failure.since);
            known.failure = Some(Failure { reason, since });
        });
    }

    pub async fn first(&self) -> Result<Arc<[SocketAddr]>, String> {
        let mut known = self.known.subscribe();
        let known = known.wait_for(|known| !known.is_pending()).await.map_err(|_| "the proxy is stopping")?;
        match &known.failure {
            Some(failure) if known.addresses.is_empty() => Err(failure.reason.clone()),
            _ => Ok(Arc::clone(&known.addresses)),
        }
    }

    /// An address failed: the name may have others by now.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }
}
