//! Canaries by the admin API: what is understood, what is answered, who may, and what status, events and history carry.

use serde_json::{Value, json};

use crate::admin::events::Events;
use crate::admin::{OPERATOR, VIEWER, pair, problem, with_tokens};
use crate::proxy::{Proxy, Setup};

async fn canary(proxy: &Proxy) -> Value {
    let answer = proxy.admin("GET", "/admin/canary", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_canary_goes_step_by_step_to_all_of_the_traffic_and_every_answer_says_where_it_stands() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let nothing = canary(&proxy).await;
    assert_eq!((&nothing["canary"], &nothing["phase"]), (&Value::Null, &json!("steady")));
    assert_eq!(nothing["split"], json!({ "blue": 100.0, "green": 0.0 }));
    assert_eq!(proxy.status().await["canary"], Value::Null);

    let body = json!({ "weight": "5%", "plan": { "steps": [25], "dwell": "1h", "max_step": "2h", "holdback": "0%" },
                       "mode": "observe", "if_generation": 1, "reason": "release 2" });
    let answer = proxy.post("/admin/canary", body).await.json();
    assert_eq!((&answer["changed"], &answer["generation"]), (&json!(true), &json!(2)), "{answer}");
    assert_eq!(answer["split"], json!({ "blue": 95.0, "green": 5.0 }), "{answer}");
    let now = canary(&proxy).await;
    assert_eq!(now["phase"], "canary", "{now}");
    let on_its_way = &now["canary"];
    for (key, value) in [
        ("id", json!("dep-2")),
        ("color", json!("green")),
        ("release", json!("2.0")),
        ("stable", json!("1.0")),
        ("stage", json!("step")),
        ("step", json!(1)),
        ("weight", json!(5.0)),
        ("mode", json!("observe")),
    ] {
        assert_eq!(on_its_way[key], value, "{key} of {now}");
    }
    assert_eq!(on_its_way["plan"]["steps"], json!([5.0, 25.0]), "{now}");
    assert_eq!(
        (&on_its_way["plan"]["dwell_s"], &on_its_way["next"]["weight"]),
        (&json!(3600.0), &json!(25.0)),
        "{now}"
    );
    let status = proxy.status().await;
    assert_eq!((&status["canary"]["id"], &status["phase"]), (&json!("dep-2"), &json!("canary")), "{status}");
    assert_eq!((&status["active"], &status["split"]["green"]), (&json!("blue"), &json!(5.0)), "{status}");
    assert!(status["canary"].get("routes").is_none(), "the status is short");

    let held = proxy.post("/admin/canary/hold", json!({ "reason": "lunch" })).await.json();
    assert_eq!(held["canary"]["held"]["reason"], "lunch", "{held}");
    assert_eq!(canary(&proxy).await["canary"]["next"]["stopped"], "held");
    assert_eq!(proxy.post("/admin/canary/hold", json!({})).await.json()["changed"], false);
    let resumed = proxy.post("/admin/canary/resume", json!({})).await.json();
    assert_eq!((&resumed["changed"], &resumed["canary"]["held"]), (&json!(true), &Value::Null), "{resumed}");

    let further = proxy.post("/admin/canary/advance", json!({})).await.json();
    assert_eq!(further["split"], json!({ "blue": 75.0, "green": 25.0 }), "{further}");
    let all = proxy.post("/admin/canary/advance", json!({ "full": true })).await.json();
    assert_eq!((&all["active"], &all["split"]["green"]), (&json!("green"), &json!(100.0)), "{all}");
    assert_eq!((&all["canary"]["stage"], &all["canary"]["id"]), (&json!("bake"), &json!("dep-2")), "{all}");
    assert_eq!(proxy.color().await, "green");

    let back = proxy.post("/admin/canary/abort", json!({ "quarantine": true, "reason": "slow" })).await.json();
    assert_eq!((&back["active"], &back["canary"]), (&json!("blue"), &Value::Null), "{back}");
    let known = proxy.admin("GET", "/admin/deployments", "").await.json();
    assert_eq!(known["deployments"][0]["id"], "dep-2", "{known}");
    assert_eq!(known["deployments"][0]["outcome"], "rolled_back", "{known}");
    let history = proxy.admin("GET", "/admin/history?kind=canary,advance", "").await.json();
    let weights: Vec<_> =
        history["transitions"].as_array().expect("a list").iter().map(|t| &t["canary"]["weight"]).collect();
    assert_eq!(weights, [&json!(25.0), &json!(5.0)], "{history}");
    let of_it = proxy.admin("GET", "/admin/history?release=2.0&kind=canary", "").await.json();
    assert_eq!(
        of_it["transitions"][0]["canary"]["id"], "dep-2",
        "what is only on its way is found by its name: {of_it}"
    );
}

#[tokio::test]
async fn what_is_not_understood_changes_nothing_and_says_which_key_is_wrong() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (body, code, said) in [
        (json!({ "weight": "5" }), "bad_request", "`weight`"),
        (json!({ "steps": ["5%"] }), "bad_request", "steps"),
        (json!({ "plan": { "steps": ["5%"], "bake": "1m" } }), "bad_request", "bake"),
        (json!({ "plan": { "dwell": 30 } }), "bad_request", "string"),
        (json!({ "plan": { "on_insufficient": "stop" } }), "bad_request", "`plan.on_insufficient`"),
        (json!({ "mode": "maybe" }), "bad_request", "`mode`"),
        (json!({ "weight": 0 }), "bad_plan", "0 %"),
        (json!({ "weight": 100 }), "bad_plan", "100 %"),
        (json!({ "plan": { "steps": [] } }), "bad_plan", "no step"),
        (json!({ "plan": { "steps": [50, 25] } }), "bad_plan", "do not grow"),
        (json!({ "plan": { "dwell": "2h", "max_step": "1h" } }), "bad_plan", "dwell"),
        (json!({ "plan": { "holdback": "60%" } }), "bad_plan", "hold-back"),
    ] {
        let answer = proxy.post("/admin/canary", body.clone()).await;
        assert_eq!(problem(&answer, 400), code, "{body}");
        assert!(
            answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(said)),
            "{body}: {}",
            answer.text()
        );
    }
    for path in ["advance", "pause", "resume"] {
        let path = format!("/admin/canary/{path}");
        assert_eq!(problem(&proxy.post(&path, json!({ "what": 1 })).await, 400), "bad_request", "{path}");
        assert_eq!(problem(&proxy.post(&path, json!({})).await, 409), "no_canary", "{path}");
        assert_eq!(problem(&proxy.admin("GET", &path, "").await, 405), "method_not_allowed", "{path}");
    }
    assert_eq!(problem(&proxy.post("/admin/canary", json!({ "if_generation": 9 })).await, 412), "stale_generation");
    green.set_healthy(false);
    let text = proxy.text();
    proxy.replace_file(&text.replace("timeout = \"5s\"\n\n[drain]", "timeout = \"1s\"\n\n[drain]"));
    let answer = proxy.post("/admin/canary", json!({})).await;
    assert_eq!(problem(&answer, 409), "unhealthy");
    assert_eq!(answer.json()["endpoints"][0]["passed"], false, "{}", answer.text());
    assert_eq!(canary(&proxy).await["canary"], Value::Null);
    for (id, status, code) in
        [("dep-9", 404, "not_recorded"), ("last", 400, "bad_request"), ("..%2Fledger", 400, "bad_request")]
    {
        let answer = proxy.admin("GET", &format!("/admin/deployments/{id}/record"), "").await;
        assert_eq!(problem(&answer, status), code, "{id}");
    }
}

#[tokio::test]
async fn a_viewer_may_look_and_not_touch() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    for path in ["/admin/canary", "/admin/deployments"] {
        assert_eq!(proxy.with_token(VIEWER, "GET", path, "").await.status, 200, "{path}");
        assert_eq!(proxy.ask("GET", path, &[], "").await.status, 401, "{path}");
    }
    for path in ["", "/advance", "/hold", "/resume", "/abort"] {
        let path = format!("/admin/canary{path}");
        assert_eq!(problem(&proxy.with_token(VIEWER, "POST", &path, "").await, 403), "forbidden", "{path}");
    }
    let foreign = [("Authorization", &*format!("Bearer {OPERATOR}")), ("Origin", "http://elsewhere.example")];
    let answer = proxy.ask("POST", "/admin/canary", &foreign, "").await;
    assert_eq!(problem(&answer, 403), "cross_origin");
    assert_eq!(proxy.with_token(OPERATOR, "POST", "/admin/canary", "{}").await.status, 200);
    let history = proxy.with_token(VIEWER, "GET", "/admin/history", "").await.json();
    assert_eq!(
        (&history["transitions"][0]["kind"], &history["transitions"][0]["actor"]),
        (&json!("canary"), &json!("deploy"))
    );
}

#[tokio::test]
async fn events_carry_each_step_and_the_status_of_the_canary() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut events = Events::open(&proxy, "").await;
    proxy.post("/admin/canary", json!({ "weight": 10 })).await;
    let begun = events.next_named("transition").await;
    assert_eq!(begun.data["kind"], "canary", "{}", begun.data);
    assert_eq!(begun.data["canary"], json!({ "id": "dep-2", "color": "green", "release": "2.0", "weight": 10.0 }));
    let status = events.next_named("status").await;
    assert_eq!(status.data["canary"]["weight"], 10.0, "{}", status.data);
    proxy.post("/admin/canary/abort", json!({})).await;
    let gone = events.next_named("transition").await;
    assert_eq!((&gone.data["kind"], &gone.data["canary"]), (&json!("abort"), &Value::Null), "{}", gone.data);
    assert_eq!((&gone.data["from"], &gone.data["from_release"]), (&json!("green"), &json!("2.0")), "{}", gone.data);
}
