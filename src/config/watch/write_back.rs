//! Edits of the file by the proxy. The rest of the text stays byte for byte, and the owner, group, mode, ACL and
//! extended attributes stay.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::config;
use crate::domain::color::Color;

pub(super) const EDITED: &str = "the file was edited at the same time";

/// Writes `color` into the file with the content `text`, calls `pause` between its steps, and returns the new content.
/// `elsewhere` is a directory for the copy if the file's own has no room.
pub(super) fn write_back(
    path: &Path,
    text: &str,
    color: Color,
    elsewhere: &Path,
    pause: fn(),
) -> Result<String, String> {
    let next = with_active(text, color)?;
    if next == text {
        return Ok(next);
    }
    let real = real(path)?;
    let otherwise = " or turn `state.write_back` off";
    Edit { path, real: &real, text, next: &next, otherwise, pause }.make(elsewhere)?;
    Ok(next)
}

/// Replaces the content `text` by `next`. `otherwise` is the repair in the message, beside granting the right to
/// write.
pub(super) fn replace(path: &Path, text: &str, next: &str, elsewhere: &Path, otherwise: &str) -> Result<(), String> {
    Edit { path, real: &real(path)?, text, next, otherwise, pause: || {} }.make(elsewhere)
}

/// Tries [`replace`] without touching the file.
pub(super) fn rehearse(path: &Path, text: &str, next: &str, elsewhere: &Path, otherwise: &str) -> Result<(), String> {
    Edit { path, real: &real(path)?, text, next, otherwise, pause: || {} }.rehearse(elsewhere)
}

/// Writing the real file keeps a link.
fn real(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| format!("{} can't be found: {error}", path.display()))
}

/// The text with another value of `active` in the same quotes.
fn with_active(text: &str, color: Color) -> Result<String, String> {
    // Keys of the root are before the first header, and thousands of routes behind it. A line of a longer value may
    // look like one, but then the part before it is not valid.
    let root = text.find("\n[").map_or(text, |header| &text[..=header]);
    let span = match span_of_active(root) {
        Ok(Some(span)) => span,
        Ok(None) | Err(_) => span_of_active(text)?.ok_or("the file has no `active`")?,
    };
    let written = &text[span.clone()];
    let unquoted = written.trim_matches(|c| c == '"' || c == '\'');
    let quotes = (written.len() - unquoted.len()) / 2;
    let value = format!("{}{color}{}", &written[..quotes], &written[written.len() - quotes..]);
    Ok(format!("{}{value}{}", &text[..span.start], &text[span.end..]))
}

fn span_of_active(text: &str) -> Result<Option<Range<usize>>, String> {
    let document = toml_edit::Document::parse(text).map_err(|error| error.message().to_owned())?;
    Ok(document.get("active").and_then(toml_edit::Item::span))
}

struct Edit<'a> {
    path: &'a Path,
    real: &'a Path,
    text: &'a str,
    next: &'a str,
    otherwise: &'a str,
    pause: fn(),
}

enum Obstacle {
    /// Another program has just written the file.
    Edited,
    /// The new file would lose an attribute.
    Loses(String),
    Io(io::Error),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Obstacle {
        Obstacle::Io(error)
    }
}

impl Edit<'_> {
    fn make(&self, elsewhere: &Path) -> Result<(), String> {
        let copies = [self.copy_in(self.real.parent().unwrap_or(Path::new("/"))), self.copy_in(elsewhere)];
        let why = match self.by_rename(&copies[0]) {
            Ok(()) => return Ok(()),
            Err(Obstacle::Edited) => return Err(EDITED.to_owned()),
            Err(Obstacle::Loses(what)) => format!("a new file would lose {what}"),
            Err(Obstacle::Io(error)) => format!("a new file can't take its place: {error}"),
        };
        let written = self.in_place(&copies);
        written.map_err(|error| format!("{} can't be written: {why}, and {error}", self.real.display()))
    }

    fn rehearse(&self, elsewhere: &Path) -> Result<(), String> {
        let copies = [self.copy_in(self.real.parent().unwrap_or(Path::new("/"))), self.copy_in(elsewhere)];
        let made = self.new_file(&copies[0]);
        let _ = fs::remove_file(&copies[0]);
        let why = match made {
            Ok(()) => return Ok(()),
            Err(Obstacle::Edited) => return Err(EDITED.to_owned()),
            Err(Obstacle::Loses(what)) => format!("a new file would lose {what}"),
            Err(Obstacle::Io(error)) => format!("a new file can't take its place: {error}"),
        };
        let copied = self.open().and_then(|_| self.copy(&copies));
        let copied = copied.map(|copy| drop(fs::remove_file(copy)));
        copied.map_err(|error| format!("{} can't be written: {why}, and {error}", self.real.display()))
    }

    /// A fixed name, so that the next edit overwrites a copy left by a crash.
    fn copy_in(&self, dir: &Path) -> PathBuf {
        dir.join(format!(".{}.cutover", self.real.file_name().unwrap_or_default().to_string_lossy()))
    }

    /// Temporary file, fsync, rename: readers see the old file or the new one.
    fn by_rename(&self, copy: &Path) -> Result<(), Obstacle> {
        let made = (|| {
            self.new_file(copy)?;
            (self.pause)();
            // Another edit must not be lost.
            if config::read(self.path).as_deref() != Ok(self.text) {
                return Err(Obstacle::Edited);
            }
            fs::rename(copy, self.real)?;
            Ok(())
        })();
        if made.is_err() {
            let _ = fs::remove_file(copy);
        }
        made?;
        (self.pause)();
        sync_dir_of(self.real);
        Ok(())
    }

    /// A new file with the new content and the old attributes.
    fn new_file(&self, copy: &Path) -> Result<(), Obstacle> {
        let old = File::open(self.real)?;
        let mut file = create(copy)?;
        (self.pause)();
        file.write_all(self.next.as_bytes())?;
        keep_attributes(&old, &file)?;
        (self.pause)();
        Ok(file.sync_all()?)
    }

    fn open(&self) -> Result<File, String> {
        OpenOptions::new().read(true).write(true).open(self.real).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => format!(
                "this process (uid {}, gid {}) lacks the right to write it ({error}); grant that with `chgrp` and `chmod g+w` or `setfacl`{}{}",
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
                if self.otherwise.is_empty() { "" } else { "," },
                self.otherwise,
            ),
            _ => format!("it can't be opened for writing: {error}"),
        })
    }

    /// Writes into the old file, while a complete copy is on disk.
    fn in_place(&self, copies: &[PathBuf]) -> Result<(), String> {
        let mut file = self.open()?;
        let copy = self.copy(copies)?;
        let mut found = Vec::new();
        if let Err(error) = file.read_to_end(&mut found) {
            return Err(format!("it can't be read: {error}"));
        }
        if found != self.text.as_bytes() {
            let _ = fs::remove_file(&copy);
            return Err(EDITED.to_owned());
        }
        let written = (|| {
            file.rewind()?;
            file.write_all(self.next.as_bytes())?;
            file.set_len(self.next.len() as u64)?;
            file.sync_all()
        })();
        written.map_err(|error| format!("only a part of it was written ({error}); {} is whole", copy.display()))?;
        let _ = fs::remove_file(&copy);
        sync_dir_of(&copy);
        Ok(())
    }

    /// Writes a copy into the first directory that has room.
    fn copy(&self, copies: &[PathBuf]) -> Result<PathBuf, String> {
        let mut reasons = Vec::new();
        for copy in copies {
            let written = create(copy).and_then(|mut file| {
                file.write_all(self.next.as_bytes())?;
                file.sync_all()
            });
            match written {
                Ok(()) => {
                    sync_dir_of(copy);
                    return Ok(copy.clone());
                }
                Err(error) => reasons.push(format!("{}: {error}", copy.display())),
            }
        }
        Err(format!("no copy of it can be kept meanwhile ({})", reasons.join("; ")))
    }
}

fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn sync_dir_of(path: &Path) {
    // Without this, a crash may bring the old file back.
    let _ = File::open(path.parent().unwrap_or(Path::new("/"))).and_then(|dir| dir.sync_all());
}

fn keep_attributes(old: &File, new: &File) -> Result<(), Obstacle> {
    let (wanted, own) = (old.metadata()?, new.metadata()?);
    if wanted.nlink() > 1 {
        return Err(Obstacle::Loses(format!("its {} hard links", wanted.nlink())));
    }
    let (owner, group) = (wanted.uid(), wanted.gid());
    if own.uid() != owner && std::os::unix::fs::fchown(new, Some(owner), None).is_err() {
        return Err(Obstacle::Loses(format!("its owner (uid {owner})")));
    }
    if own.gid() != group && std::os::unix::fs::fchown(new, None, Some(group)).is_err() {
        return Err(Obstacle::Loses(format!("its group (gid {group})")));
    }
    let mode = wanted.permissions().mode() & 0o7777;
    new.set_permissions(fs::Permissions::from_mode(mode))?;
    let (wanted, own) = (attributes(old)?, attributes(new)?);
    for (name, value) in &wanted {
        let kept = own.get(name) == Some(value)
            || rustix::fs::fsetxattr(new, name.as_str(), value, XattrFlags::empty()).is_ok();
        if !kept {
            return Err(Obstacle::Loses(described(name)));
        }
    }
    for name in own.keys().filter(|name| !wanted.contains_key(*name)) {
        // The directory's default ACL would give others a right.
        if rustix::fs::fremovexattr(new, name.as_str()).is_err() && name.starts_with("system.") {
            return Err(Obstacle::Loses(described(name)));
        }
    }
    if new.metadata()?.permissions().mode() & 0o7777 != mode {
        return Err(Obstacle::Loses(format!("its mode ({mode:o})")));
    }
    Ok(())
}

fn described(name: &str) -> String {
    match name {
        "system.posix_acl_access" => "its ACL".to_owned(),
        _ if name.starts_with("security.") => format!("its security label ({name})"),
        _ => format!("its attribute {name}"),
    }
}

/// Extended attributes, including ACL and security label.
fn attributes(file: &File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = match rustix::fs::flistxattr_query(file) {
        Ok(size) => vec![0_u8; size],
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(errno.into()),
    };
    let length = if names.is_empty() { 0 } else { rustix::fs::flistxattr(file, &mut names[..])? };
    names.truncate(length);
    let mut attributes = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let size = match rustix::fs::fgetxattr_query(file, name.as_str()) {
            Ok(size) => size,
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let mut value = vec![0_u8; size];
        let length = if size == 0 { 0 } else { rustix::fs::fgetxattr(file, name.as_str(), &mut value[..])? };
        value.truncate(length);
        attributes.insert(name, value);
    }
    Ok(attributes)
}
