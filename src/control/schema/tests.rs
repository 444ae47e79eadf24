//! The version that is read out of an answer.

use super::version;
use crate::domain::schema::Version;

#[test]
fn a_version_is_a_whole_number_or_one_in_a_string_where_the_pointer_says() {
    let body = br#"{"orders": 43, "users": "7", "deep": [{"a/b": 9}], "none": null, "half": 1.5}"#;
    assert_eq!(version(body, "/orders"), Ok(Version(43)));
    assert_eq!(version(body, "/users"), Ok(Version(7)));
    assert_eq!(version(body, "/deep/0/a~1b"), Ok(Version(9)));
    assert_eq!(version(b"12", ""), Ok(Version(12)));
    for (pointer, reason) in [
        ("/gone", "there is no /gone in the answer"),
        ("/none", "/none in the answer is no version, which is a whole number"),
        ("/half", "/half in the answer is no version, which is a whole number"),
        ("", "the answer is no version, which is a whole number"),
    ] {
        assert_eq!(version(body, pointer), Err(reason.to_owned()));
    }
    assert_eq!(version(b"<html>", "/orders"), Err("the answer is not JSON".to_owned()));
}
