use axum::http::HeaderValue;

use super::*;
use crate::config::{Secret, TokenConfig};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).expect("a field"));
    }
    headers
}

fn tokens() -> Access {
    let token = |name: &str, role, secret: &str| TokenConfig {
        name: name.to_owned(),
        role,
        secret: Some(Secret(secret.to_owned())),
    };
    let tokens = [token("deploy", Role::Operator, "s3cret"), token("screen", Role::Viewer, "look")];
    Access { tokens: Arc::from(tokens), tls: None, certificates: false }
}

fn asked(method: &Method, path: &str, authorization: &str) -> Result<Actor, u16> {
    let peer = Peer::tcp(SocketAddr::from(([10, 0, 0, 9], 5)));
    let headers = headers(&[("host", "proxy.internal:9900"), ("authorization", authorization)]);
    actor(&peer, &tokens(), method, path, &headers).map_err(|problem| problem.status)
}

#[test]
fn a_bearer_token_is_taken_whatever_the_case_of_the_scheme() {
    for written in ["Bearer abc", "bearer abc", "BEARER abc", "Bearer   abc", "Bearer abc "] {
        assert_eq!(bearer(&headers(&[("authorization", written)])), Some(&b"abc"[..]), "{written:?}");
    }
    for written in ["", "Bearer", "Basic abc", "Bearerabc", "abc", "Bearer:abc", "b"] {
        assert_eq!(bearer(&headers(&[("authorization", written)])), None, "{written:?}");
    }
    assert_eq!(bearer(&HeaderMap::new()), None);
}

#[test]
fn the_token_says_who_it_is_and_what_it_may() {
    let source = "10.0.0.9:5".to_owned();
    let deploy = Actor { name: "deploy".to_owned(), source: source.clone(), role: Role::Operator, key: None };
    assert_eq!(asked(&Method::POST, "/admin/switch", "Bearer s3cret"), Ok(deploy));
    let screen = Actor { name: "screen".to_owned(), source, role: Role::Viewer, key: None };
    assert_eq!(asked(&Method::GET, "/admin/status", "Bearer look"), Ok(screen.clone()));
    assert_eq!(asked(&Method::HEAD, "/admin/status", "Bearer look"), Ok(screen));
    for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
        assert_eq!(asked(&method, "/admin/switch", "Bearer look"), Err(403));
    }
}

#[test]
fn only_the_whole_token_opens() {
    let long = format!("Bearer {}", "s3cret".repeat(1000));
    for token in ["Bearer s3cre", "Bearer s3crets", "Bearer S3cret", "Bearer s3cret look", "Bearer \u{e9}", "", &long] {
        assert_eq!(asked(&Method::GET, "/admin/status", token), Err(401), "{token:?}");
    }
}

#[test]
fn probes_need_no_token_and_nothing_else_goes_without() {
    for path in ["/livez", "/readyz"] {
        assert!(asked(&Method::GET, path, "").is_ok());
    }
    for path in ["/metrics", "/admin/status", "/livez/", "/nothing"] {
        assert_eq!(asked(&Method::GET, path, ""), Err(401), "{path}");
    }
}

#[test]
fn without_tokens_the_host_has_to_be_an_address_or_localhost() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:9900",
        "[::1]",
        "[::1]:9900",
        "10.1.2.3:80",
        "localhost",
        "localhost:9900",
        "LOCALHOST",
        "localhost.",
        "cutover.localhost:9900",
    ] {
        assert!(local_host(&headers(&[("host", host)])).is_ok(), "{host:?}");
    }
    for host in
        ["evil.example", "evil.example:9900", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"]
    {
        let refused = local_host(&headers(&[("host", host)])).expect_err("a foreign name");
        assert_eq!((refused.status, refused.code.as_str()), (403, "cross_origin"), "{host:?}");
    }
}

#[test]
fn an_origin_has_to_be_that_of_the_host() {
    let origin = |origin: &str| same_origin(&headers(&[("host", "[::1]:9900"), ("origin", origin)])).is_ok();
    assert!(origin("http://[::1]:9900"));
    for other in ["null", "", "http://[::1]", "http://[::1]:9901", "http://evil.example", "file://[::1]:9900"] {
        assert!(!origin(other), "{other:?}");
    }
    let nowhere = headers(&[("origin", "http://")]);
    assert!(same_origin(&nowhere).is_err(), "without a host there is no same origin");
    let two = headers(&[("host", "a"), ("origin", "http://a"), ("origin", "http://b")]);
    assert!(same_origin(&two).is_err(), "each origin counts");
}

#[test]
fn a_token_does_not_help_a_page_of_another_origin() {
    let peer = Peer::tcp(SocketAddr::from(([127, 0, 0, 1], 5)));
    for field in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")]
    {
        let headers = headers(&[("host", "proxy:9900"), ("authorization", "Bearer s3cret"), field]);
        let refused = actor(&peer, &tokens(), &Method::POST, "/admin/switch", &headers).expect_err("another origin");
        assert_eq!((refused.status, refused.code.as_str()), (403, "cross_origin"), "{field:?}");
    }
}
