//! Targets and hosts that one version of HTTP can say and the other can't.

use crate::http2::{END_HEADERS, END_STREAM, HEADERS, Outcome, Raw, block_of, frame};
use crate::requests::messages::Both;

/// What a client of HTTP/1.1 gets.
async fn over_http1(proxy: &crate::proxy::Proxy, target: &[u8], host: &[u8]) -> u16 {
    let mut client = proxy.connect().await;
    client.send([b"GET ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat()).await;
    client.answer().await.status
}

/// What a client of HTTP/2 gets.
async fn over_http2(proxy: &crate::proxy::Proxy, target: &[u8], host: &[u8]) -> u16 {
    let mut client = Raw::connect(proxy.http).await;
    let fields: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", host), (b":path", target)];
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block_of(&fields))).await;
    match client.outcome(1).await {
        Outcome::Answer(status) => status,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(target)),
    }
}

#[tokio::test]
async fn a_url_that_http2_cannot_carry_is_400_at_once_for_every_version_and_blames_nobody() {
    let both = Both::start("").await;
    let refused: [(&[u8], &[u8]); 20] = [
        (b"/?q=\"a\"", b"a"),
        (b"/a?b=<c>", b"a"),
        (b"/<a>", b"a"),
        (b"/a>", b"a"),
        (b"/`id`", b"a"),
        (b"/a`", b"a"),
        (b"/a#b", b"a"),
        (b"/?a#b", b"a"),
        (b"/caf\xc3\xa9", b"a"),
        (b"/\xff", b"a"),
        (b"/?\x80", b"a"),
        (b"/", b"a%41"),
        (b"/", b"%"),
        (b"/", b"a\"b"),
        (b"/", b"a<b"),
        (b"/", b"a`b"),
        (b"/", b"a{b}"),
        (b"/", b"a|b^c"),
        (b"/", b"\xff"),
        (b"/", b"[1:2:3:4:5:6:7:8:9:a]"),
    ];
    for (version, proxy) in both.proxies() {
        for (target, host) in refused {
            let shown = format!("{version}: {} {}", String::from_utf8_lossy(target), String::from_utf8_lossy(host));
            assert_eq!(over_http1(proxy, target, host).await, 400, "HTTP/1.1 to {shown}");
            assert_eq!(over_http2(proxy, target, host).await, 400, "HTTP/2 to {shown}");
        }
    }
    assert_eq!(both.arrived(), 0);
    both.assert_nobody_is_blamed().await;
}

#[tokio::test]
async fn bytes_that_urls_should_encode_pass_as_they_came_where_both_versions_can_carry_them() {
    let both = Both::start("").await;
    let target = "/a{b}|^\\[]\"'%zz;x?c={d}|^`\\[]'%\u{7e}";
    for (version, proxy) in both.proxies() {
        assert_eq!(over_http1(proxy, target.as_bytes(), b"a_b").await, 200, "HTTP/1.1 to {version}");
        assert_eq!(over_http2(proxy, target.as_bytes(), b"[fe80::1%25eth0]:80").await, 200, "HTTP/2 to {version}");
    }
    for application in &both.applications {
        for head in application.heads() {
            assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{head}");
        }
    }
    for head in both.endpoints.iter().flat_map(crate::http2::Endpoint::heads) {
        assert_eq!(head.uri().path_and_query().map(http::uri::PathAndQuery::as_str), Some(target));
    }
    assert_eq!(both.arrived(), 4);
}
