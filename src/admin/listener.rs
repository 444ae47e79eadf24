//! Where the admin API listens: TCP, or a unix socket that only its owner may open.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::admin::auth::Peer;
use crate::config::AdminAddress;

/// A bound listener.
#[derive(Debug)]
pub struct AdminListener {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf, inode: u64 },
}

impl AdminListener {
    /// Binds; to be called within a runtime.
    pub fn bind(address: &AdminAddress) -> io::Result<AdminListener> {
        let kind = match address {
            AdminAddress::Tcp(address) => {
                let socket =
                    if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
                // A restart must not wait for the connections of the process before.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                Kind::Tcp(socket.listen(128)?)
            }
            AdminAddress::Unix(path) => {
                let (listener, inode) = bind_unix(path)?;
                Kind::Unix { listener, path: path.clone(), inode }
            }
        };
        Ok(AdminListener { kind })
    }

    /// Where it is bound (port 0 resolved).
    #[must_use]
    pub fn address(&self) -> AdminAddress {
        match &self.kind {
            Kind::Tcp(listener) => {
                let unknown = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
                AdminAddress::Tcp(listener.local_addr().unwrap_or(unknown))
            }
            Kind::Unix { path, .. } => AdminAddress::Unix(path.clone()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are small and awaited.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::tcp(peer)))
            }
            Kind::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Peer::unix(uid)))
            }
        }
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        if let Kind::Unix { path, inode, .. } = &self.kind {
            // Unless another process has put its own there.
            if fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *inode) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Binds in a directory that nobody else can enter and moves the socket out of it when its mode is right, so that
/// there is no moment in which others could connect, nor one in which a client finds nothing at the path.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, u64)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let what = format!("{} exists and is not a socket; remove it or choose another path", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, what));
        }
        Ok(_) if StdUnixStream::connect(path).is_ok() => {
            let what = format!("another process answers at {}; stop it or choose another path", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, what));
        }
        // Nothing there, or left behind by a process that is gone.
        Ok(_) | Err(_) => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let in_place = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let private = tempfile::Builder::new().prefix(".c").rand_bytes(4).tempdir_in(parent).map_err(in_place)?;
    let hidden = private.path().join("s");
    let listener = StdUnixListener::bind(&hidden).map_err(in_place)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
    let inode = fs::symlink_metadata(&hidden)?.ino();
    fs::rename(&hidden, path).map_err(in_place)?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, inode))
}

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
