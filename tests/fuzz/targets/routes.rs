//! The routes: what the table finds is what one finds who goes through the list and thinks about nothing else.

#![no_main]

use cutover::config::path::normal;
use cutover::config::{HostPattern, RouteConfig};
use cutover::proxy::route::RouteTable;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

/// Few words, so that names and paths meet.
const LABELS: [&str; 6] = ["a", "b", "ab", "com", "xn--a", "1"];
const SEGMENTS: [&str; 10] = ["a", "b", "ab", "%2f", "..", ".", "é", "", "%61", "a;b"];

#[derive(Debug)]
struct Case {
    routes: Vec<RouteConfig>,
    requests: Vec<(String, String)>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Case> {
        let mut routes: Vec<RouteConfig> = Vec::new();
        for upstream in 0..u.int_in_range(0..=8)? {
            let host = match u.int_in_range(0..=2)? {
                0 => HostPattern::Any,
                1 => HostPattern::Exact(name(u)?),
                _ => HostPattern::Below(name(u)?),
            };
            let path = path(u)?;
            // A valid configuration has each route once; a slash more or less is no difference.
            let same = |route: &RouteConfig| route.host == host && segments(&route.path) == segments(&path);
            if !routes.iter().any(same) {
                routes.push(RouteConfig { host, path, upstream: upstream.to_string() });
            }
        }
        let mut requests = Vec::new();
        for _ in 0..u.int_in_range(1..=8)? {
            requests.push((host(u)?, if u.ratio(1, 8)? { String::arbitrary(u)? } else { path(u)? }));
        }
        Ok(Case { routes, requests })
    }
}

fn name(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    let labels: arbitrary::Result<Vec<&str>> =
        (0..u.int_in_range(1..=4)?).map(|_| u.choose(&LABELS).copied()).collect();
    Ok(labels?.join("."))
}

/// As a `Host` field may say it: in capitals, with a port, with a dot at its end.
fn host(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    if u.ratio(1, 8)? {
        return String::arbitrary(u);
    }
    let mut host = name(u)?;
    if u.arbitrary()? {
        host = host.to_uppercase();
    }
    host.push_str(u.choose(&["", ".", ":80", ".:80"])?);
    Ok(host)
}

fn path(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    let count = u.int_in_range(0..=5)?;
    let segments: arbitrary::Result<Vec<&str>> = (0..count).map(|_| u.choose(&SEGMENTS).copied()).collect();
    Ok(format!("/{}", segments?.join("/")))
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

fuzz_target!(|case: Case| {
    let table = RouteTable::new(&case.routes, |route| route.upstream.parse().expect("the number of an upstream"));
    for (host, path) in &case.requests {
        let naive = case
            .routes
            .iter()
            .filter_map(|route| {
                let rank = (host_rank(&route.host, host)?, path_rank(&route.path, path)?);
                Some((rank, route.upstream.parse::<usize>().expect("the number of an upstream")))
            })
            .max();
        let naive = if case.routes.is_empty() { Some(0) } else { naive.map(|(_, upstream)| upstream) };
        assert_eq!(table.find(host, path), naive, "{host:?} {path:?}");
    }
});
