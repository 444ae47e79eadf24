//! Every button: what its dialog says, what it does, and how a refusal looks.

use serde_json::json;

use super::{Browser, has, pair, reachable, shown};
use crate::proxy::{Proxy, Setup};

const CANARY: &str = "[canary]\nsteps = [\"5%\", \"50%\"]\n";

#[tokio::test]
async fn each_button_says_what_will_happen_and_does_it_with_a_reason() {
    let (blue, green) = pair().await;
    let (proxy, mut browser) = shown(&Setup::new(&blue, &green)).await;

    let (said, came) = browser.does("switch", "deploy 2.0").await;
    has(
        &said,
        &["Switch to green (2.0)?", "All traffic moves from blue (1.0) to green (2.0)", "1 of 1 endpoint of green up"],
    );
    has(&came, &["Switched to green (2.0) in", "generation 2"]);
    assert_eq!(proxy.color().await, "green");
    has(&browser.text("until('#green', 'deploy 2.0')").await, &["Green", "LIVE · 100 %"]);
    has(&browser.text("until('#history', 'Switched to green')").await, &["deploy 2.0"]);

    has(&browser.text("until('#rollback', 'to blue')").await, &["Roll back", "to blue (1.0)"]);
    let (said, came) = browser.does("rollback", "it fails").await;
    has(&said, &["Roll back to blue (1.0)?", "All traffic moves from green (2.0) to blue (1.0)"]);
    has(&came, &["Rolled back to blue (1.0)"]);
    assert_eq!(proxy.color().await, "blue");
    browser.run("until('#blue', 'LIVE')").await;

    for (action, status, on, off) in [
        ("freeze", "freeze", "Frozen.", "Unfrozen."),
        ("pause", "hold", "Requests are paused.", "Requests are served again."),
        ("maintenance", "maintenance", "Maintenance is on.", "Maintenance is over."),
    ] {
        let is_on =
            |status: &serde_json::Value| !matches!(status, serde_json::Value::Null | serde_json::Value::Bool(false));
        let (_, came) = browser.does(action, "a test").await;
        assert_eq!(came, on);
        assert!(is_on(&proxy.status().await[status]), "{action}");
        browser.run("until('#history', 'a test')").await;
        browser.run(&format!("page.waitForFunction((word) => document.querySelector('[data-action={action}]').innerText.includes(word), {{}}, {:?})",
            match action { "freeze" => "Unfreeze", "pause" => "Unpause", _ => "off" })).await;
        let (_, came) = browser.does(action, "the test is over").await;
        assert_eq!(came, off);
        proxy.until("it is off", |now| !is_on(&now[status])).await;
        browser.run(&format!("page.waitForFunction((word) => !document.querySelector('[data-action={action}]').innerText.includes(word), {{}}, {:?})",
            match action { "freeze" => "Unfreeze", "pause" => "Unpause", _ => "off" })).await;
    }
    browser.is_clean().await;
}

#[tokio::test]
async fn a_canary_is_started_paused_advanced_and_aborted() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = CANARY.to_owned();
    let (proxy, mut browser) = shown(&setup).await;
    browser.run("ask('canary')").await;
    browser.run("fill('#field-weight', '10')").await;
    has(&browser.text("confirm('try it')").await, &["green (2.0) gets 10 %."]);
    has(&browser.text("until('#canary', 'No worse')").await, &["Canary of green", "10 %", "50 %", "Worse"]);
    browser.run("until('#green', 'CANARY · 10 %')").await;
    assert_eq!(browser.does("hold", "lunch").await.1, "Canary paused.");
    browser.run("until('#canary', 'paused')").await;
    assert_eq!(browser.does("resume", "lunch is over").await.1, "Canary resumed.");
    browser.run("until('#canary [data-action=hold]', 'Pause')").await;
    has(&browser.does("advance", "looks well").await.1, &["green (2.0) gets 50 %."]);
    browser.run("until('#green', 'CANARY · 50 %')").await;
    let (said, came) = browser.does("abort", "enough").await;
    has(&said, &["Abort green (2.0)?", "gets no more requests"]);
    assert_eq!(came, "Aborted.");
    proxy.until("it ended", |status| status["canary"].is_null()).await;
    browser.is_clean().await;
}

#[tokio::test]
async fn a_refusal_is_shown_in_full_and_its_guard_can_be_overridden() {
    let (blue, green) = pair().await;
    green.set_healthy(false);
    let (proxy, mut browser) = shown(&Setup::new(&blue, &green)).await;
    let said = browser.text("ask('switch')").await;
    has(&said, &["would be refused now", &green.address.to_string(), "Override the guard “health”"]);
    let came = browser.text("confirm('all the same')").await;
    has(&came, &[&green.address.to_string()]);
    assert_eq!(proxy.status().await["active"], "blue");
    browser.run("click('[name=force]')").await;
    let came = browser.text("confirm('all the same')").await;
    has(&came, &["Switched to green (2.0)", "0 of 1 endpoints of green are up"]);
    assert_eq!(proxy.status().await["active"], "green");
    has(&browser.text("until('#headline', 'OUTAGE')").await, &["no endpoint of green is up", "cutover rollback"]);
    browser.is_clean().await;
}

#[tokio::test]
async fn an_operator_whose_page_is_behind_is_told_that_another_was_first() {
    let (blue, green) = pair().await;
    let (proxy, mut browser) = shown(&Setup::new(&blue, &green)).await;
    browser.run("ask('switch')").await;
    proxy.switch("green").await;
    has(&browser.text("confirm('mine')").await, &["generation"]);
    // The dialog is of the state of before; the next one is of the state of now.
    browser.run("click('#ask-cancel')").await;
    browser.run("until('#green', 'LIVE')").await;
    has(&browser.text("ask('switch')").await, &["Switch to blue (1.0)?"]);
    browser.is_clean().await;
}

#[tokio::test]
async fn a_move_that_waits_is_cancelled_with_one_click() {
    let (blue, green) = pair().await;
    green.set_healthy(false);
    let dir = tempfile::tempdir().expect("a directory");
    let text =
        Setup::new(&blue, &green).text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"1h\"");
    let proxy = Proxy::start_in(dir, &text).await;
    let mut browser = Browser::open(reachable(proxy.dir.path()).await).await;
    let waiting = proxy.post("/admin/switch", json!({ "to": "green", "reason": "deploy", "detach": true }));
    let cancelled = async {
        has(&browser.text("until('#moving', 'green')").await, &["switch to green (2.0) waits for", "deploy"]);
        browser.run("click('#cancel-move')").await;
        has(&browser.text("until('#outcome', 'Cancelled')").await, &["switch"]);
    };
    let (answer, ()) = tokio::join!(waiting, cancelled);
    assert_eq!(
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned()),
        (409, "withdrawn".to_owned())
    );
    assert_eq!(proxy.status().await["active"], "blue");
    browser.is_clean().await;
}

#[tokio::test]
async fn the_keyboard_alone_rolls_back() {
    let (blue, green) = pair().await;
    let proxy = Setup::new(&blue, &green).start().await;
    proxy.switch("green").await;
    let mut browser = Browser::open(reachable(proxy.dir.path()).await).await;
    browser.run("until('#rollback', 'to blue')").await;
    // The first stop is the link that skips to the actions, the next one after it the button.
    for key in ["Tab", "Enter", "Tab", "Enter"] {
        browser.run(&format!("press({key:?})")).await;
    }
    browser.run("until('#ask', 'Roll back to blue')").await;
    browser.run("page.keyboard.type('by hand')").await;
    browser.run("press('Enter')").await;
    browser.run("until('#outcome', 'Rolled back to blue')").await;
    assert_eq!(proxy.status().await["active"], "blue");
    browser.is_clean().await;
}
