//! The first mutating request that a release accepted: some releases can be taken back only until then.
//!
//! A request pays a branch where nobody waits for it, a relaxed load where somebody does, and one of them a store and a
//! message to the controller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use crate::wire::head::{Head, Name};

/// Waits for the first write of one release.
pub(crate) struct FirstWrite {
    pub(crate) release: Arc<str>,
    happened: AtomicBool,
    tell: mpsc::UnboundedSender<FirstWriteSeen>,
}

/// A release accepted its first write.
#[derive(Debug)]
pub struct FirstWriteSeen {
    /// Which.
    pub release: Arc<str>,
    /// When its answer came.
    pub at: SystemTime,
    /// The id of the request.
    pub request: String,
}

impl fmt::Debug for FirstWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstWrite({})", self.release)
    }
}

impl FirstWrite {
    pub(crate) fn new(release: Arc<str>, tell: mpsc::UnboundedSender<FirstWriteSeen>) -> FirstWrite {
        FirstWrite { release, happened: AtomicBool::new(false), tell }
    }

    /// An endpoint answered a request with this status. Called before the client sees the answer.
    pub(crate) fn answered(&self, request: &Head, status: u16) {
        let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].into_iter().any(|method| request.is_method(method));
        // A form is answered with a redirect to what to look at next (RFC 9110, 15.4.4).
        let accepted = matches!(status, 200..=299 | 301..=303);
        if self.happened.load(Ordering::Relaxed) || safe || !accepted {
            return;
        }
        if !self.happened.swap(true, Ordering::Relaxed) {
            let id = request.get(Name::XRequestId).unwrap_or_default();
            // Nobody listens any more when the process ends.
            let _ = self.tell.send(FirstWriteSeen {
                release: Arc::clone(&self.release),
                at: SystemTime::now(),
                request: String::from_utf8_lossy(id).into_owned(),
            });
        }
    }
}
