//! The combined log format of Apache and nginx, with nginx's escapes.

use std::io::Write;

use crate::telemetry::access_log::line::{cut, path, without_query};
use crate::telemetry::access_log::{Entry, Field};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Fields of the request that each line has, in its own places.
const OWN: [&str; 2] = ["referer", "user-agent"];

/// `now`: RFC 3339 in UTC. Other chosen fields come last, by name.
pub(super) fn combined(out: &mut Vec<u8>, now: &[u8; 24], entry: &Entry<'_>, fields: &[Field], redact_query: bool) {
    let _ = write!(out, "{} - - [", entry.client);
    time(out, now);
    out.extend_from_slice(b"] \"");
    if entry.method.is_empty() {
        out.push(b'-');
    } else {
        escape(out, cut(entry.method.as_bytes()));
        out.push(b' ');
        escape(out, cut(path(entry, redact_query).as_bytes()));
        out.push(b' ');
        // nginx and Apache write a minor version.
        out.extend_from_slice(if entry.protocol == "HTTP/2" { b"HTTP/2.0" } else { entry.protocol.as_bytes() });
    }
    let _ = write!(out, "\" {:03} {}", entry.status, entry.bytes_out);
    for name in OWN {
        let value = (entry.header.0)(name.as_bytes()).unwrap_or_default();
        out.push(b' ');
        quoted(out, if name == "referer" && redact_query { without_query(value) } else { value });
    }
    for field in fields.iter().filter(|field| !OWN.contains(&&*field.header)) {
        let _ = write!(out, " {}=", field.key);
        quoted(out, (entry.header.0)(field.header.as_bytes()).unwrap_or_default());
    }
    out.push(b'\n');
}

/// `10/Oct/2000:13:55:36 +0000`
fn time(out: &mut Vec<u8>, now: &[u8; 24]) {
    let month = usize::from(now[5] - b'0') * 10 + usize::from(now[6] - b'0');
    out.extend_from_slice(&now[8..10]);
    let _ = write!(out, "/{}/", MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or("Jan"));
    out.extend_from_slice(&now[..4]);
    out.push(b':');
    out.extend_from_slice(&now[11..19]);
    out.extend_from_slice(b" +0000");
}

fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    if value.is_empty() {
        out.push(b'-');
    }
    escape(out, cut(value));
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            plain => out.push(*plain),
        }
    }
}
