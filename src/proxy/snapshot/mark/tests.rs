use super::*;

fn marked(named: bool, fields: &[(&str, &str)]) -> Vec<String> {
    let mut head = Head::default();
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes());
    }
    Mark { color: Color::Green, named, header: "x-cutover-color".into() }.write(&mut head);
    head.fields().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect()
}

fn check(values: &[&str], expected: &str) {
    let fields: Vec<_> = values.iter().map(|value| ("Cache-Control", *value)).collect();
    assert_eq!(marked(false, &fields), [&format!("cache-control: {expected}"), "vary: x-cutover-color"], "{values:?}");
}

#[test]
fn no_shared_cache_may_keep_the_answer_and_everything_else_stays_as_it_was() {
    check(&[], "private");
    check(&[""], "private");
    check(&["max-age=60"], "private, max-age=60");
    check(&["Public, MAX-AGE=60, S-MaxAge=600, immutable"], "private, MAX-AGE=60, immutable");
    check(&["no-store"], "private, no-store");
    check(&["public", "s-maxage = 5", "must-revalidate"], "private, must-revalidate");
    check(&["private, max-age=1"], "private, max-age=1");
    check(&["private=\"set-cookie, x-a\", max-age=1"], "private, max-age=1");
    check(
        &["no-cache=\"public, a\\\", s-maxage=1\", max-age=1"],
        "private, no-cache=\"public, a\\\", s-maxage=1\", max-age=1",
    );
    check(&["x=\"not closed, public"], "private, x=\"not closed, public");
}

#[test]
fn what_is_told_to_shared_caches_alone_is_taken_away() {
    let fields = [
        ("CDN-Cache-Control", "max-age=600"),
        ("Surrogate-Control", "max-age=600"),
        ("Acme-CDN-Cache-Control", "max-age=600"),
        ("X-Accel-Expires", "600"),
        ("Edge-Control", "cache-maxage=60m"),
        ("ETag", "\"1\""),
    ];
    assert_eq!(marked(false, &fields), ["ETag: \"1\"", "cache-control: private", "vary: x-cutover-color"]);
}

#[test]
fn what_varies_already_stays_so() {
    let vary = |value: &str| marked(false, &[("Vary", value)]);
    assert_eq!(vary("*"), ["Vary: *", "cache-control: private"]);
    assert_eq!(vary("Accept, X-Cutover-Color"), ["Vary: Accept, X-Cutover-Color", "cache-control: private"]);
    assert_eq!(vary("Accept"), ["Vary: Accept", "cache-control: private", "vary: x-cutover-color"]);
}

#[test]
fn the_color_is_named_where_that_is_wanted_whatever_the_endpoint_says() {
    let fields = [("X-Cutover-Color", "blue"), ("X-Cutover-Color", "red")];
    assert_eq!(marked(true, &fields), ["cache-control: private", "vary: x-cutover-color", "x-cutover-color: green"]);
    assert_eq!(marked(false, &fields).len(), 4, "it is the endpoint's own then");
}
