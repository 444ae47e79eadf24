use std::collections::BTreeMap;
use std::time::SystemTime;

use super::*;
use crate::config::ServiceConfig;
use crate::domain::notice::NoticeEvent;
use crate::notify::event::samples;

fn service() -> ServiceConfig {
    ServiceConfig {
        name: Some("shop".to_owned()),
        environment: Some("prod".to_owned()),
        instance: "edge-1".to_owned(),
        links: BTreeMap::from([("Diff".to_owned(), "https://git.example.com/compare/{from}...{to}".to_owned())]),
    }
}

fn rendered(notice: &Notice) -> Value {
    serde_json::from_str(&render(notice, true)).expect("it is JSON")
}

/// Every text in it.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => values.values().for_each(|value| texts(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Limits beyond which Slack refuses a message.
fn assert_within_limits(message: &Value) {
    let blocks = message["blocks"].as_array().expect("blocks");
    assert!(blocks.len() <= 50);
    let length = |value: &Value| value.as_str().expect("a text").chars().count();
    assert!((1..=4_000).contains(&length(&message["text"])));
    for block in blocks {
        match block["type"].as_str().expect("a type") {
            "header" => assert!((1..=150).contains(&length(&block["text"]["text"])), "{block}"),
            "section" if block["fields"].is_array() => {
                let fields = block["fields"].as_array().expect("a list");
                assert!((1..=10).contains(&fields.len()));
                fields.iter().for_each(|field| assert!((1..=2_000).contains(&length(&field["text"])), "{field}"));
            }
            "section" => assert!((1..=3_000).contains(&length(&block["text"]["text"])), "{block}"),
            "context" => assert!((1..=10).contains(&block["elements"].as_array().expect("a list").len())),
            "actions" => {
                for button in block["elements"].as_array().expect("a list") {
                    assert!((1..=75).contains(&length(&button["text"]["text"])), "{button}");
                    assert!((1..=3_000).contains(&length(&button["url"])), "{button}");
                    assert!(
                        button.get("action_id").is_none() && button.get("value").is_none(),
                        "a link, and no action"
                    );
                }
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn every_kind_of_notice_has_a_message_within_the_limits_of_slack() {
    let all = samples(&service(), SystemTime::now());
    assert_eq!(all.iter().map(|notice| notice.event).collect::<Vec<_>>(), NoticeEvent::ALL);
    for notice in &all {
        let message = rendered(notice);
        assert_within_limits(&message);
        let text = message["text"].as_str().expect("a text");
        assert!(text.contains("shop/prod: ") && text.len() > 40, "it stands alone: {text}");
    }
}

#[test]
fn a_message_of_a_rollback_says_what_why_and_how_bad_it_was() {
    let all = samples(&service(), SystemTime::now());
    let notice = all.iter().find(|notice| notice.event == NoticeEvent::RolledBack).expect("there is one");
    let message = rendered(notice);
    let mut found = Vec::new();
    texts(&message, &mut found);
    let all = found.join("\n");
    for part in [
        "Rolled back from 2.14.0 (green) to 2.13.0 (blue) by deploy",
        "had served for 38 s and answered 1,910 requests, 212 of them with 5xx (11.10 %)",
        "51.2 requests/s on green, 11.6 of them with 5xx (22.66 %)",
        "3 of 3 endpoints up",
        "none: Nothing to roll back to: blue was itself reached by a rollback",
        "generation 7",
        "https://git.example.com/compare/2.14.0...2.13.0",
    ] {
        assert!(all.contains(part), "{part} is not in\n{all}");
    }
}

#[test]
fn what_others_wrote_can_be_no_link_and_no_mention() {
    assert_eq!(escaped("<!channel> & <https://x|y>", 100), "&lt;!channel&gt; &amp; &lt;https://x|y&gt;");
    let all = samples(&service(), SystemTime::now());
    for notice in &all {
        let message = rendered(notice);
        // Plain texts are not read for markup; all others are.
        let mut marked = vec![message["text"].as_str().expect("a text").to_owned()];
        for block in message["blocks"].as_array().expect("blocks").iter().filter(|block| block["type"] == "section") {
            texts(&block["text"], &mut marked);
            texts(&block["fields"], &mut marked);
        }
        for text in marked {
            assert!(!text.contains(['<', '>']), "{text}");
            let entities = text.matches("&amp;").count() + text.matches("&lt;").count() + text.matches("&gt;").count();
            assert_eq!(text.matches('&').count(), entities, "{text}");
        }
    }
}

#[test]
fn a_long_text_is_cut_between_escapes() {
    let text = escaped(&"<".repeat(5_000), 3_000);
    assert!(text.chars().count() <= 3_000 && text.ends_with("&lt;…"), "{}", text.len());
}

#[test]
fn the_longest_notice_is_within_the_limits_too() {
    let mut all = samples(&service(), SystemTime::now());
    for notice in &mut all {
        notice.headline = "&".repeat(10_000);
        notice.sentence = "<".repeat(10_000);
        notice.next = "\u{1F514}".repeat(10_000);
        notice.fields = (0..20).map(|_| ("Field", ">".repeat(10_000))).collect();
        notice.links = vec![("Link".repeat(100), format!("https://x/{}", "a".repeat(2_900)))];
        assert_within_limits(&rendered(notice));
        notice.links = vec![("Link".to_owned(), format!("https://x/{}", "a".repeat(3_000)))];
        assert_within_limits(&rendered(notice));
    }
}

#[test]
fn what_is_not_on_disk_says_so() {
    let all = samples(&service(), SystemTime::now());
    assert!(render(&all[2], false).contains("*On disk*"));
    assert!(!render(&all[2], true).contains("*On disk*"));
}
