use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::config::ServiceConfig;
use crate::domain::notice::NoticeEvent;
use crate::notify::event::samples;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn service() -> ServiceConfig {
    ServiceConfig { name: None, environment: None, instance: "edge-1".to_owned(), links: BTreeMap::new() }
}

#[test]
fn a_signature_is_that_of_the_specification() {
    let at = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
    let keys = [key(SECRET).expect("a secret")];
    let headers = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#, &keys);
    let expected = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn while_a_secret_is_rotated_both_sign() {
    let keys =
        [key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("a secret"), key(SECRET).expect("a secret")];
    let at = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
    let [_, _, (_, both)] = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#, &keys);
    let signatures: Vec<_> = both.split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert_eq!(signatures[1], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert!(signatures[0].starts_with("v1,") && signatures[0] != signatures[1]);
}

#[test]
fn what_is_no_secret_is_none() {
    for text in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, however long it may be", "password"] {
        assert!(key(text).is_none(), "{text}");
    }
}

#[test]
fn every_kind_of_notice_has_its_type_its_time_its_id_and_its_sentence() {
    let at = UNIX_EPOCH + Duration::from_millis(1_763_820_187_412);
    let all = samples(&service(), at);
    assert_eq!(all.iter().map(|notice| notice.event).collect::<Vec<_>>(), NoticeEvent::ALL);
    for notice in &all {
        let body: Value = serde_json::from_str(&render(notice, Some(418))).expect("it is JSON");
        assert_eq!(body["type"], notice.event.as_str());
        assert_eq!(body["timestamp"], "2025-11-22T14:03:07.412Z");
        let data = &body["data"];
        assert_eq!(data["event_id"], notice.id.as_str());
        assert_eq!((&data["sequence"], &data["durable"], &data["test"]), (&json!(418), &json!(true), &json!(true)));
        assert_eq!(data["severity"], notice.severity.as_str());
        assert!(data["summary"].as_str().is_some_and(|summary| summary.len() > 30), "{body}");
    }
}

#[test]
fn what_is_not_on_disk_has_no_number_and_what_the_ledger_does_not_keep_has_none_either() {
    let all = samples(&service(), UNIX_EPOCH);
    let body = |sequence| serde_json::from_str::<Value>(&render(&all[2], sequence)).expect("it is JSON");
    assert_eq!((&body(Some(0))["data"]["sequence"], &body(Some(0))["data"]["durable"]), (&Value::Null, &json!(false)));
    assert!(body(None)["data"].get("durable").is_none());
}

#[test]
fn a_body_stays_below_the_limit_whatever_others_wrote() {
    for mut notice in samples(&service(), UNIX_EPOCH) {
        for key in ["reason", "actor", "gate", "why"] {
            notice.data.insert(key.to_owned(), "\u{1F514}".repeat(8_000).into());
        }
        notice.sentence = "\u{1F514}".repeat(8_000);
        notice.links = vec![("Link".to_owned(), "https://x/".repeat(2_000))];
        let body = render(&notice, Some(1));
        assert!(body.len() < MOST, "{}", body.len());
        let body: Value = serde_json::from_str(&body).expect("it is JSON");
        assert_eq!(body["data"]["event_id"], notice.id.as_str());
    }
}
