use super::*;
use crate::wire::head::Name;

const SECRET: &str = "open sesame; quietly";

fn ways(secret: bool) -> Ways {
    Ways {
        header: "x-cutover-color".into(),
        secret: secret.then(|| SECRET.as_bytes().into()),
        allow: ["10.0.0.0/8".parse().expect("a network")].into(),
        host: Some("preview.example.com".into()),
    }
}

fn head(values: &[&str]) -> Head {
    let mut head = Head::default();
    head.push_known(Name::Host, b"shop.example.com");
    for value in values {
        head.push(b"X-Cutover-COLOR", value.as_bytes());
    }
    head
}

fn granted(values: &[&str], host: &str, at: Listener, client: &str) -> bool {
    let found = ways(true).look(Color::Blue, &head(values), host, at, || client.parse().expect("an address"));
    assert_eq!(found.carried, !values.is_empty());
    found.granted
}

fn with_secret(color: &str) -> String {
    format!("{color}; secret={SECRET}")
}

const FRIEND: &str = "10.1.2.3";
const STRANGER: &str = "192.0.2.1";

#[test]
fn the_field_is_read_in_every_form_that_is_meant_and_in_no_other() {
    let green = Some(Wanted::Color(Color::Green));
    let inactive = Some(Wanted::Inactive);
    let rows = [
        ("green", green, None),
        (" GREEN ", green, None),
        ("Inactive", inactive, None),
        ("green;secret=abc", green, Some("abc")),
        ("inactive ; Secret=abc ", inactive, Some("abc")),
        ("green; secret=", green, Some("")),
        ("green; secret=a;b=c, d", green, Some("a;b=c, d")),
        ("; secret=abc", None, Some("abc")),
    ];
    for (value, color, secret) in rows {
        let expected = Wish { color, secret: secret.map(str::as_bytes) };
        assert_eq!(Wish::read(value.as_bytes()), Some(expected), "{value:?}");
    }
    let none = [
        "",
        ";",
        "purple",
        "purple; secret=abc",
        "green, blue",
        "green green",
        "green;",
        "green; token=abc",
        "green; secret",
        "green; secret =abc",
        "secret=abc",
    ];
    for value in none {
        assert_eq!(Wish::read(value.as_bytes()), None, "{value:?}");
    }
    assert_eq!(Wish::read(b"gr\xffen"), None);
}

#[test]
fn the_field_counts_from_friends_and_with_the_secret() {
    let ask = |value: &str, client| granted(&[value], "shop.example.com", Listener::Http, client);
    for value in ["green", "inactive"] {
        assert!(ask(value, FRIEND) && !ask(value, STRANGER) && !ask(value, "127.0.0.1"), "{value}");
        assert!(ask(&with_secret(value), STRANGER), "{value}");
    }
    for wrong in
        ["green; secret=", "green; secret=open sesame", "green; secret=open sesame; quietly!", "green; secret=x"]
    {
        assert!(!ask(wrong, STRANGER), "{wrong}");
        assert!(!ask(wrong, FRIEND), "{wrong}: as if it were not there");
    }
    assert!(!ask("blue", FRIEND) && !ask(&with_secret("blue"), STRANGER));
}

#[test]
fn without_a_secret_none_is_the_right_one() {
    for value in ["green; secret=", "green; secret=None"] {
        let found = ways(false).look(Color::Blue, &head(&[value]), "a", Listener::Http, || [192, 0, 2, 1].into());
        assert_eq!(found, Found { carried: true, granted: false }, "{value}");
    }
}

#[test]
fn a_field_that_is_there_twice_says_nothing() {
    assert!(!granted(&["green", "green"], "a", Listener::Http, FRIEND));
    assert!(!granted(&[&with_secret("green"), "green"], "a", Listener::Http, STRANGER));
    assert!(granted(&["green", "green"], "preview.example.com", Listener::Http, FRIEND), "the host says it");
}

#[test]
fn a_host_name_counts_from_friends_whatever_its_form() {
    for host in ["preview.example.com", "Preview.Example.COM:8443", "preview.example.com."] {
        assert!(granted(&[], host, Listener::Https, FRIEND), "{host}");
        assert!(!granted(&[], host, Listener::Https, STRANGER), "{host}");
        assert!(!granted(&["green; secret=x"], host, Listener::Https, STRANGER), "{host}");
        assert!(granted(&[&with_secret("")], host, Listener::Https, STRANGER), "{host}");
        assert!(!granted(&["blue"], host, Listener::Https, FRIEND), "{host}: the field is nearer");
    }
    for host in ["example.com", "x.preview.example.com", "preview.example.com.evil", ""] {
        assert!(!granted(&[], host, Listener::Https, FRIEND), "{host}");
    }
}

#[test]
fn the_port_counts_from_friends_and_from_this_machine() {
    for client in [FRIEND, "127.0.0.1", "127.1.2.3", "::1"] {
        assert!(granted(&[], "a", Listener::Preview, client), "{client}");
        assert!(!granted(&[], "a", Listener::Http, client), "{client}");
    }
    assert!(!granted(&[], "a", Listener::Preview, STRANGER));
    assert!(granted(&[&with_secret("")], "a", Listener::Preview, STRANGER));
    assert!(!granted(&[&with_secret("blue")], "a", Listener::Preview, STRANGER));
}

#[test]
fn who_asks_for_nothing_is_not_looked_up() {
    let found = ways(true).look(Color::Blue, &head(&[]), "a", Listener::Http, || panic!("nobody needs to know"));
    assert_eq!(found, Found::default());
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", ways(true));
    assert!(!shown.contains("sesame"), "{shown}");
}
