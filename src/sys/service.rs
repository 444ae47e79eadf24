//! What a service manager is told, by the `sd_notify` protocol. Without one, nothing happens.

use sd_notify::NotifyState;

/// Traffic is served.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The shutdown has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(crate) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "The service manager could not be told.");
    }
}
