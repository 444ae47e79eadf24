//! The size of what endpoints may answer with.

use std::net::SocketAddr;

use http::Response;

use crate::http2::{Client, bodiless};
use crate::requests::messages::{endpoint, in_front_of};

fn number(path: &str) -> usize {
    path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// `/fields/N`: so many. `/bytes/N`: one of so many bytes.
fn fields(path: &str) -> Vec<(String, String)> {
    match path.starts_with("/bytes/") {
        true => vec![("x-long".to_owned(), "v".repeat(number(path)))],
        false => (0..number(path)).map(|n| (format!("x-{n}"), "v".to_owned())).collect(),
    }
}

async fn over_http1() -> SocketAddr {
    endpoint(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let fields: String = fields(path).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        // The length is a field, too.
        let fields = if path.starts_with("/bytes/") { fields } else { fields.replacen("x-0: v\r\n", "", 1) };
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")
    })
    .await
}

async fn over_http2() -> SocketAddr {
    bodiless(|request| {
        let mut answer = Response::builder();
        for (name, value) in fields(request.uri().path()) {
            answer = answer.header(name, value);
        }
        answer.body(()).expect("a head")
    })
    .await
}

#[tokio::test]
async fn an_answer_may_have_256_fields_and_one_more_is_502_with_the_limit_in_the_log() {
    for (address, policy) in [(over_http1().await, ""), (over_http2().await, "protocol = \"http2\"")] {
        let proxy = in_front_of(address, policy).await;
        let answer = proxy.get("/fields/256").await;
        assert_eq!(answer.status, 200, "{policy}");
        assert!(answer.headers.iter().filter(|(name, _)| name.starts_with("x-")).count() >= 255, "{policy}");
        assert_eq!(Client::connect(proxy.http).await.get("/fields/256").await.status, 200, "{policy}");
        let answer = proxy.get("/fields/257").await;
        assert_eq!(answer.status, 502, "{policy}");
        assert_eq!(answer.header("proxy-status"), Some("cutover; error=http_protocol_error"));
        proxy.until_logged("The answer has more fields than max_response_headers (256).").await;
        assert_eq!(proxy.get("/bytes/200000").await.status, 200, "{policy}");
        assert_eq!(proxy.get("/bytes/263000").await.status, 502, "{policy}");
        proxy.until_logged("The head is larger than max_response_header_bytes (262144).").await;
    }
}

#[tokio::test]
async fn the_limits_of_answers_are_configurable() {
    let limits = "max_response_headers = 1000\nmax_response_header_bytes = \"8KiB\"\n";
    for (address, policy) in [(over_http1().await, ""), (over_http2().await, "protocol = \"http2\"\n")] {
        let proxy = in_front_of(address, &format!("{policy}{limits}")).await;
        assert_eq!(proxy.get("/fields/500").await.status, 200, "{policy}");
        assert_eq!(proxy.get("/bytes/8000").await.status, 200, "{policy}");
        assert_eq!(proxy.get("/fields/1001").await.status, 502, "{policy}");
        assert_eq!(proxy.get("/bytes/9000").await.status, 502, "{policy}");
        proxy.until_logged("The head is larger than max_response_header_bytes (8192).").await;
    }
}

#[tokio::test]
async fn the_log_names_the_rule_and_the_bytes_for_which_an_answer_is_refused() {
    let address = endpoint(|head| match head.split(' ').nth(1) {
        Some("/name") => "HTTP/1.1 200 OK\r\nX-Fine: 1\r\nbad\x01name: c\r\n\r\n".to_owned(),
        Some("/lf") => "HTTP/1.1 200 OK\r\nX-Fine: 1\nX-Next: 2\r\n\r\n".to_owned(),
        Some("/lengths") => "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
        _ => "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
    })
    .await;
    let proxy = in_front_of(address, "").await;
    for (path, rule, bytes) in [
        ("/name", "The name of a header field is not valid.", r"bad\\x01name: c\\r\\n"),
        ("/lf", "A line ends in a bare line feed.", r"X-Fine: 1\\n"),
        ("/lengths", "There are several lengths.", r"content-length: 1\\r\\ncontent-length: 2\\r\\n"),
        ("/", "", r"SSH-2.0-OpenSSH_9.2\\r\\n"),
    ] {
        assert_eq!(proxy.get(path).await.status, 502, "{path}");
        let log = proxy.until_logged(bytes).await;
        let line = log.lines().find(|line| line.contains(bytes)).expect("it is there");
        assert!(line.contains(rule) && line.contains("answer refused"), "{line}");
    }
    // At a bounded rate: two workers write five lines each in ten seconds.
    for _ in 0..50 {
        assert_eq!(proxy.get("/lf").await.status, 502);
    }
    let lines = proxy.log().lines().filter(|line| line.contains("answer refused")).count();
    assert!(lines <= 20, "{lines}");
}
