//! The normal form of a path, for matching prefixes only: endpoints get paths as they came.
//!
//! It combines the decodings of common applications: percent-encoding is undone once, `\` is `/`, parameters after `;`,
//! empty segments and `.` are left out, and `..` removes the segment before it. `docs/routes.md` has examples.

use std::borrow::Cow;

/// The normal form, copied only where it differs. A slash at the end makes no difference to a prefix, and may remain.
#[must_use]
pub fn normal(path: &str) -> Cow<'_, str> {
    if is_normal(path.as_bytes()) { Cow::Borrowed(path) } else { Cow::Owned(normalized(path)) }
}

/// A quick check without false positives: a segment that begins with `.` counts as not normal.
fn is_normal(path: &[u8]) -> bool {
    let (mut before, mut other) = (0, false);
    for &byte in path {
        other |= matches!(byte, b'%' | b';' | b'\\' | 0x80..) || (before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
    }
    !other
}

fn normalized(path: &str) -> String {
    let decoded = decoded(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Undoes percent-encoding of ASCII, once. Other bytes are encoded uniformly, so that the result is text.
fn decoded(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (byte, length) = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).unwrap_or(byte), 3),
            _ => (byte, 1),
        };
        rest = &rest[length..];
        match byte.is_ascii() {
            true => decoded.push(char::from(byte)),
            false => decoded.push_str(&format!("%{byte:02X}")),
        }
    }
    decoded
}

/// A prefix with a second reading matches no path, or other paths than it seems to.
pub(super) fn is_ambiguous(prefix: &str) -> bool {
    let decoded = decoded(prefix);
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    slashes(&decoded) != slashes(prefix)
        || decoded.contains([';', '\\'])
        || decoded.split('/').any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_form() {
        for (path, form) in [
            ("/", "/"),
            ("/a/b.c/", "/a/b.c/"),
            ("*", "*"),
            ("", ""),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/./a/.", "/a"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a/../b", "/b"),
            ("/a/b/../../..", "/"),
            ("/../a", "/a"),
            ("/%61%2fb", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2f..%2fb", "/b"),
            ("/a;x=1/b;y", "/a/b"),
            ("/a/..;/b", "/b"),
            ("/a%3Bx", "/a"),
            ("/;/a", "/a"),
            ("/a\\..\\b", "/b"),
            ("/a%5Cb", "/a/b"),
            ("/%2561", "/%61"),
            ("/%zz%4", "/%zz%4"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/%ff", "/%FF"),
        ] {
            assert_eq!(normal(path), form, "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        for path in ["/", "/v1/orders/7", "/a.b/c..d", "/a-b_c~d!$&'()*+,=:@"] {
            assert!(matches!(normal(path), Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn a_prefix_means_one_thing() {
        for good in ["/", "/a/", "/a//b", "/a%20b", "/caf%c3%a9", "/.well-known"] {
            assert!(!is_ambiguous(good), "{good}");
        }
        for bad in ["/a;b", "/a%3bb", "/a\\b", "/a%5cb", "/a/..", "/./a", "/a/%2e%2e/b", "/a%2fb"] {
            assert!(is_ambiguous(bad), "{bad}");
        }
    }
}
