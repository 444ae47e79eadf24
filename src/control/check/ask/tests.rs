use super::*;

fn check() -> GateCheck {
    GateCheck {
        name: "c".to_owned(),
        upstream: "default".to_owned(),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Default::default(),
        header_files: Default::default(),
        body: None,
        expect: (200, 299),
        expect_headers: Default::default(),
        expect_body: None,
        expect_json: Default::default(),
        timeout: std::time::Duration::from_secs(1),
        times: 1,
        on_rollback: false,
    }
}

fn response(status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
    let mut head = Head::default();
    head.set_status_line(status, b"");
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes());
    }
    Response { head, body: body.as_ref().to_vec() }
}

#[track_caller]
fn fails(response: &Response, check: &GateCheck, found: &str, wanted: &str) {
    let failure = as_wanted(response, check).expect_err("it is not as wanted");
    assert_eq!((failure.found.as_str(), failure.wanted.as_str()), (found, wanted));
}

#[test]
fn a_status_is_one_or_in_a_range() {
    let range = check();
    assert_eq!(as_wanted(&response(204, &[], ""), &range), Ok(()));
    fails(&response(500, &[], ""), &range, "status 500", "status 200 to 299");
    let moved = response(302, &[("location", "/log\"in")], "");
    fails(&moved, &GateCheck { expect: (200, 200), ..range }, "status 302 to \"/log\\\"in\"", "status 200");
}

#[test]
fn a_header_contains_a_text_or_is_there() {
    let kind = GateCheck { expect_headers: [("content-type".to_owned(), "json".to_owned())].into(), ..check() };
    assert_eq!(as_wanted(&response(200, &[("Content-Type", "application/json")], ""), &kind), Ok(()));
    let html = response(200, &[("content-type", "text/html")], "");
    fails(&html, &kind, "content-type: \"text/html\"", "content-type with \"json\"");
    fails(&response(200, &[], ""), &kind, "no header content-type", "content-type with \"json\"");
    let any = GateCheck { expect_headers: [("etag".to_owned(), String::new())].into(), ..check() };
    assert_eq!(as_wanted(&response(200, &[("ETag", "1")], ""), &any), Ok(()));
    fails(&response(200, &[], ""), &any, "no header etag", "a header etag");
}

#[test]
fn a_body_contains_a_text_and_what_came_is_cut_and_escaped() {
    let welcome = GateCheck { expect_body: Some("Welcome".to_owned()), ..check() };
    assert_eq!(as_wanted(&response(200, &[], "<h1>Welcome</h1>"), &welcome), Ok(()));
    fails(&response(200, &[], ""), &welcome, "an empty body", "\"Welcome\" in the body");
    let hostile = response(200, &[], "\u{1b}[31m\n\"x\"");
    fails(&hostile, &welcome, "body \"\\u{1b}[31m\\n\\\"x\\\"\"", "\"Welcome\" in the body");
    let long = response(200, &[], vec![b'x'; MAX_BODY + 1]);
    let found = format!("body \"{}…\"", "x".repeat(TOLD));
    fails(&long, &welcome, &found, "\"Welcome\" in the first 256 KiB of the body");
}

#[test]
fn values_stand_at_json_pointers_with_their_types() {
    let expected = [
        ("/db/ready".to_owned(), Scalar::Boolean(true)),
        ("/db/name".to_owned(), Scalar::Text("orders".to_owned())),
        ("/version".to_owned(), Scalar::Whole(43)),
    ];
    let json = GateCheck { expect_json: expected.into(), ..check() };
    let good = r#"{"db":{"ready":true,"name":"orders"},"version":43}"#;
    assert_eq!(as_wanted(&response(200, &[], good), &json), Ok(()));
    let other = good.replace("true", "\"true\"");
    fails(&response(200, &[], other), &json, "/db/ready = \"true\"", "/db/ready = true");
    fails(&response(200, &[], good.replace("43", "42")), &json, "/version = 42", "/version = 43");
    fails(&response(200, &[], "{}"), &json, "nothing at /db/name", "/db/name = \"orders\"");
    fails(&response(200, &[], "<html>"), &json, "a body that is not JSON: \"<html>\"", "/db/name = \"orders\"");
    let whole = GateCheck { expect_json: [(String::new(), Scalar::Text("ok".to_owned()))].into(), ..check() };
    assert_eq!(as_wanted(&response(200, &[], "\"ok\""), &whole), Ok(()));
    let large = response(200, &[], vec![b' '; MAX_BODY + 1]);
    fails(&large, &whole, "a body above 256 KiB", "the body = \"ok\"");
}
