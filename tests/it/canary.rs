//! Canaries end to end: real requests are counted, judged, and what is proved is done, said and kept. How a bad release is found
//! out, and how a good one gets through.

mod blame;
pub(crate) mod outsider;
pub(crate) mod replaced;
pub(crate) mod split;
mod told;

use serde_json::{Value, json};
use tokio::time::Duration;

use crate::load::Load;
use crate::proxy::{Proxy, Setup};
use crate::receiver::Receiver;
use crate::shop::{Manner, PAGES, Shop};
use crate::until;

const GOOD: Manner = Manner { errors: 0.0, median: Duration::ZERO, sigma: 0.0, slower: 1.0, refused: 0.0 };
const BAD: Manner = Manner { errors: 0.3, ..GOOD };

/// As short as it can be.
const QUICK: &str = "[canary]\nsteps = [\"20%\"]\ndwell = \"1s\"\n\
                     [analysis]\ntick = \"100ms\"\nwarmup = { requests = 0, time = \"0s\" }\n";
/// Users stay where they are.
const STICKY: &str = "[canary]\nsteps = [\"30%\", \"60%\"]\ndwell = \"1h\"\nmax_step = \"2h\"\nsticky = \"cookie:user\"\n\
                      [analysis]\ntick = \"100ms\"\n";

/// Two releases of a shop behind a proxy, and somebody who is told what happens.
struct Stage {
    proxy: Proxy,
    blue: Shop,
    green: Shop,
    told: Receiver,
    /// What the receiver's address is in.
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn build(more: &str) -> Stage {
        let blue = Shop::open("blue", GOOD).await.expect("a port");
        let green = Shop::open("green", GOOD).await.expect("a port");
        let (told, dir) = (Receiver::start().await, tempfile::tempdir().expect("a directory"));
        let url = told.url_file(dir.path(), "team");
        let sink = format!("[[notify]]\nname = \"team\"\nkind = \"slack\"\nurl_file = \"{url}\"\n");
        let setup = Setup { more: format!("{more}{sink}"), ..Setup::at(blue.address, green.address) };
        Stage { proxy: setup.start().await, blue, green, told, _dir: dir }
    }

    fn load(&self) -> Load {
        Load::start(self.proxy.http, 200, &PAGES, 0)
    }

    /// Begins a canary; its answer.
    async fn begin(&self, body: Value) -> Value {
        let answer = self.proxy.post("/admin/canary", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the canary is as wanted.
    async fn until_canary(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || Some(self.proxy.admin("GET", "/admin/canary", "").await.json()["canary"].clone());
        until(what, async || look().await.filter(|canary| !canary.is_null() && wanted(canary))).await
    }

    async fn transitions(&self) -> Vec<Value> {
        let history = self.proxy.admin("GET", "/admin/history?limit=100", "").await.json();
        history["transitions"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until this has happened.
    async fn until_happened(&self, kind: &str) -> Value {
        until(kind, async || self.transitions().await.into_iter().find(|transition| transition["kind"] == kind)).await
    }

    /// Waits for a message with all of this.
    async fn until_told(&self, parts: &[&str]) {
        let has = |body: &str| parts.iter().all(|part| body.contains(part));
        self.told.until(&parts.join(", "), |received| has(&received.body)).await;
    }

    /// Which color each of so many users gets.
    async fn colors(&self, users: usize) -> Vec<String> {
        let mut connection = self.proxy.connect().await;
        let mut colors = Vec::new();
        for user in 0..users {
            connection.send(format!("GET / HTTP/1.1\r\nHost: shop\r\nCookie: a=b; user=u{user}\r\n\r\n")).await;
            let answer = connection.answer().await;
            colors.push(answer.text().split(' ').next().unwrap_or_default().to_owned());
        }
        colors
    }
}

/// So many users are on green.
fn green(colors: &[String]) -> usize {
    colors.iter().filter(|color| *color == "green").count()
}

#[tokio::test]
async fn a_release_with_errors_is_taken_back_by_itself_refused_and_told() {
    let stage = Stage::build(QUICK).await;
    let load = stage.load();
    stage.green.behaves(BAD);
    stage.begin(json!({ "reason": "release 2" })).await;
    let rollback = stage.until_happened("rollback").await;
    assert_eq!((&rollback["trigger"], &rollback["to"]), (&json!("automatic"), &json!("blue")), "{rollback}");
    let judgement = &rollback["judgement"];
    assert_eq!((&judgement["verdict"], &judgement["findings"][0]["class"]), (&json!("fail"), &json!("error")));
    assert!(judgement["evidence"].as_u64() >= Some(1_000) && judgement["harmed"].as_u64() >= Some(3), "{judgement}");
    let status = stage.proxy.status().await;
    assert_eq!(
        (&status["active"], &status["canary"], &status["split"]["green"]),
        (&json!("blue"), &Value::Null, &json!(0.0))
    );
    assert_eq!(status["quarantine"][0]["release"], "2.0", "{status}");
    let refused = stage.proxy.post("/admin/canary", json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("quarantined")), "{}", refused.text());
    stage.until_told(&["2.0 was rolled back to 1.0", "errors on", "1.0 serves", "Exposure"]).await;
    let messages = stage.told.received();
    assert!(!messages.iter().any(|message| message.body.contains("NOT SAVED")), "nothing is wrong with the disk");
    // What was under way then has ended, and nothing follows it.
    let blue = load.seen().blue.answered;
    until("what was under way has ended", async || (load.seen().blue.answered > blue + 20).then_some(())).await;
    let (green, blue) = (stage.green.requests(), load.seen().blue.answered);
    until("blue serves", async || (load.seen().blue.answered > blue + 50).then_some(())).await;
    assert_eq!((stage.green.requests(), load.seen().lost), (green, 0));
}

#[tokio::test]
async fn a_good_release_goes_on_by_evidence_and_is_known_good_in_the_end() {
    let config = "[canary]\nsteps = [\"20%\", \"50%\"]\ndwell = \"1s\"\nholdback = \"10%\"\n[bake]\nduration = \"1s\"\n\
                  [analysis]\ntick = \"100ms\"\npass_error_below = \"20%\"\nwarmup = { requests = 0, time = \"0s\" }\n";
    let stage = Stage::build(config).await;
    let load = stage.load();
    stage.begin(json!({})).await;
    stage.until_happened("known_good").await;
    let transitions = stage.transitions().await;
    let kinds: Vec<_> = transitions.iter().rev().filter_map(|transition| transition["kind"].as_str()).collect();
    let kinds: Vec<_> = kinds.into_iter().filter(|kind| *kind != "drained" && *kind != "suspect").collect();
    assert_eq!(kinds, ["start", "canary", "advance", "switch", "advance", "known_good"]);
    let of = |kind: &str| transitions.iter().rev().find(|transition| transition["kind"] == kind).expect("it is there");
    for kind in ["advance", "switch"] {
        let said = (&of(kind)["trigger"], &of(kind)["reason"]);
        assert_eq!(said, (&json!("automatic"), &json!("it is shown to be no worse")), "{kind}");
    }
    let status = stage.proxy.status().await;
    assert_eq!(
        (&status["active"], &status["canary"], &status["split"]["green"]),
        (&json!("green"), &Value::Null, &json!(100.0))
    );
    assert_eq!((load.seen().blue.failed, load.seen().green.failed, load.seen().lost), (0, 0, 0));
}

#[tokio::test]
async fn a_route_that_got_slow_is_found_and_named() {
    let stage = Stage::build(QUICK).await;
    let usual = Manner { median: Duration::from_millis(10), sigma: 0.3, ..GOOD };
    stage.blue.behaves(usual);
    stage.green.behaves(Manner { slower: 5.0, ..usual });
    let load = stage.load();
    until("it is known what is usual", async || (load.seen().blue.checkouts > 80).then_some(())).await;
    stage.begin(json!({})).await;
    let rollback = stage.until_happened("rollback").await;
    let findings = rollback["judgement"]["findings"].as_array().cloned().unwrap_or_default();
    let named = findings.iter().find(|finding| finding["route"] == "/checkout").unwrap_or_else(|| panic!("{rollback}"));
    assert!(named["class"].as_str().is_some_and(|class| class.starts_with("slow_")), "{rollback}");
    assert!(named["words"].as_str().is_some_and(|words| words.contains("/checkout got")), "{rollback}");
    stage.until_told(&["2.0 was rolled back to 1.0", "/checkout got", "slower"]).await;
}

#[tokio::test]
async fn a_scanner_takes_no_place_from_a_route_that_got_slow() {
    let stage = Stage::build(QUICK).await;
    let usual = Manner { median: Duration::from_millis(10), sigma: 0.3, ..GOOD };
    let mut scanner = stage.proxy.connect().await;
    for n in 0..80 {
        let path = format!("/{}{}", char::from(b'a' + n / 26), char::from(b'a' + n % 26));
        for _ in 0..12 {
            assert_eq!(scanner.get(&path).await.status, 200, "{path}");
        }
    }
    stage.blue.behaves(usual);
    stage.green.behaves(Manner { slower: 5.0, ..usual });
    let load = stage.load();
    until("it is known what is usual", async || (load.seen().blue.checkouts > 80).then_some(())).await;
    stage.begin(json!({})).await;
    let rollback = stage.until_happened("rollback").await;
    let findings = rollback["judgement"]["findings"].as_array().cloned().unwrap_or_default();
    assert!(findings.iter().any(|finding| finding["route"] == "/checkout"), "{rollback}");
}

#[tokio::test]
async fn what_both_suffer_is_no_reason_to_go_back_and_it_is_said_why() {
    let stage = Stage::build(QUICK).await;
    let _load = stage.load();
    stage.begin(json!({})).await;
    stage.blue.behaves(BAD);
    stage.green.behaves(BAD);
    stage.until_happened("baseline_unhealthy").await;
    let before = stage.green.requests();
    until("much more fails", async || (stage.green.requests() > before + 100).then_some(())).await;
    let canary = stage.until_canary("both fail", |canary| canary["evidence"]["baseline_unhealthy"] == true).await;
    assert_eq!(
        (&canary["weight"], &canary["next"]["stopped"]),
        (&json!(20.0), &json!("baseline_unhealthy")),
        "{canary}"
    );
    assert!(stage.transitions().await.iter().all(|transition| transition["kind"] != "rollback"));
    stage.until_told(&["1.0 (blue) fails itself", "Nothing advances"]).await;
}

#[tokio::test]
async fn who_only_observes_is_told_what_would_have_been_done() {
    let stage = Stage::build(QUICK).await;
    let _load = stage.load();
    stage.green.behaves(BAD);
    stage.begin(json!({ "mode": "observe" })).await;
    let said = stage.until_happened("would_roll_back").await;
    assert_eq!(said["judgement"]["verdict"], "fail", "{said}");
    stage.until_told(&["2.0 would have been rolled back", "is only observed"]).await;
    let before = stage.green.requests();
    until("it still serves", async || (stage.green.requests() > before + 50).then_some(())).await;
    let canary = stage.until_canary("it is there", |_| true).await;
    assert_eq!((&canary["weight"], &canary["next"]["stopped"]), (&json!(20.0), &json!("by_hand")), "{canary}");
    let told = stage.transitions().await.iter().filter(|transition| transition["kind"] == "would_roll_back").count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn after_kill_9_the_weight_the_users_and_the_evidence_are_those_of_before() {
    let mut stage = Stage::build(STICKY).await;
    stage.begin(json!({})).await;
    let before = stage.colors(200).await;
    let exposed = green(&before);
    assert!((20..110).contains(&exposed), "{exposed} of 200 users at 30 %");
    let counted = |canary: &Value| canary["judgement"]["exposed"].as_u64() == u64::try_from(exposed).ok();
    let canary = stage.until_canary("all are counted", counted).await;
    // The record is written beside; what follows in it says that this is.
    let record =
        stage.proxy.dir.path().join("state/analysis").join(format!("{}.jsonl", canary["id"].as_str().expect("an id")));
    let length = || std::fs::metadata(&record).map(|found| found.len()).unwrap_or_default();
    let written = length();
    until("it is written down", async || (length() > written + 200).then_some(())).await;
    stage.proxy.kill().await;
    // What counts is what was configured when it began.
    let text = stage.proxy.text().replace("cookie:user", "address");
    stage.proxy.write_file(&text);
    stage.proxy.restart().await;
    let same = stage.until_canary("the evidence is there", |canary| !canary["judgement"].is_null()).await;
    for key in ["id", "weight", "step", "release", "stable"] {
        assert_eq!(same[key], canary[key], "{key}");
    }
    let of = |canary: &Value| (canary["judgement"]["exposed"].clone(), canary["judgement"]["limit"].clone());
    assert_eq!(of(&same), of(&canary));
    assert_eq!(stage.colors(200).await, before);
}

#[tokio::test]
async fn evidence_that_is_lost_is_said_and_costs_half_of_the_budget() {
    let mut stage = Stage::build(STICKY).await;
    stage.begin(json!({})).await;
    let before = stage.colors(50).await;
    let canary = stage.until_canary("it is judged", |canary| !canary["judgement"].is_null()).await;
    assert_eq!(canary["judgement"]["limit"], 1_000, "{canary}");
    stage.proxy.kill().await;
    std::fs::remove_dir_all(stage.proxy.dir.path().join("state/analysis")).expect("it is there");
    stage.proxy.restart().await;
    let canary = stage.until_canary("it is judged again", |canary| !canary["judgement"].is_null()).await;
    assert_eq!((&canary["judgement"]["limit"], &canary["weight"]), (&json!(2_000), &json!(30.0)), "{canary}");
    stage.proxy.until_logged("Evidence from before the restart lost").await;
    assert_eq!(stage.colors(50).await, before);
    // It is lost once, and what comes after is kept.
    stage.proxy.kill_and_restart().await;
    let canary = stage.until_canary("it is judged again", |canary| !canary["judgement"].is_null()).await;
    assert_eq!(canary["judgement"]["limit"], 2_000, "{canary}");
}

#[tokio::test]
async fn who_calls_it_off_moves_everybody_at_once() {
    let stage = Stage::build("[canary]\nsteps = [\"50%\"]\nmode = \"off\"\n").await;
    let load = stage.load();
    stage.begin(json!({})).await;
    let mut kept = stage.proxy.connect().await;
    until("both serve", async || {
        kept.get("/").await;
        (load.seen().green.answered > 20 && load.seen().blue.answered > 20).then_some(())
    })
    .await;
    let answer = stage.proxy.post("/admin/canary/abort", json!({ "reason": "enough" })).await;
    assert_eq!((answer.status, &answer.json()["split"]["blue"]), (200, &json!(100.0)), "{}", answer.text());
    for _ in 0..30 {
        assert_eq!(kept.get("/").await.text(), "blue sold\n");
        assert_eq!(stage.proxy.get("/search").await.text(), "blue sold\n");
    }
    assert_eq!((load.seen().lost, load.seen().green.failed), (0, 0));
}

#[tokio::test]
async fn little_traffic_is_no_verdict_and_the_clock_says_what_is_missing() {
    let stage = Stage::build("[canary]\nsteps = [\"50%\"]\ndwell = \"1s\"\n[analysis]\ntick = \"100ms\"\n").await;
    let answer = stage.begin(json!({})).await;
    let clock = answer["canary"]["next"]["at_most_s"].as_f64().expect("a step has an end");
    assert!((1_790.0..=1_800.0).contains(&clock), "{answer}");
    let mut connection = stage.proxy.connect().await;
    let canary = stage.until_canary("some are counted", |canary| canary["for_s"].as_f64() > Some(1.0)).await;
    assert_eq!((&canary["judgement"]["verdict"], &canary["judgement"]["exposed"]), (&json!("insufficient"), &json!(0)));
    for _ in 0..20 {
        connection.get("/").await;
    }
    let counted =
        |canary: &Value| canary["judgement"]["exposed"].as_u64() > Some(0) && canary["next"]["needs_s"].is_number();
    let canary = stage.until_canary("the clock runs", counted).await;
    let exposed = canary["judgement"]["exposed"].as_f64().expect("a number");
    let next = &canary["next"];
    let (requests, seconds) =
        (next["needs_requests"].as_f64().expect("a number"), next["needs_s"].as_f64().expect("a number"));
    assert!((300.0..800.0).contains(&(requests + exposed)), "{canary}");
    // So many came in the time that the canary has lasted.
    let each = canary["for_s"].as_f64().expect("a number") / exposed;
    assert!((0.3..3.0).contains(&(seconds / requests / each)), "{each} s each: {canary}");
    assert_eq!(canary["judgement"]["verdict"], "insufficient", "{canary}");
    let words = canary["judgement"]["words"].as_str().unwrap_or_default();
    assert!(words.contains("not decided after") && words.contains("needs about"), "{words}");
}

#[tokio::test]
async fn users_stay_where_they_are_and_a_larger_share_only_brings_more() {
    let stage = Stage::build(STICKY).await;
    stage.begin(json!({})).await;
    let first = stage.colors(150).await;
    assert_eq!(stage.colors(150).await, first);
    assert_eq!(stage.proxy.post("/admin/canary/advance", json!({})).await.status, 200);
    let second = stage.colors(150).await;
    for (first, second) in first.iter().zip(&second) {
        assert!(first == "blue" || second == "green", "nobody goes back to the old release");
    }
    assert!(green(&second) > green(&first) + 10, "{} and then {}", green(&first), green(&second));
}

#[tokio::test]
async fn a_shield_hides_errors_from_users_and_not_from_the_judge() {
    let config = QUICK.replace("[canary]\n", "[canary]\nshield = true\nshield_budget = \"100%\"\n");
    let stage = Stage::build(&config).await;
    let load = stage.load();
    stage.green.behaves(BAD);
    stage.begin(json!({})).await;
    let rollback = stage.until_happened("rollback").await;
    assert!(rollback["judgement"]["harmed"].as_u64() >= Some(3), "{rollback}");
    let seen = load.seen();
    assert!(seen.green.answered > 0, "{seen:?}");
    assert_eq!((seen.blue.failed, seen.green.failed, seen.lost), (0, 0, 0), "{seen:?}");
}
