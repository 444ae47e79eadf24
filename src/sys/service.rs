//! The service manager, by the `sd_notify` protocol. Without one, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The process serves, or has finished a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// [`ready`] ends a reload or an upgrade.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "Monotonic clock unreadable"),
    }
}

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service from now on.
pub(crate) fn main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// One line for `systemctl status`.
pub(crate) fn status(text: &str) {
    // A line feed would begin another variable.
    tell(&[NotifyState::Status(&text.replace(['\n', '\r'], " "))]);
}

/// Watchdog period; `None`: no watchdog.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    // Set for another process, such as a parent shell. An upgrade removes it.
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|micros| *micros > 0).map(Duration::from_micros)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "Service manager not told");
    }
}
