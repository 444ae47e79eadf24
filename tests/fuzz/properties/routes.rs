//! The routes: what the table finds is what one finds who goes through the list and thinks about nothing else.

use cutover::internals::config::path::normal;
use cutover::internals::config::{HostPattern, RouteConfig};
use cutover::internals::proxy::snapshot::route::RouteTable;

/// Few words, so that names and paths meet.
const LABELS: [&str; 6] = ["a", "b", "ab", "com", "xn--a", "1"];
const SEGMENTS: [&str; 10] = ["a", "b", "ab", "%2f", "..", ".", "é", "", "%61", "a;b"];

/// Makes routes and requests of bytes, and looks each request up.
///
/// # Panics
///
/// If the table finds something else than the walk.
pub(super) fn same_as_a_walk(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut routes: Vec<RouteConfig> = Vec::new();
    for upstream in 0..choices.up_to(8) {
        let host = match choices.up_to(2) {
            0 => HostPattern::Any,
            1 => HostPattern::Exact(choices.name()),
            _ => HostPattern::Below(choices.name()),
        };
        let path = choices.path();
        // A valid configuration has each route once; a slash more or less is no difference.
        let same = |route: &RouteConfig| route.host == host && segments(&route.path) == segments(&path);
        if !routes.iter().any(same) {
            routes.push(RouteConfig { host, path, upstream: upstream.to_string() });
        }
    }
    let table = RouteTable::new(&routes, |route| route.upstream.parse().expect("the number of an upstream"));
    for _ in 0..=choices.up_to(7) {
        let (host, path) = (choices.host(), if choices.up_to(7) == 0 { choices.text() } else { choices.path() });
        let ranked = routes.iter().filter_map(|route| {
            let rank = (host_rank(&route.host, &host)?, path_rank(&route.path, &path)?);
            Some((rank, route.upstream.parse::<usize>().expect("the number of an upstream")))
        });
        let naive = if routes.is_empty() { Some(0) } else { ranked.max().map(|(_, upstream)| upstream) };
        assert_eq!(table.find(&host, &path), naive, "{host:?} {path:?}");
    }
}

/// Choices by the bytes of an input; behind its end the first of all.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn up_to(&mut self, most: usize) -> usize {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*byte) % (most + 1)
    }

    fn of<'b>(&mut self, words: &[&'b str]) -> &'b str {
        words[self.up_to(words.len() - 1)]
    }

    fn name(&mut self) -> String {
        let labels = (0..=self.up_to(3)).map(|_| self.of(&LABELS)).collect::<Vec<_>>();
        labels.join(".")
    }

    /// As a `Host` field may say it: in capitals, with a port, with a dot at its end.
    fn host(&mut self) -> String {
        if self.up_to(7) == 7 {
            return self.text();
        }
        let mut host = self.name();
        if self.up_to(1) == 1 {
            host = host.to_uppercase();
        }
        host + self.of(&["", ".", ":80", ".:80"])
    }

    fn path(&mut self) -> String {
        let segments = (0..self.up_to(5)).map(|_| self.of(&SEGMENTS)).collect::<Vec<_>>();
        format!("/{}", segments.join("/"))
    }

    /// Anything at all.
    fn text(&mut self) -> String {
        let length = self.up_to(63).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Of the normal form.
fn segments(path: &str) -> Vec<String> {
    normal(path).split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

/// How special a pattern is for this host; `None`: it is not for it. An exact name is more than any `*.`, and of those
/// the longer one is more.
fn host_rank(pattern: &HostPattern, host: &str) -> Option<usize> {
    // A colon inside of brackets belongs to the address.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match pattern {
        HostPattern::Any => Some(0),
        HostPattern::Below(parent) => name.ends_with(&format!(".{parent}")).then_some(1 + parent.len()),
        HostPattern::Exact(exact) => (name == *exact).then_some(usize::MAX),
    }
}

/// How many segments of the path a prefix takes; `None`: it does not fit.
fn path_rank(prefix: &str, path: &str) -> Option<usize> {
    let prefix = segments(prefix);
    let path = segments(path);
    path.starts_with(&prefix).then_some(prefix.len())
}
