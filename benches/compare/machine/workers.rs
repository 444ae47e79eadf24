//! The workers of a proxy, as the kernel tells of them: which client each has, and how long it waited for its core.
//!
//! Every worker waits for its connections with an epoll(7) of its own, whether it is a thread or a process.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::machine::process::{Process, listed, usage_of_thread};

/// The state of an open connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// For each worker that has clients, their ports. Clients are on this machine, by IPv4.
pub(crate) fn clients_by_worker(proxy: &Process, at: SocketAddr) -> Vec<Vec<u16>> {
    let mut clients = clients(at.port());
    let files = proxy.tree().into_iter().flat_map(|process| {
        listed(&format!("/proc/{process}/fdinfo")).map(move |file| format!("/proc/{process}/fdinfo/{file}"))
    });
    let workers = files.map(|file| {
        // A second descriptor of the same epoll finds nothing left.
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| clients.remove(&watched(line)?)).collect::<Vec<u16>>()
    });
    workers.filter(|clients| !clients.is_empty()).collect()
}

/// The threads of the workers, to be read again and again.
pub(crate) struct Workers(Vec<String>);

impl Workers {
    /// Looks through all processes of the machine, which takes milliseconds. Cutover names the threads of its workers;
    /// other proxies have no other threads that do much.
    pub(crate) fn of(proxy: &Process) -> Workers {
        let threads = proxy.tree().into_iter().flat_map(|process| {
            listed(&format!("/proc/{process}/task")).map(move |thread| format!("/proc/{process}/task/{thread}"))
        });
        let threads: Vec<String> = threads.collect();
        let is_worker = |thread: &&String| {
            fs::read_to_string(format!("{thread}/comm")).is_ok_and(|name| name.starts_with("worker-"))
        };
        let workers: Vec<String> = threads.iter().filter(is_worker).cloned().collect();
        Workers(if workers.is_empty() { threads } else { workers })
    }

    /// Time in which a worker could have run while something else had its core, of all workers together.
    pub(crate) fn waited(&self) -> Duration {
        self.0.iter().map(|thread| usage_of_thread(thread).waited).sum()
    }
}

/// The inodes of the connections that a port accepted, and the ports at the other end.
fn clients(port: u16) -> HashMap<u64, u16> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let connections = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, remote, state, .., inode] = *fields.get(..10)? else { return None };
        let port_of = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
        let is_client = state == ESTABLISHED && port_of(local) == Some(port);
        Some((inode.parse().ok()?, port_of(remote)?)).filter(|_| is_client)
    });
    connections.collect()
}

/// The inode of what an epoll watches: `tfd: 5 events: 19 data: 5 pos:0 ino:1f3a sdev:8`.
fn watched(line: &str) -> Option<u64> {
    let (_, after) = line.strip_prefix("tfd:")?.split_once("ino:")?;
    u64::from_str_radix(after.split_ascii_whitespace().next()?, 16).ok()
}
