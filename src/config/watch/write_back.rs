//! Editing the one value of `active`: everything else of the file stays, byte for byte.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::config;
use crate::domain::color::Color;

/// Writes `color` into the file whose newest content is `text`; the new content.
pub(super) fn write_back(path: &Path, text: &str, color: Color) -> Result<String, String> {
    let next = with_active(text, color)?;
    if next == text {
        return Ok(next);
    }
    // The real file, so that a link stays one.
    let real = path.canonicalize().map_err(|error| format!("{} can't be found: {error}", path.display()))?;
    replace(path, &real, text, &next).map_err(|error| format!("{} can't be written: {error}", real.display()))?;
    Ok(next)
}

/// The text with another value of `active`, in the quotes that are there.
fn with_active(text: &str, color: Color) -> Result<String, String> {
    let document = toml_edit::Document::parse(text).map_err(|error| error.message().to_owned())?;
    let span = document.get("active").and_then(toml_edit::Item::span).ok_or("the file has no `active`")?;
    let written = &text[span.clone()];
    let unquoted = written.trim_matches(|c| c == '"' || c == '\'');
    let quotes = (written.len() - unquoted.len()) / 2;
    let value = format!("{}{color}{}", &written[..quotes], &written[written.len() - quotes..]);
    Ok(format!("{}{value}{}", &text[..span.start], &text[span.end..]))
}

/// Temporary file, fsync, rename: whoever reads sees the old file or the new one.
fn replace(path: &Path, real: &Path, text: &str, next: &str) -> io::Result<()> {
    let metadata = fs::metadata(real)?;
    let dir = real.parent().unwrap_or(Path::new("/"));
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    // One name for all times: what a crash left behind is overwritten.
    let temporary = dir.join(format!(".{name}.cutover"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(next.as_bytes())?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o7777))?;
        file.sync_all()?;
        // Somebody may have written since it was read; theirs must not be lost.
        if config::read(path).as_deref() != Ok(text) {
            return Err(io::Error::other("the file was edited at the same time"));
        }
        match fs::rename(&temporary, real) {
            // A file that is a mount point of its own can't be replaced, only written.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => in_place(real, next),
            renamed => renamed,
        }
    })();
    if written.is_err() || temporary.exists() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(dir)?.sync_all()
}

fn in_place(real: &Path, next: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(real)?;
    file.write_all(next.as_bytes())?;
    file.sync_all()
}
