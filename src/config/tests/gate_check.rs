//! `[[gate.check]]` and `[linger]`: what they mean, and what is refused.

use super::refused::{check, row};
use super::*;

#[test]
fn a_check_needs_only_a_path_and_has_the_defaults_of_the_reference() {
    let config = good(&plus("[[gate.check]]\npath = \"/login\""));
    let [only] = config.gate_checks.as_slice() else { panic!("one check") };
    let expected = GateCheck {
        name: "GET /login".to_owned(),
        upstream: "default".to_owned(),
        method: "GET".to_owned(),
        path: "/login".to_owned(),
        host: None,
        headers: BTreeMap::new(),
        header_files: BTreeMap::new(),
        body: None,
        expect: (200, 299),
        expect_headers: BTreeMap::new(),
        expect_body: None,
        expect_json: BTreeMap::new(),
        timeout: Duration::from_secs(2),
        times: 1,
        on_rollback: false,
    };
    assert_eq!(*only, expected);
}

#[test]
fn a_wrong_check_is_refused_with_its_place() {
    let one = |more: &str| plus(&format!("[[gate.check]]\npath = \"/x\"\n{more}"));
    check(&[
        row(plus("«[[gate.check]]\nname = \"a\""), "[gate.check] has no `path`", "path = \"/login\""),
        row(
            plus("[[gate.check]]\npath = «\"login\""),
            "`gate.check.path` is \"login\", which is not a path",
            "begin it",
        ),
        row(one("method = «\"get\""), "no check asks with", "\"GET\""),
        row(one("method = «\"CONNECT\""), "no check asks with", "\"GET\""),
        row(one("host = «\"a b\""), "is not a host", "app.example.com"),
        row(one("expect = «\"ok\""), "`gate.check.expect` is \"ok\"", "200-299"),
        row(one("upstream = «\"api\""), "no color has endpoints for the upstream \"api\"", "`upstream` of the check"),
        row(one("headers = { «host = \"a\" }"), "is set by the proxy", "use `host`"),
        row(one("headers = { «\"a b\" = \"1\" }"), "is no name of a field", "x-probe"),
        row(one("headers = { a = «\"x\\ny\" }"), "is no value of a field", "one line"),
        row(one("headers = { «Authorization = \"Bearer x\" }"), "is a secret", "header_files"),
        row(one("headers = { a = «1 }"), "`gate.check.headers.a` is an integer", ""),
        row(one("header_files = { a = «\"/none\" }"), "the secret in \"/none\" can't be read", ""),
        row(one("body = \"\"\nbody_file = «\"/none\""), "are both there", "keep one"),
        row(one("expect_body = «\"\""), "every body contains", "leave it out"),
        row(one("method = \"HEAD\"\nexpect_body = «\"x\""), "the response to HEAD has no body", "GET"),
        row(one("expect_json = { «a = 1 }"), "\"a\" is not a JSON pointer", "begin it"),
        row(one("expect_json = { \"/a\" = «1.5 }"), "is a float", ""),
        row(one("times = «0"), "it goes from 1 to 10000", ""),
        row(one("timeout = «\"1ms\""), "it goes from 10ms to 1h", ""),
        row(one("«retries = 3"), "[gate.check] has no key `retries`", "it knows `body`"),
        row(
            plus("[[gate.check]]\npath = \"/x\"\n«[[gate.check]]\npath = \"/x\""),
            "there is another check with the name \"GET /x\"",
            "`name` of its own",
        ),
        row(plus("[gate]\ncheck = «\"/login\""), "it has to be a list of tables", ""),
    ]);
}

#[test]
fn a_secret_of_a_check_appears_nowhere() {
    let wrong = bad(&plus("[[gate.check]]\npath = \"/x\"\nheaders = { cookie = \"s3cret\" }"));
    let shown = format!("{wrong} {wrong:?} {}", wrong.render(false));
    assert!(!shown.contains("s3cret"), "{shown}");
    let dir = TempDir::new().expect("a directory");
    let kept = dir.path().join("kept");
    fs::write(&kept, "s3cret").expect("written");
    let kept = kept.display();
    let config = good(&plus(&format!(
        "[[gate.check]]\npath = \"/x\"\nheader_files = {{ cookie = \"{kept}\" }}\nbody_file = \"{kept}\""
    )));
    assert_eq!(config.gate_checks[0].header_files["cookie"].value, Some(Secret("s3cret".to_owned())));
    let shown = format!("{config:?} {}", config.render());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn lingering_paths_are_prefixes_as_those_of_routes() {
    let config = good(&plus("[linger]\npaths = [\"/assets/\", \"/static\"]"));
    assert_eq!(config.linger.paths, ["/assets/", "/static"]);
    check(&[
        row(plus("[linger]\npaths = [«\"assets\"]"), "`linger.paths` is \"assets\", which is not a path", "begin it"),
        row(plus("[linger]\npaths = [«\"/a/../b\"]"), "which no request can match", "normal form"),
        row(plus("[linger]\npaths = [«\"/\"]"), "pages of an old release must not come back", "/assets/"),
        row(plus("[linger]\npaths = [\"/a/\", «\"/a\"]"), "is in `linger.paths` twice", "keep one"),
        row(plus("[linger]\nfor = «\"1ms\""), "it goes from 1s to 30days", ""),
        row(plus("[linger]\nbudget = «\"0%\""), "it goes from 1% to 100%", ""),
        row(plus("[linger]\n«path = [\"/a\"]"), "[linger] has no key `path`", "`paths`"),
    ]);
}
