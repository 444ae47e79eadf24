//! `[service]` and `[[notify]]`.

use super::refused::{check, row};
use super::*;
use crate::config::receiver::ReceiverUrl;
use crate::domain::notice::{NoticeEvent, Severity};

fn placed(dir: &Path) -> (String, String) {
    let (url, secret) = (dir.join("url"), dir.join("secret"));
    fs::write(&url, " https://hooks.example.com/services/T0/B0/s3cr3t \n").expect("written");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
    (url.display().to_string(), secret.display().to_string())
}

#[test]
fn a_sink_has_the_defaults_of_the_reference_and_shows_no_secret() {
    let dir = TempDir::new().expect("a directory");
    let (url, secret) = placed(dir.path());
    let config = good(&plus(&format!(
        "[[notify]]\nname = \"ops\"\nkind = \"webhook\"\nurl_file = \"{url}\"\nsecret_files = [\"{secret}\"]"
    )));
    let sink = &config.notify[0];
    assert_eq!((sink.min_severity, sink.timeout), (Severity::Info, Duration::from_secs(10)));
    assert_eq!(sink.retry.iter().map(Duration::as_secs).collect::<Vec<_>>(), [5, 30, 120, 600, 3_600, 21_600]);
    assert!(NoticeEvent::ALL.into_iter().all(|event| sink.wants(event, Severity::Info)));
    let shown = format!("{config:?}{}", config.render());
    assert!(!shown.contains("s3cr3t") && !shown.contains("whsec_") && shown.contains(&url), "{shown}");
}

#[test]
fn a_sink_is_told_what_it_names() {
    let dir = TempDir::new().expect("a directory");
    let (url, _) = placed(dir.path());
    let config = good(&plus(&format!(
        "[[notify]]\nname = \"ops\"\nkind = \"slack\"\nurl_file = \"{url}\"\nevents = [\"target.*\", \"deployment.rolled_back\"]\nmin_severity = \"warn\""
    )));
    let sink = &config.notify[0];
    assert!(
        sink.wants(NoticeEvent::TargetUnhealthy, Severity::Warn)
            && sink.wants(NoticeEvent::RolledBack, Severity::Error)
    );
    assert!(
        !sink.wants(NoticeEvent::TargetHealthy, Severity::Info) && !sink.wants(NoticeEvent::Promoted, Severity::Error)
    );
}

#[test]
fn what_is_wrong_with_a_sink_is_told_with_its_repair() {
    let dir = TempDir::new().expect("a directory");
    let (url, secret) = placed(dir.path());
    let empty = dir.path().join("empty");
    fs::write(&empty, "\n").expect("written");
    let empty = empty.display();
    let slack = format!("[[notify]]\nname = \"a\"\nkind = \"slack\"\nurl_file = \"{url}\"\n");
    let webhook = format!("[[notify]]\nname = \"a\"\nkind = \"webhook\"\nurl_file = \"{url}\"\n");
    let signed = format!("{webhook}secret_files = [\"{secret}\"]\n");
    let nameless = format!("kind = \"slack\"\nurl_file = \"{url}\"");
    check(&[
        row(plus(&format!("«[[notify]]\n{nameless}")), "[notify] has no `name`", "add `name = \"ops\"`"),
        row(plus(&format!("[[notify]]\nname = «\"a/b\"\n{nameless}")), "not a name", "40 letters"),
        row(plus(&slack.replace("\"slack\"", "«\"mail\"")), "`notify.kind` is \"mail\"", "\"slack\" or \"webhook\""),
        row(plus(&format!("{slack}{}", slack.replace("name = ", "name = «"))), "two sinks are named \"a\"", "its own"),
        row(plus(&format!("{slack}secret_files = «[\"{secret}\"]")), "is for webhooks", "take it out"),
        row(plus(&webhook.replace("[[notify]]", "«[[notify]]")), "has no `secret_files`", "add `secret_files"),
        row(
            plus(&format!("{}secret_files = []", webhook.replace("[[notify]]", "«[[notify]]"))),
            "has no secret",
            "at least one",
        ),
        row(plus(&format!("{webhook}secret_files = [«\"{url}\"]")), "is not a signing secret", "whsec_"),
        row(plus(&format!("{webhook}secret_envs = [«\"CUTOVER_NONE\"]")), "no variable CUTOVER_NONE", ""),
        row(
            plus(&format!("[[notify]]\nname = \"a\"\nkind = \"slack\"\nurl_file = «\"{secret}\"")),
            "not an address",
            "https://",
        ),
        row(plus(&format!("[[notify]]\nname = \"a\"\nkind = \"slack\"\nurl_file = «\"{empty}\"")), "is empty", ""),
        row(plus("[[notify]]\nname = \"a\"\nkind = \"slack\"\nurl_file = «\"/nowhere\""), "can't be read", ""),
        row(plus(&format!("{slack}url_env = «\"PATH\"")), "both a `url_file` and a `url_env`", "keep one"),
        row(plus(&format!("{slack}events = [«\"deployment.promotet\"]")), "is no event", "deployment.promoted"),
        row(plus(&format!("{slack}events = [«\"nothing.*\"]")), "is no event", "deployment.*"),
        row(plus(&format!("{slack}min_severity = «\"bad\"")), "not a severity", "\"page\""),
        row(plus(&format!("{slack}timeout = «\"2m\"")), "goes from 100ms to 1m", ""),
        row(plus(&format!("{signed}retry = «[]")), "1 to 20 pauses", "retry"),
        row(plus(&format!("{signed}retry = [\"5s\", «\"soon\"]")), "is no pause", "30s"),
        row(plus("[service]\nname = «\"\""), "not a label", "printable"),
        row(plus("[service.links]\nDiff = «\"https://x/{form}\""), "not the address of a page", "{from}"),
        row(plus("[service.links]\nStatus = «\"javascript:alert(1)\""), "not the address of a page", "https://"),
    ]);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let dir = TempDir::new().expect("a directory");
    let (url, _) = placed(dir.path());
    for line in [
        "url_file = \"https://hooks.example.com/s3cr3t\"".to_owned(),
        "url = \"https://hooks.example.com/s3cr3t\"".to_owned(),
        "url_env = \"https://hooks.example.com/s3cr3t\"".to_owned(),
        format!("url_file = \"{url}\"\nsecret_files = [\"whsec_s3cr3t\"]"),
        format!("url_file = \"{url}\"\nsecret_files = \"whsec_s3cr3t\""),
    ] {
        let error = bad(&plus(&format!("[[notify]]\nname = \"a\"\nkind = \"webhook\"\n{line}")));
        let shown = format!("{error}{}", error.render(false));
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}

#[test]
fn an_address_is_understood_with_and_without_port_and_never_with_a_password() {
    let parse = |text| ReceiverUrl::parse(text).map(|url| (url.tls, url.host, url.port, url.path));
    assert_eq!(parse("https://a.example/x?y=1"), Some((true, "a.example".to_owned(), 443, "/x?y=1".to_owned())));
    assert_eq!(parse("http://[::1]:8080"), Some((false, "::1".to_owned(), 8080, "/".to_owned())));
    for text in ["ftp://a/", "a.example/x", "https://u:p@a.example/", "https://", "", "unix:/x"] {
        assert_eq!(parse(text), None, "{text}");
    }
}
