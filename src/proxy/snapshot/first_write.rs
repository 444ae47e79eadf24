//! The first mutating request that a release accepted: some releases can be taken back only until then.
//!
//! A request pays a branch if no such release serves, otherwise a relaxed load; the first write pays a store and a
//! message to the controller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use crate::wire::head::{Head, Name};

pub(crate) struct FirstWrite {
    pub(crate) release: Arc<str>,
    happened: AtomicBool,
    tell: mpsc::UnboundedSender<FirstWriteSeen>,
}

#[derive(Debug)]
pub struct FirstWriteSeen {
    pub release: Arc<str>,
    pub at: SystemTime,
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

    /// Call it before the client sees the answer.
    pub(crate) fn answered(&self, request: &Head, status: u16) {
        let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].into_iter().any(|method| request.is_method(method));
        // A form is answered with a redirect (RFC 9110, 15.4.4).
        let accepted = matches!(status, 200..=299 | 301..=303);
        if self.happened.load(Ordering::Relaxed) || safe || !accepted {
            return;
        }
        if !self.happened.swap(true, Ordering::Relaxed) {
            let id = request.get(Name::XRequestId).unwrap_or_default();
            let _ = self.tell.send(FirstWriteSeen {
                release: Arc::clone(&self.release),
                at: SystemTime::now(),
                request: String::from_utf8_lossy(id).into_owned(),
            });
        }
    }
}
