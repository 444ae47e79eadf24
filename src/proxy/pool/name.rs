//! The addresses behind a name, as far as they are known.
//!
//! A [`Resolution`] is written by the task that resolves the name. The compiler of snapshots reads it to make one
//! endpoint of each address. A connection to a name without an address waits for its first answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

/// One name, in all pools that have it.
#[derive(Debug, Default)]
pub struct Resolution {
    known: watch::Sender<Known>,
    suspected: Notify,
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The addresses in use, sorted; empty until a first answer has some. A failure changes nothing here.
    pub addresses: Arc<[SocketAddr]>,
    /// Why the last attempt brought no address.
    pub failure: Option<Failure>,
}

/// Why a name has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In a few words.
    pub reason: String,
    /// When this series of failures began.
    pub since: SystemTime,
}

impl Known {
    /// The first attempt has not ended.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.addresses.is_empty() && self.failure.is_none()
    }
}

impl Resolution {
    /// What is known now.
    pub fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Takes an answer. True: the addresses are others than before.
    pub fn resolved(&self, addresses: Vec<SocketAddr>) -> bool {
        let addresses: Arc<[SocketAddr]> = addresses.into();
        let mut changed = false;
        self.known.send_modify(|known| {
            changed = known.addresses != addresses;
            *known = Known { addresses, failure: None };
        });
        changed
    }

    /// Takes note of a failure; the addresses stay.
    pub fn failed(&self, reason: String, now: SystemTime) {
        self.known.send_modify(|known| {
            let since = known.failure.as_ref().map_or(now, |failure| failure.since);
            known.failure = Some(Failure { reason, since });
        });
    }

    /// Waits until the first attempt has ended; the addresses, or why there are none.
    pub async fn first(&self) -> Result<Arc<[SocketAddr]>, String> {
        let mut known = self.known.subscribe();
        let known = known.wait_for(|known| !known.is_pending()).await.map_err(|_| "the proxy is stopping")?;
        match &known.failure {
            Some(failure) if known.addresses.is_empty() => Err(failure.reason.clone()),
            _ => Ok(Arc::clone(&known.addresses)),
        }
    }

    /// An address failed: the name may stand for others by now.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Waits for [`Resolution::suspect`].
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }
}
