//! The unix socket of the admin API: its permissions, and the restoration of its file.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::net::{UnixListener, UnixStream};

use crate::sys::inherited::OpenUnix;

#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    mode: u32,
    group: Option<u32>,
    /// This process removes the file at its end, and restores it.
    owned: bool,
    /// The owner hands over, and has not done so yet.
    inherits: bool,
    trouble: Option<String>,
}

impl Socket {
    pub(super) fn bind(path: &Path, mode: u32, group: Option<&str>) -> io::Result<Socket> {
        let group = group.map(group_id).transpose()?;
        let (listener, inode) = bind(path, mode, group)?;
        Ok(Socket { listener, path: path.to_owned(), inode, mode, group, owned: true, inherits: false, trouble: None })
    }

    pub(super) fn adopt(open: OpenUnix, path: &Path, mode: u32, group: Option<&str>) -> io::Result<Socket> {
        let group = group.map(group_id).transpose()?;
        open.socket.set_nonblocking(true)?;
        let inode = fs::symlink_metadata(path).map_or(0, |found| found.ino());
        let listener = UnixListener::from_std(open.socket)?;
        let (path, inherits) = (path.to_owned(), open.owned);
        Ok(Socket { listener, path, inode, mode, group, owned: false, inherits, trouble: None })
    }

    pub(super) fn handle(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    pub(super) fn is_owned(&self) -> bool {
        self.owned
    }

    /// The owner before has handed over.
    pub(super) fn inherit(&mut self) {
        self.owned |= self.inherits;
    }

    pub(super) fn disown(&mut self) {
        self.owned = false;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Restores a deleted file, without which clients find nobody.
    pub(super) fn look_after(&mut self) {
        if !self.owned || fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            return;
        }
        let path = self.path.display();
        match bind(&self.path, self.mode, self.group) {
            Ok((listener, inode)) => {
                (self.listener, self.inode, self.trouble) = (listener, inode, None);
                tracing::info!(file = %path, "Admin socket made again");
            }
            Err(error) => {
                let error = error.to_string();
                if self.trouble.as_ref() != Some(&error) {
                    tracing::error!(file = %path, error, "Admin socket gone, and not made again");
                    self.trouble = Some(error);
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another process may have put its own socket there.
        if self.owned && fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds in a private directory and moves the socket into place once its mode is right: nobody can connect before that,
/// and clients always find a socket at the path.
fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<(UnixListener, u64)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let what = format!("{} exists and is not a socket; remove it or choose another path", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, what));
        }
        Ok(_) if StdUnixStream::connect(path).is_ok() => {
            let what = format!("another process answers at {}; stop it or choose another path", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, what));
        }
        // Nothing there, or a socket of an ended process.
        Ok(_) | Err(_) => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let in_place = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let private = tempfile::Builder::new().prefix(".c").rand_bytes(4).tempdir_in(parent).map_err(in_place)?;
    let hidden = private.path().join("s");
    let listener = StdUnixListener::bind(&hidden).map_err(in_place)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(&hidden, None, Some(group)).map_err(|error| {
            let what = format!("listen.admin_group: the socket can't be given to the group {group}: {error}");
            io::Error::new(error.kind(), what)
        })?;
    }
    fs::set_permissions(&hidden, fs::Permissions::from_mode(mode))?;
    let inode = fs::symlink_metadata(&hidden)?.ino();
    fs::rename(&hidden, path).map_err(in_place)?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, inode))
}

/// Looks up a group: a number, a name in /etc/group, or one that `getent` knows.
fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let in_lines = |text: &str| text.lines().find_map(|line| id_in(line, name));
    let local = fs::read_to_string("/etc/group").ok().and_then(|text| in_lines(&text));
    let asked = || {
        let output = Command::new("getent").args(["group", name]).output().ok()?;
        in_lines(&String::from_utf8_lossy(&output.stdout))
    };
    local.or_else(asked).ok_or_else(|| {
        let what = format!("listen.admin_group: there is no group {name:?}; make it (groupadd), or name another one");
        io::Error::new(ErrorKind::NotFound, what)
    })
}

/// `name:x:NUMBER:members`
fn id_in(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    (fields.next()? == name).then(|| fields.nth(1))?.and_then(|number| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_number_and_by_name() {
        assert_eq!(group_id("4711").expect("a number"), 4711);
        assert_eq!(id_in("deploy:x:1005:alice,bob", "deploy"), Some(1005));
        assert_eq!(id_in("deployer:x:1005:", "deploy"), None);
        let missing = group_id("no-such-group-anywhere").expect_err("it is not there").to_string();
        assert!(missing.contains("listen.admin_group") && missing.contains("no-such-group-anywhere"), "{missing}");
    }
}
