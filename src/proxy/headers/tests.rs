use super::*;

fn head(fields: &[(&str, &str)]) -> Head {
    let mut head = Head::default();
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn list(head: &Head) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut all: Vec<String> =
        head.fields().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect();
    all.sort();
    all
}

fn from(trusted: bool) -> From<'static> {
    From { peer: "10.0.0.9", trusted, port: "8080", scheme: "http", via: true }
}

fn check(trusted: bool, fields: &[(&str, &str)], expected: &[&str]) {
    let mut head = head(fields);
    to_endpoint(&mut head, &from(trusted));
    assert_eq!(list(&head), expected, "{fields:?}");
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
    let added = [
        "host: ",
        "via: 1.1 cutover",
        "x-forwarded-for: 10.0.0.9",
        "x-forwarded-port: 8080",
        "x-forwarded-proto: http",
    ];
    for fields in [
        &[("connection", "keep-alive, x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5")][..],
        &[("connection", "close"), ("connection", "X-Hop"), ("x-hop", "1"), ("proxy-connection", "close")][..],
        &[("connection", "Close"), ("close", "x")][..],
        &[("te", "gzip"), ("transfer-encoding", "chunked"), ("upgrade", "websocket")][..],
    ] {
        check(false, fields, &added);
    }
    check(false, &[("te", "gzip, Trailers")], &["host: ", "te: trailers", added[1], added[2], added[3], added[4]]);
}

#[test]
fn connection_can_not_take_away_what_the_endpoint_relies_on() {
    let mut headers = head(&[("host", "a"), ("connection", "host, x-forwarded-for, cookie"), ("cookie", "s=1")]);
    remove_hop_by_hop(&mut headers);
    assert_eq!(list(&headers), ["cookie: s=1", "host: a"]);
}

#[test]
fn empty_upgrades_beside_another_one_leave_no_blanks() {
    let mut asked = head(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "")]);
    assert!(to_endpoint(&mut asked, &from(false)));
    assert_eq!(asked.text(Name::Upgrade), Some("websocket"));
}

#[test]
fn an_upgrade_is_passed_on_only_where_connection_announces_it() {
    let mut announced = head(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
    assert!(to_endpoint(&mut announced, &from(false)));
    assert_eq!((announced.text(Name::Connection), announced.text(Name::Upgrade)), (Some("upgrade"), Some("websocket")));
    for other in [
        &[("upgrade", "websocket")][..],
        &[("connection", "upgrade"), ("upgrade", "h2c")],
        &[("connection", "upgrade"), ("upgrade", ""), ("upgrade", "")],
    ] {
        let mut other = head(other);
        assert!(!to_endpoint(&mut other, &from(false)));
        assert!(!other.has(Name::Upgrade));
    }
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
        let headers = head(&forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect::<Vec<_>>());
        assert_eq!(client(&headers, peer, &trusted).to_string(), expected, "{forwarded:?}");
    }
    let stranger = SocketAddr::from(([9, 9, 9, 9], 5000));
    assert_eq!(client(&head(&[("x-forwarded-for", "1.2.3.4")]), stranger, &trusted).to_string(), "9.9.9.9");
}

#[test]
fn a_request_has_one_host() {
    assert!(host(&head(&[])).is_err());
    let mut old = head(&[]);
    old.version = Version::Http10;
    assert!(host(&old).is_ok_and(<[u8]>::is_empty));
    assert!(host(&head(&[("host", "a"), ("host", "a")])).is_err());
    assert!(host(&head(&[("host", "a/b")])).is_err());
}

#[test]
fn an_absolute_target_is_an_authority_and_a_path() {
    assert_eq!(split_absolute("http://a:80/x?y"), Some(("a:80", "/x?y".to_owned())));
    assert_eq!(split_absolute("HTTPS://a"), Some(("a", "/".to_owned())));
    assert_eq!(split_absolute("http://a?b"), Some(("a", "/?b".to_owned())));
    for none in ["ftp://a/", "http://", "http:///x", "http://u@a/", "a:80", "x"] {
        assert_eq!(split_absolute(none), None, "{none}");
    }
}

#[test]
fn a_connection_goes_on_as_its_version_says() {
    let keeps = |version, fields: &[(&str, &str)]| {
        let mut head = head(fields);
        head.version = version;
        keeps_alive(&head)
    };
    assert!(keeps(Version::Http11, &[]));
    assert!(!keeps(Version::Http11, &[("connection", "x, Close")]));
    assert!(!keeps(Version::Http10, &[]));
    assert!(keeps(Version::Http10, &[("connection", "Keep-Alive")]));
    assert!(!keeps(Version::Http10, &[("connection", "keep-alive, close")]));
}

#[test]
fn request_ids_are_distinct_hex() {
    assert_eq!(&new_request_id(0x0123_4567_89ab_cdef), b"00000000000000000123456789abcdef");
    assert!(usable_request_id(b"abc-1"));
    assert!(!usable_request_id(b"a b") && !usable_request_id(b""));
}

#[test]
fn equal_lengths_become_one_in_both_directions() {
    for length in ["0", "5"] {
        let fields = [("content-length", length), ("x-a", "1"), ("content-length", length)];
        let (mut asked, mut answered) = (head(&fields), head(&fields));
        to_endpoint(&mut asked, &from(false));
        to_client(&mut answered, false, true);
        for head in [asked, answered] {
            assert_eq!(head.all(Name::ContentLength).collect::<Vec<_>>(), [length.as_bytes()]);
        }
    }
}

#[test]
fn a_member_of_connection_that_is_no_text_hides_no_other() {
    let mut odd = Head::default();
    odd.push(b"connection", b"x-hop, \xff, close");
    odd.push(b"x-hop", b"1");
    assert!(!keeps_alive(&odd));
    remove_hop_by_hop(&mut odd);
    assert_eq!(list(&odd), [""; 0]);
}

#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    for good in
        ["", "a", "a.example.com.", "a:", "a:80", "10.0.0.1:8080", "[::1]", "[::1]:80", "[fe80::1%25eth0]", "a_b"]
    {
        assert!(is_host(good.as_bytes()), "{good}");
    }
    for bad in [
        "a:b",
        "a:80:80",
        ":80:",
        "a:-1",
        "::1",
        "[::1",
        "[::1]80",
        "[::1]:x",
        "[::1][::2]",
        "a]",
        "a[b]",
        "a/b",
        "u@a",
        "a%41",
        "[1:2:3:4:5:6:7:8:9:a]",
    ] {
        assert!(!is_host(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn every_host_that_passes_can_be_written_in_http2() {
    for byte in 0..=255_u8 {
        for (before, after) in [("a", "b"), ("[::", "1]"), ("a:1", "2"), ("", "")] {
            let host = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            if is_host(&host) {
                assert!(http::uri::Authority::try_from(&host[..]).is_ok(), "{before}{byte:#x}{after}");
            }
        }
    }
}

#[test]
fn a_request_that_names_no_host_says_so_to_the_endpoint() {
    let mut old = head(&[("accept", "*/*")]);
    old.version = Version::Http10;
    to_endpoint(&mut old, &from(false));
    assert_eq!(old.all(Name::Host).collect::<Vec<_>>(), [b""]);
    assert!(!old.has(Name::XForwardedHost));
}

#[test]
fn grpc_web_is_not_grpc() {
    let is = |kind: &str| is_grpc(&head(&[("content-type", kind)]));
    for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc ; x"]
    {
        assert!(is(grpc), "{grpc}");
    }
    for other in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text", "text/plain"] {
        assert!(!is(other), "{other}");
    }
    assert!(!is_grpc(&Head::default()));
}

#[test]
fn what_endpoints_rely_on_has_no_look_alike() {
    let mut asked = head(&[
        ("X_Forwarded_For", "6.6.6.6"),
        ("x-forwarded_proto", "https"),
        ("X_CLIENT_CERT_SUBJECT", "CN=root"),
        ("x_request-id", "1"),
        ("x_forwarded_forx", "kept"),
        ("my_field", "kept"),
        ("content_length", "5"),
        ("x-request-id", "kept"),
    ]);
    asked.remove_look_alikes(&VOUCHED);
    assert_eq!(list(&asked), ["content_length: 5", "my_field: kept", "x-request-id: kept", "x_forwarded_forx: kept"]);
}

#[test]
fn a_connection_field_has_a_bounded_number_of_members() {
    let lists = |value: &str| {
        let mut head = Head::default();
        head.push(b"Connection", value.as_bytes());
        lists_too_many(&head)
    };
    assert!(!lists(&vec!["x"; 64].join(",")));
    assert!(lists(&vec!["x"; 65].join(",")));
    assert!(lists(&",".repeat(29_000)));
}
