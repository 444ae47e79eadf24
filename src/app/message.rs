//! Messages between two processes during an upgrade. Versions of the program that follow each other have to
//! understand it: fields and messages are only added.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::handover;

/// Changes when an older process could not be replaced by a newer one.
pub(super) const PROTOCOL: u32 = 1;

/// Told to the new process that its standard input is a channel.
pub(super) const VARIABLE: &str = "CUTOVER_UPGRADE";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum Message {
    /// The first one, from the running process.
    Hello {
        protocol: u32,
        pid: u32,
        version: String,
        /// The new process gets nothing before it has said `Present`.
        #[serde(default)]
        asks: bool,
        /// Settings and files that the running process can't use, so that the new one need not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unusable: Vec<(String, String)>,
    },
    /// The new process speaks this protocol.
    Present,
    /// Listeners of one key of `[listen]`, as descriptors.
    Listeners {
        key: String,
        /// The file of a unix socket that the running process has made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owned: Option<PathBuf>,
    },
    /// That was all.
    Begin,
    /// The new process has a valid configuration, and wants the ledger.
    Loaded,
    /// The running process decides nothing now. Its descriptors are the channels of the processes before it, and last
    /// the lock of the ledger.
    Ledger {
        generation: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<u32>,
    },
    /// All of the new process's workers answer, by this decision.
    Ready { generation: u64, version: String },
    /// It may accept.
    Go,
    /// It accepts.
    Serving,
    /// The running process never writes or decides again.
    Done,
    /// The new process can't, and nothing has changed.
    Failed { reason: String },
    /// The running process serves on, and the new one has to end.
    Withdrawn,
}

pub(super) fn send(channel: &impl AsFd, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    handover::send(channel, &text, descriptors)
}

/// `None`: the other process has ended.
pub(super) fn receive(channel: &impl AsFd) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let Some((text, descriptors)) = handover::receive(channel)? else { return Ok(None) };
    let message = serde_json::from_slice(&text)
        .map_err(|error| io::Error::other(format!("a message of the other version is not understood: {error}")))?;
    Ok(Some((message, descriptors)))
}
