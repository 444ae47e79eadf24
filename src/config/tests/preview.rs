//! `[preview]`: who may look, by which ways, and what nobody could have meant.

use super::refused::{check, row};
use super::*;

const SOME: &str = "[preview]\nallow = [\"10.0.0.0/8\"]\n";

#[test]
fn a_section_or_a_port_alone_is_a_preview_and_nothing_is_none() {
    let preview = |added: &str| good(&plus(added)).preview;
    let alone = PreviewConfig {
        header: "x-cutover-color".to_owned(),
        secret: None,
        allow: Vec::new(),
        host: None,
        name_color: false,
    };
    assert_eq!(preview(""), None);
    assert_eq!(preview("preview = \"127.0.0.1:8081\""), Some(alone.clone()));
    assert_eq!(preview("preview = \"[::1]:8081\"\n[preview]"), Some(alone.clone()));
    let allow = vec!["10.0.0.0/8".parse().expect("a network")];
    assert_eq!(preview(SOME), Some(PreviewConfig { allow, ..alone }));
    let text = SOME.to_owned() + "header = \"X-Look\"\nhost = \"Preview.Example.com.\"\nname_color = true";
    let found = preview(&text).expect("it is there");
    assert_eq!((found.header.as_str(), found.host.as_deref()), ("x-look", Some("preview.example.com")));
    assert!(found.name_color);
}

#[test]
fn a_port_for_other_machines_needs_somebody_who_may() {
    let dir = TempDir::new().expect("a directory");
    let secret = dir.path().join("secret");
    fs::write(&secret, "s3cret").expect("written");
    let open = "preview = \"0.0.0.0:8081\"\n";
    assert!(good(&plus(&format!("{open}{SOME}"))).listen.preview.is_some());
    good(&plus(&format!("{open}[preview]\nsecret_file = \"{}\"", secret.display())));
    let reason = "the preview address 0.0.0.0:8081 is for other machines, and none of them may preview";
    let repair = "use a loopback address, or add `secret_file` or `allow` under [preview]";
    check(&[
        row(plus("preview = «\"0.0.0.0:8081\""), reason, repair),
        row(plus("preview = «\"0.0.0.0:8081\"\n[preview]\nallow = []"), reason, repair),
    ]);
}

#[test]
fn what_can_not_be_meant_is_refused_with_its_place() {
    let dir = TempDir::new().expect("a directory");
    let written = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (empty, lines) = (written("empty", " \n"), written("lines", "two\nlines"));
    let taken = "which means something already";
    let header = "write \"x-cutover-color\"";
    check(&[
        row(
            plus("«[preview]"),
            "[preview] is for nobody",
            "add `secret_file` or `allow` under [preview], or `preview =",
        ),
        row(plus("«[preview]\nallow = []\nname_color = true"), "[preview] is for nobody", "add `secret_file`"),
        row(plus("[preview]\nhost = «\"a.example\""), "`preview.host` is for nobody", "add `secret_file`"),
        row(plus("preview = «\"127.0.0.1:8080\""), "`listen.http` and `listen.preview` are both", "a port of its own"),
        row(
            plus("preview = «\"8081\""),
            "`listen.preview` is \"8081\", which is not an address",
            "write address and port",
        ),
        row(plus(&format!("{SOME}host = «\"*.example.com\"")), "`preview.host` is", "without a port"),
        row(
            plus(&format!("{SOME}host = «\"a.example:80\"")),
            "`preview.host` is",
            "write \"api.example.com\", without",
        ),
        row(plus(&format!("{SOME}header = «\"x y\"")), "which is no name of a field", header),
        row(plus(&format!("{SOME}header = «\"\"")), "which is no name of a field", header),
        row(plus(&format!("{SOME}header = «\"Host\"")), taken, header),
        row(plus(&format!("{SOME}header = «\"X-Forwarded-For\"")), taken, header),
        row(plus(&format!("{SOME}header = «\"transfer-encoding\"")), taken, header),
        row(plus("[preview]\nallow = [«\"10.0.0.0/33\"]"), "is not a network", "write it as"),
        row(plus(&format!("[preview]\nsecret_file = «\"{empty}\"")), "is empty", ""),
        row(plus(&format!("[preview]\nsecret_file = «\"{lines}\"")), "is no value of a field", "on one line"),
        row(plus("[preview]\nsecret_file = «\"/nowhere/at/all\""), "can't be read", ""),
        row(plus(&format!("{SOME}name_color = «\"yes\"")), "it has to be true or false", ""),
        row(plus(&format!("{SOME}«hosts = \"a\"")), "[preview] has no key `hosts`", "did you mean `host`?"),
    ]);
}
