//! Listeners that the service manager has opened (`LISTEN_FDS`, `LISTEN_FDNAMES`): socket activation.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// Descriptors with names, in order; empty without activation, and after the first call.
pub(crate) fn take() -> io::Result<Vec<(Option<String>, OwnedFd)>> {
    static TAKEN: std::sync::Once = std::sync::Once::new();
    let mut first = false;
    TAKEN.call_once(|| first = true);
    let variable = |name| std::env::var(name).ok();
    let number = |name| variable(name).and_then(|value| value.parse::<u32>().ok());
    if !first || number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned).filter(|name| !name.is_empty());
    (FIRST..FIRST + count)
        .map(|descriptor| {
            #[expect(unsafe_code, reason = "descriptors that are named by their number in a variable")]
            // SAFETY: the service manager passed it to this process, and `TAKEN` lets only one owner be made.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            // Fails where the variable names a descriptor that is not open.
            rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
            Ok((names.next(), descriptor))
        })
        .collect()
}
