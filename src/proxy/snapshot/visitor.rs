//! `sticky = "cookie"`: a cookie of the proxy, so that a new visitor keeps the color of the first answer.
//!
//! Only while two colors serve, and only for a request without a valid cookie. An answer that shared caches may keep
//! gets none, because everybody would get that cookie; any other becomes `private`.

use std::io::Write;
use std::time::SystemTime;

use aws_lc_rs::rand;

use crate::config::VisitorCookie;
use crate::proxy::snapshot::mark::keep_private;
use crate::wire::head::Head;

/// 16 random bytes as hex digits.
pub(crate) type Value = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewVisitor(Value);

impl NewVisitor {
    pub(crate) fn draw() -> Option<NewVisitor> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok()?;
        let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
        Some(NewVisitor(std::array::from_fn(|place| {
            let byte = bytes[place / 2];
            digit(if place % 2 == 0 { byte >> 4 } else { byte & 15 })
        })))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// Skips answers that shared caches may keep. `secure`: the client came over TLS.
    pub(crate) fn set_cookie(&self, cookie: &VisitorCookie, secure: bool, answer: &mut Head) {
        if is_shared(answer) {
            return;
        }
        keep_private(answer);
        let mut field = Vec::with_capacity(128);
        field.extend_from_slice(cookie.name.as_bytes());
        field.push(b'=');
        field.extend_from_slice(&self.0);
        let _ = write!(field, "; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", cookie.max_age.as_secs());
        if secure {
            field.extend_from_slice(b"; Secure");
        }
        answer.push(b"set-cookie", &field);
    }
}

pub(crate) fn is_valid(value: &[u8]) -> bool {
    value.len() == size_of::<Value>() && value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Shared caches may keep the answer (RFC 9111, 3 and 5.2.2; RFC 9213).
fn is_shared(answer: &Head) -> bool {
    let directives = || {
        let values = answer.all_named(b"cache-control").filter_map(|value| std::str::from_utf8(value).ok());
        values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase())
    };
    let says = |names: &[&str]| directives().any(|said| names.iter().any(|name| said.split('=').next() == Some(name)));
    if says(&["private", "no-store"]) {
        return false;
    }
    let fresh = |said: &str| matches!(said.split_once('='), Some(("max-age", age)) if age.trim_matches('"') != "0");
    let targeted = |name: &[u8]| {
        name.to_ascii_lowercase().ends_with(b"-cache-control") || name.eq_ignore_ascii_case(b"surrogate-control")
    };
    says(&["public", "s-maxage", "immutable"])
        || directives().any(|said| fresh(&said))
        || answer.fields().any(|(_, name, _)| targeted(name))
        || answer.named(b"cache-control").is_none()
            && answer.all_named(b"expires").any(|expires| is_ahead(expires, answer))
}

/// The answer is fresh until this date. An invalid date, most often `0`, is in the past (RFC 9111, 5.3).
fn is_ahead(expires: &[u8], answer: &Head) -> bool {
    let date = |value: &[u8]| httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok();
    let now = || answer.named(b"date").and_then(date).unwrap_or_else(SystemTime::now);
    date(expires).is_some_and(|expires| expires > now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(fields: &[(&str, &str)]) -> Head {
        let mut answer = Head::default();
        answer.set_status_line(200, b"OK");
        fields.iter().for_each(|(name, value)| answer.push(name.as_bytes(), value.as_bytes()));
        answer
    }

    fn cookies(fields: &[(&str, &str)], secure: bool) -> (Option<String>, Option<String>) {
        let cookie = VisitorCookie { name: "visitor".to_owned(), max_age: Duration::from_secs(3_600) };
        let visitor = NewVisitor::draw().expect("random numbers");
        let mut answer = answer(fields);
        visitor.set_cookie(&cookie, secure, &mut answer);
        let of = |name: &[u8]| answer.named(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let set = of(b"set-cookie").map(|set| set.replace(&*String::from_utf8_lossy(visitor.value()), "VALUE"));
        (set, of(b"cache-control"))
    }

    #[test]
    fn a_cookie_is_for_one_browser_and_no_script() {
        let plain = "visitor=VALUE; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax";
        assert_eq!(cookies(&[], false), (Some(plain.to_owned()), Some("private".to_owned())));
        assert_eq!(cookies(&[], true).0, Some(format!("{plain}; Secure")));
        let (set, control) = cookies(&[("cache-control", "no-cache")], false);
        assert_eq!((set.is_some(), control.as_deref()), (true, Some("private, no-cache")));
    }

    #[test]
    fn what_shared_caches_keep_has_no_cookie_and_stays_as_it_is() {
        for field in [
            ("cache-control", "public"),
            ("cache-control", "max-age=60"),
            ("cache-control", "no-cache, S-MaxAge=60"),
            ("cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=60"),
            ("expires", "Sat, 01 Jan 2050 00:00:00 GMT"),
        ] {
            let (set, control) = cookies(&[field], false);
            assert_eq!(set, None, "{field:?}");
            assert_eq!(control.as_deref(), (field.0 == "cache-control").then_some(field.1), "{field:?}");
        }
        let (earlier, later) = ("Sat, 01 Jan 2050 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:01 GMT");
        assert!(cookies(&[("expires", later), ("date", earlier)], false).0.is_none(), "fresh for a second");
        for fields in [
            &[("expires", "Thu, 01 Jan 1970 00:00:00 GMT")][..],
            &[("expires", "0")],
            &[("expires", "-1")],
            &[("expires", earlier), ("date", earlier)],
            &[("date", later), ("expires", earlier)],
        ] {
            let (set, control) = cookies(fields, false);
            assert_eq!((set.is_some(), control.as_deref()), (true, Some("private")), "{fields:?}");
        }
        for value in ["private, max-age=60", "no-store", "max-age=0", "no-cache"] {
            assert!(cookies(&[("cache-control", value)], false).0.is_some(), "{value}");
        }
    }

    #[test]
    fn a_value_has_the_form_of_ours() {
        let visitor = NewVisitor::draw().expect("random numbers");
        assert!(is_valid(visitor.value()));
        assert_ne!(visitor, NewVisitor::draw().expect("random numbers"));
        for other in ["", "1", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdeg"] {
            assert!(!is_valid(other.as_bytes()), "{other}");
        }
    }
}
