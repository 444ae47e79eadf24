//! What the page shows: a lost proxy, roles, hostile names, a thousand endpoints, and whether everybody can use it.

use std::fmt::Write;

use serde_json::json;

use super::{Browser, has, pair, reachable, shown};
use crate::admin::{VIEWER, with_tokens};
use crate::proxy::Setup;
use crate::soon;
use crate::suites::clients::tool;

#[tokio::test]
async fn a_lost_proxy_is_told_and_nothing_old_is_shown_as_new() {
    let (blue, green) = pair().await;
    let (mut proxy, mut browser) = shown(&Setup::new(&blue, &green)).await;
    proxy.kill().await;
    let told = browser.text("until('#lost', \"can't be reached\")").await;
    has(&told, &["is from before", "an edit of active in", &proxy.file().display().to_string()]);
    assert_eq!(browser.run("page.$eval('body', (body) => body.classList.contains('stale'))").await, json!(true));
    assert_eq!(browser.run("page.$eval('#rollback', (button) => button.getAttribute('aria-disabled'))").await, "true");
    proxy.restart().await;
    browser.run("until('#link', 'Live')").await;
    assert_eq!(browser.run("page.$eval('body', (body) => body.classList.contains('stale'))").await, json!(false));
    browser.is_clean().await;
}

#[tokio::test]
async fn a_token_is_asked_for_and_a_viewer_may_only_look() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let mut browser = Browser::start(reachable(proxy.dir.path()).await, &[]).await;
    let log_in = |token: &str| {
        format!(
            "page.waitForSelector('#login[open]').then(() => page.type('#token', {token:?})).then(() => press('Enter'))"
        )
    };
    browser.run("page.goto(url)").await;
    browser.run(&log_in("wrong")).await;
    has(&browser.text("until('#login-problem', 'token')").await, &["admin.tokens"]);
    browser.run(&log_in(VIEWER)).await;
    has(&browser.text("until('#who', 'screen')").await, &["may only look"]);
    browser.run("until('#link', 'Live')").await;
    assert_eq!(
        browser.run("page.$eval('#rollback', (button) => [button.getAttribute('aria-disabled'), button.title])").await,
        json!(["true", "This token may only look"])
    );
    // A viewer who presses it all the same gets no dialog.
    browser.run("click('#rollback')").await;
    assert_eq!(browser.run("page.$eval('#ask', (dialog) => dialog.open)").await, json!(false));
    browser.is_clean().await;
}

#[tokio::test]
async fn hostile_labels_and_reasons_are_text_and_nothing_else() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    let label = "<img/src=x/onerror=alert(1)>";
    setup.green = format!("release = \"{label}\"\nendpoints = [\"{}\"]", green.address);
    let proxy = setup.start().await;
    let address = reachable(proxy.dir.path()).await;
    let reason = "</td><script>alert(2)</script>\u{202e}`${alert(3)}`";
    proxy.post("/admin/switch", json!({ "to": "green", "reason": reason })).await;
    let mut browser = Browser::open(address).await;
    has(&browser.text("until('#history', 'script')").await, &["<script>alert(2)</script>", label]);
    has(&browser.text("says('#green')").await, &[label]);
    assert_eq!(browser.run("page.$$eval('main img, main script', (found) => found.length)").await, json!(0));
    browser.is_clean().await;
}

#[tokio::test]
async fn a_thousand_endpoints_are_a_number_until_somebody_asks() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    let mut endpoints = String::new();
    for n in 0..999 {
        // Nobody listens there.
        let _ = write!(endpoints, "\"127.1.{}.{}:9\", ", n / 250, n % 250 + 1);
    }
    setup.green = format!("release = \"2.0\"\nendpoints = [{endpoints}\"{}\"]", green.address);
    setup.health = "interval = \"1h\"\npath = \"/healthz\"".to_owned();
    let (_proxy, mut browser) = shown(&setup).await;
    has(&browser.text("until('#green', '990 more')").await, &["of 1,000 endpoints up"]);
    assert!(browser.run("page.$$eval('#green li', (rows) => rows.length)").await.as_u64() < Some(20));
    browser.run("click('#green summary')").await;
    browser.run("page.waitForFunction(() => document.querySelectorAll('#green li').length === 1000)").await;
    browser.is_clean().await;
}

#[tokio::test]
async fn everybody_can_use_it() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[canary]\nsteps = [\"5%\"]\n".to_owned();
    let proxy = setup.start().await;
    let address = reachable(proxy.dir.path()).await;
    proxy.post("/admin/canary", json!({ "reason": "a canary" })).await;
    for (scheme, width) in [("light", "1280"), ("dark", "360")] {
        let mut browser = Browser::start(address, &[scheme, width]).await;
        browser.run("open()").await;
        browser.run("until('#canary', 'Canary')").await;
        // The charts have a name before their first numbers, too.
        assert_eq!(browser.run("axe()").await, json!([]), "{scheme} {width}");
        browser.run("page.waitForSelector('[aria-label*=\"last 15 minutes\"]')").await;
        assert_eq!(browser.run("axe()").await, json!([]), "with numbers, {scheme} {width}");
        // Nothing is wider than the screen.
        assert_eq!(
            browser.run("page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)").await,
            json!(true),
            "{width}"
        );
        browser.run("ask('rollback')").await;
        assert_eq!(browser.run("axe()").await, json!([]), "the dialog, {scheme} {width}");
        browser.is_clean().await;
    }
}

#[tokio::test]
async fn an_automatic_rollback_says_why() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[canary]\nsteps = [\"50%\"]\n[analysis]\ntick = \"100ms\"\n".to_owned();
    let (proxy, mut browser) = shown(&setup).await;
    has(&browser.does("canary", "2.0").await.1, &["green (2.0) gets 50 %."]);
    while proxy.status().await["canary"].is_object() {
        for _ in 0..20 {
            proxy.get("/broken?green").await;
        }
    }
    has(&browser.text("until('#history', 'Rolled back to blue')").await, &["automatic"]);
    browser.is_clean().await;
}

/// Charts the latencies, and returns the top of the scale and the highest point of the line (0 is the top of the plot).
const CHART: &str = "page.evaluate(async (slow) => {
  const { Chart } = await import('/page/chart.js');
  const chart = new Chart('Latency', (ms) => `${ms} ms`, [{ name: 'p99', read: (point) => point.ms_taken }], 0.98);
  const points = Array.from({ length: 900 }, (_, i) => ({ ms: i * 1000, ms_taken: i < slow ? 60000 : 20 }));
  chart.update(points, chart.most(points, chart.shown), 899000, []);
  const heights = chart.paths[0].getAttribute('d').split(/[ML]/).slice(1).map((point) => Number(point.split(' ')[1]));
  return [chart.top.textContent, Math.min(...heights) >= 0];
}, SLOW)";

#[tokio::test]
async fn a_few_slow_answers_leave_the_latencies_of_the_others_readable() {
    let (blue, green) = pair().await;
    let (_proxy, mut browser) = shown(&Setup::new(&blue, &green)).await;
    let few = browser.run(&CHART.replace("SLOW", "10").replace('\n', " ")).await;
    assert_eq!(few, json!(["20 ms", true]), "the slow ones run along the top");
    let many = browser.run(&CHART.replace("SLOW", "100").replace('\n', " ")).await;
    assert_eq!(many, json!(["100000 ms", true]));
    browser.is_clean().await;
}

#[tokio::test]
async fn the_document_is_valid_html() {
    let mut check = tokio::process::Command::new("node");
    let modules = tool("CUTOVER_TEST_NODE_MODULES");
    check.arg(modules.join("html-validate/bin/html-validate.js")).arg("--preset=standard,a11y");
    check.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/page/index.html"));
    let checked = soon("the check ends", check.output()).await.expect("node runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}
