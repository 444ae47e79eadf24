//! The host that a request names, and requests that name none.

use crate::http2::{END_HEADERS, END_STREAM, HEADERS, Outcome, Raw, block, frame};
use crate::requests::messages::Both;

#[tokio::test]
async fn a_request_without_a_host_reaches_an_http1_endpoint_with_an_empty_one_and_http2_without_authority() {
    let both = Both::start("").await;
    for (version, proxy) in both.proxies() {
        let mut client = proxy.connect().await;
        client.send("GET /old HTTP/1.0\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200, "HTTP/1.0 to {version}");
        let mut client = proxy.connect().await;
        client.send("GET /empty-host HTTP/1.1\r\nHost:\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200, "HTTP/1.1 to {version}");
        let mut client = Raw::connect(proxy.http).await;
        let fields = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/new")]);
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)).await;
        assert!(matches!(client.outcome(1).await, Outcome::Answer(200)), "HTTP/2 to {version}");
    }
    let heads: Vec<String> = both.applications.iter().flat_map(crate::application::Application::heads).collect();
    assert_eq!(heads.len(), 3);
    for head in heads {
        let hosts: Vec<&str> = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect();
        assert_eq!(hosts.len(), 1, "{head}");
        assert_eq!(hosts[0][5..].trim(), "", "{head}");
    }
    let heads: Vec<http::Request<()>> = both.endpoints.iter().flat_map(crate::http2::Endpoint::heads).collect();
    assert_eq!(heads.len(), 3);
    for head in heads {
        assert_eq!((head.uri().authority(), head.headers().get("host")), (None, None), "{head:?}");
    }
    both.assert_nobody_is_blamed().await;
}

#[tokio::test]
async fn http_1_1_without_a_host_is_400_whatever_its_endpoints_speak() {
    let both = Both::start("").await;
    for (version, proxy) in both.proxies() {
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 400, "{version}");
    }
    assert_eq!(both.arrived(), 0);
}
