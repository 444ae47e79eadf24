use axum::http::HeaderValue;

use super::*;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let parsed = fields.iter().map(|(name, value)| {
        (name.parse().expect("a field name"), HeaderValue::from_str(value).expect("a field value"))
    });
    parsed.collect()
}

#[test]
fn a_host_is_local_as_an_address_in_any_form_or_as_localhost() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:9900",
        "[::1]",
        "[::1]:9900",
        "10.0.0.5:1",
        "localhost",
        "LOCALHOST:1",
        "app.localhost.",
    ] {
        assert!(local_host(&headers(&[("host", host)])).is_ok(), "{host}");
    }
    assert!(local_host(&headers(&[])).is_ok(), "HTTP/1.0, which no browser speaks");
    for host in
        ["evil.example", "evil.example:9900", "127.0.0.1.evil.example", "localhost.evil", "[::1].evil:1", "1.2.3"]
    {
        assert!(local_host(&headers(&[("host", host)])).is_err(), "{host}");
    }
}

#[test]
fn an_origin_is_ours_only_when_it_is_the_host_to_the_letter_and_port() {
    let own = |origin: &str, host: &str| same_origin(&headers(&[("origin", origin), ("host", host)])).is_ok();
    assert!(own("http://127.0.0.1:9900", "127.0.0.1:9900"));
    assert!(own("https://Cutover.internal", "cutover.internal"));
    for origin in ["http://127.0.0.1", "http://127.0.0.1:99", "null", "", "file://", "http://127.0.0.1:9900.evil"] {
        assert!(!own(origin, "127.0.0.1:9900"), "{origin}");
    }
    assert!(!own("http://", ""), "no host is no origin");
}

#[test]
fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
    for (value, token) in
        [("Bearer abc", Some("abc")), ("bearer  abc ", Some("abc")), ("Basic abc", None), ("Bear", None)]
    {
        let headers = headers(&[("authorization", value)]);
        assert_eq!(bearer(&headers), token.map(str::as_bytes), "{value}");
    }
}
