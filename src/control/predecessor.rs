//! The process that served before an upgrade. Its clients may have connections without a request; before a decision
//! takes effect here, these are closed there, so that no request is answered by the decision before.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::sys::handover;

/// How long a move waits for it. It needs a moment, if it lives.
const PATIENCE: Duration = Duration::from_millis(100);

/// One that may have connections.
#[derive(Debug)]
pub(crate) struct Predecessor(OwnedFd);

impl Predecessor {
    pub(crate) fn new(channel: OwnedFd) -> Predecessor {
        Predecessor(channel)
    }

    /// Has it close connections without a request, and waits for that. One that is gone has none.
    pub(super) fn close_idle(self) {
        let closed = handover::set_patience(&self.0, Some(PATIENCE))
            .and_then(|()| handover::send(&self.0, b"moved", &[]))
            .and_then(|()| handover::receive(&self.0));
        if let Err(error) = closed {
            tracing::debug!(%error, "No answer from the process before the upgrade");
        }
    }
}
