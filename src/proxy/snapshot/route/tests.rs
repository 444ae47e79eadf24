use super::*;

fn check(routes: &[(&str, &str)], requests: &[(&str, &str, Option<usize>)]) {
    let routes: Vec<RouteConfig> = routes
        .iter()
        .enumerate()
        .map(|(index, (host, path))| RouteConfig {
            host: match (host.strip_prefix("*."), *host) {
                (Some(parent), _) => HostPattern::Below(parent.to_owned()),
                (None, "") => HostPattern::Any,
                (None, name) => HostPattern::Exact(name.to_owned()),
            },
            path: (*path).to_owned(),
            upstream: index.to_string(),
        })
        .collect();
    let table = RouteTable::new(&routes, |route| route.upstream.parse().expect("index"));
    for (host, path, expected) in requests {
        assert_eq!(table.find(host, path), *expected, "{host}{path}");
    }
}

#[test]
fn without_routes_everything_goes_to_the_first_upstream() {
    check(&[], &[("a", "/", Some(0)), ("", "/x/y", Some(0))]);
}

#[test]
fn the_longest_prefix_wins_on_segment_boundaries() {
    check(
        &[("", "/"), ("", "/v1/"), ("", "/v1/orders")],
        &[
            ("a", "/", Some(0)),
            ("a", "/v10", Some(0)),
            ("a", "/v1", Some(1)),
            ("a", "/v1/", Some(1)),
            ("a", "/v1/x", Some(1)),
            ("a", "/v1/orders", Some(2)),
            ("a", "/v1/orders/7/lines", Some(2)),
            ("a", "/v1/ordersX", Some(1)),
            ("a", "/V1/orders", Some(0)),
        ],
    );
}

#[test]
fn without_a_route_for_the_root_other_paths_find_nothing() {
    check(&[("", "/api")], &[("a", "/", None), ("a", "/apix", None), ("a", "/api/x", Some(0)), ("a", "*", None)]);
}

#[test]
fn the_more_special_host_wins_and_falls_through_where_it_has_no_path() {
    check(
        &[("", "/"), ("*.example.com", "/"), ("api.example.com", "/v1"), ("*.eu.example.com", "/")],
        &[
            ("other.org", "/", Some(0)),
            ("example.com", "/", Some(0)),
            ("www.example.com", "/", Some(1)),
            ("a.b.example.com", "/", Some(1)),
            ("a.eu.example.com", "/", Some(3)),
            ("api.example.com", "/v1/x", Some(2)),
            ("api.example.com", "/v2", Some(1)),
        ],
    );
}

#[test]
fn a_host_matches_in_any_case_with_a_port_and_with_a_trailing_dot() {
    check(
        &[("api.example.com", "/"), ("[::1]", "/")],
        &[
            ("API.Example.COM", "/", Some(0)),
            ("api.example.com:8443", "/", Some(0)),
            ("api.example.com.", "/", Some(0)),
            ("[::1]:80", "/", Some(1)),
            ("[::1]", "/", Some(1)),
            ("", "/", None),
        ],
    );
}

#[test]
fn another_spelling_of_a_path_has_the_same_route() {
    check(
        &[("", "/"), ("", "/admin"), ("", "/a%20b/caf%c3%a9")],
        &[
            ("a", "//admin/x", Some(1)),
            ("a", "/%61dmin", Some(1)),
            ("a", "/admin;x/y", Some(1)),
            ("a", "/x/../admin", Some(1)),
            ("a", "/admin%2fx", Some(1)),
            ("a", "/admin/..", Some(0)),
            ("a", "/%2561dmin", Some(0)),
            ("a", "/a%20b/caf%C3%A9/x", Some(2)),
            ("a", "/%61 b/café", Some(2)),
        ],
    );
}
