use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).expect("name"), value.parse().expect("value"));
    }
    headers
}

fn list(headers: &HeaderMap) -> Vec<String> {
    let mut all: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
    all.sort();
    all
}

/// What the endpoint gets of these fields, without those that are always added.
fn check(trusted: bool, fields: &[(&str, &str)], expected: &[&str]) {
    let mut headers = map(fields);
    let from = From { peer: &HeaderValue::from_static("10.0.0.9"), trusted, port: &HeaderValue::from_static("8080") };
    to_endpoint(&mut headers, Version::HTTP_11, &from);
    assert_eq!(list(&headers), expected, "{fields:?}");
}

#[test]
fn the_endpoint_learns_who_asked_for_what() {
    check(
        false,
        &[("host", "shop.example.com")],
        &[
            "host: shop.example.com",
            "via: 1.1 cutover",
            "x-forwarded-for: 10.0.0.9",
            "x-forwarded-host: shop.example.com",
            "x-forwarded-port: 8080",
            "x-forwarded-proto: http",
        ],
    );
}

#[test]
fn what_a_stranger_forwarded_is_replaced() {
    check(
        false,
        &[
            ("host", "a"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=6.6.6.6"),
        ],
        &[
            "host: a",
            "via: 1.1 cutover",
            "x-forwarded-for: 10.0.0.9",
            "x-forwarded-host: a",
            "x-forwarded-port: 8080",
            "x-forwarded-proto: http",
        ],
    );
}

#[test]
fn what_a_trusted_proxy_forwarded_is_kept_and_continued() {
    check(
        true,
        &[
            ("host", "a"),
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
            ("x-forwarded-for", "3.3.3.3"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.1.1.1"),
        ],
        &[
            "forwarded: for=1.1.1.1",
            "host: a",
            "via: 1.1 cutover",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9",
            "x-forwarded-host: a",
            "x-forwarded-port: 8080",
            "x-forwarded-proto: https",
        ],
    );
}

#[test]
fn fields_for_this_hop_and_those_that_connection_lists_are_removed() {
    let added = ["via: 1.1 cutover", "x-forwarded-for: 10.0.0.9", "x-forwarded-port: 8080", "x-forwarded-proto: http"];
    for fields in [
        &[("connection", "keep-alive, x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5")][..],
        &[("connection", "close"), ("connection", "X-Hop"), ("x-hop", "1"), ("proxy-connection", "close")][..],
        &[("te", "gzip"), ("transfer-encoding", "chunked"), ("upgrade", "websocket")][..],
    ] {
        check(false, fields, &added);
    }
    check(false, &[("te", "gzip, Trailers")], &["te: trailers", added[0], added[1], added[2], added[3]]);
}

#[test]
fn connection_can_not_take_away_what_the_endpoint_relies_on() {
    let mut headers = map(&[("host", "a"), ("connection", "host, x-forwarded-for, cookie"), ("cookie", "s=1")]);
    remove_hop_by_hop(&mut headers);
    assert_eq!(list(&headers), ["cookie: s=1", "host: a"]);
}

#[test]
fn an_upgrade_is_passed_on_only_where_connection_announces_it() {
    let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
    let from = From { peer: &HeaderValue::from_static("::1"), trusted: false, port: &HeaderValue::from_static("80") };
    assert!(to_endpoint(&mut headers, Version::HTTP_11, &from));
    assert_eq!((&headers[CONNECTION], &headers[UPGRADE]), (&UPGRADE_TOKEN, &HeaderValue::from_static("websocket")));
    let mut headers = map(&[("upgrade", "websocket")]);
    assert!(!to_endpoint(&mut headers, Version::HTTP_11, &from));
    assert!(!headers.contains_key(UPGRADE));
}

#[test]
fn the_client_is_the_first_address_from_the_right_that_is_not_ours() {
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("net")];
    let peer = SocketAddr::from(([10, 0, 0, 1], 5000));
    for (forwarded, expected) in [
        (&[][..], "10.0.0.1"),
        (&["1.2.3.4"], "1.2.3.4"),
        (&["6.6.6.6, 1.2.3.4, 10.0.0.7"], "1.2.3.4"),
        (&["6.6.6.6", "1.2.3.4:77"], "1.2.3.4"),
        (&["10.0.0.5, 10.0.0.6"], "10.0.0.5"),
        (&["1.2.3.4, nonsense"], "10.0.0.1"),
    ] {
        let headers = map(&forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect::<Vec<_>>());
        assert_eq!(client(&headers, peer, &trusted).to_string(), expected, "{forwarded:?}");
    }
    let stranger = SocketAddr::from(([9, 9, 9, 9], 5000));
    assert_eq!(client(&map(&[("x-forwarded-for", "1.2.3.4")]), stranger, &trusted).to_string(), "9.9.9.9");
}

#[test]
fn a_request_has_one_host() {
    assert!(host(&map(&[]), Version::HTTP_11).is_err());
    assert!(host(&map(&[]), Version::HTTP_10).is_ok_and(|host| host.is_none()));
    assert!(host(&map(&[("host", "a"), ("host", "a")]), Version::HTTP_11).is_err());
}

#[test]
fn request_ids_are_distinct_hex() {
    assert_eq!(new_request_id(0x0123_4567_89ab_cdef), "00000000000000000123456789abcdef");
    assert!(usable_request_id(&HeaderValue::from_static("abc-1")));
    assert!(!usable_request_id(&HeaderValue::from_static("a b")) && !usable_request_id(&HeaderValue::from_static("")));
}
