//! Listeners opened by another process: the one before an upgrade, or the service manager.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{SockRef, Type};

#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    key: String,
    socket: OwnedFd,
    /// A socket file of this process, which removes it at the end and restores it.
    owned: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct OpenUnix {
    pub(crate) socket: UnixListener,
    pub(crate) owned: bool,
}

impl Inherited {
    pub(crate) fn add(&mut self, key: &str, socket: OwnedFd) {
        self.sockets.push(Open { key: key.to_owned(), socket, owned: None });
    }

    pub(crate) fn add_owned(&mut self, key: &str, socket: OwnedFd, path: PathBuf) {
        self.sockets.push(Open { key: key.to_owned(), socket, owned: Some(path) });
    }

    /// Port 0 matches any port.
    pub(crate) fn take_tcp(&mut self, key: &str, address: SocketAddr) -> Vec<TcpListener> {
        let found = self.take(key, |open| is_at(&open.socket, address));
        found.into_iter().map(|open| TcpListener::from(open.socket)).collect()
    }

    pub(crate) fn take_unix(&mut self, key: &str, path: &Path) -> Option<OpenUnix> {
        let is_it = |open: &Open| match &open.owned {
            Some(owned) => owned == path,
            None => is_at_path(&open.socket, path),
        };
        let Open { socket, owned, .. } = self.take(key, is_it).pop()?;
        Some(OpenUnix { socket: socket.into(), owned: owned.is_some() })
    }

    fn take(&mut self, key: &str, is_it: impl Fn(&Open) -> bool) -> Vec<Open> {
        let all = std::mem::take(&mut self.sockets).into_iter();
        let (found, others) = all.partition(|open| open.key == key && is_it(open));
        self.sockets = others;
        found
    }
}

pub(crate) fn is_listener(socket: &OwnedFd) -> bool {
    let socket = SockRef::from(socket);
    socket.r#type().is_ok_and(|kind| kind == Type::STREAM) && socket.is_listener().unwrap_or(false)
}

/// Port 0 matches any port.
pub(crate) fn is_at(socket: &OwnedFd, address: SocketAddr) -> bool {
    let at = SockRef::from(socket).local_addr().ok().and_then(|at| at.as_socket());
    at.is_some_and(|at| at.ip() == address.ip() && (at.port() == address.port() || address.port() == 0))
}

pub(crate) fn is_at_path(socket: &OwnedFd, path: &Path) -> bool {
    let at = SockRef::from(socket).local_addr().ok();
    at.and_then(|at| at.as_pathname().map(|at| at == path)).unwrap_or(false)
}

pub(crate) fn address(socket: &OwnedFd) -> String {
    match SockRef::from(socket).local_addr() {
        Ok(at) => match (at.as_socket(), at.as_pathname()) {
            (Some(at), _) => at.to_string(),
            (None, Some(path)) => format!("unix:{}", path.display()),
            (None, None) => "an unknown address".to_owned(),
        },
        Err(error) => format!("an unknown address ({error})"),
    }
}
