//! Whether the data stores allow a move: labels, admission, the way back, probes, first writes, and restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup};
use crate::until;

/// A database of which only the version of its schema matters here.
#[derive(Clone, Default)]
struct Database(Arc<AtomicU64>);

impl Database {
    fn at(version: u64) -> Database {
        Database(Arc::new(AtomicU64::new(version)))
    }

    fn version(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn migrate(&self, version: u64) {
        self.0.store(version, Ordering::SeqCst);
    }
}

/// A release that really can't serve on a schema that it was not written for: 500 instead of its page.
struct Shop {
    address: std::net::SocketAddr,
    task: AbortHandle,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shop {
    async fn start(release: &'static str, database: &Database, runs_on: std::ops::RangeInclusive<u64>) -> Shop {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let database = database.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (database, runs_on) = (database.clone(), runs_on.clone());
                tokio::spawn(async move {
                    let mut head = vec![0; 8192];
                    while let Ok(1..) = stream.read(&mut head).await {
                        let version = database.version();
                        let probed = head.starts_with(b"GET /_schema");
                        let (status, body) = match runs_on.contains(&version) {
                            _ if probed => ("200 OK", json!({ "orders": version }).to_string()),
                            true => ("200 OK", release.to_owned()),
                            false => ("500 Internal Server Error", format!("{release} can't read version {version}")),
                        };
                        let length = body.len();
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Shop { address, task: task.abort_handle() }
    }
}

/// A color with one label.
fn color(release: &str, at: std::net::SocketAddr, orders: &str) -> String {
    let schema = if orders.is_empty() { String::new() } else { format!("\nschema.orders = {{ {orders} }}") };
    format!("release = \"{release}\"\nendpoints = [\"{at}\"]{schema}")
}

/// The file of two releases.
fn setup(blue: String, green: String) -> Setup {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let more = "[bake]\nduration = \"0s\"\n".to_owned();
    Setup { blue, green, more, ..Setup::at(nowhere, nowhere) }
}

/// Deploys something else: edits the file as it is now, and waits until that is in force.
async fn deploy(proxy: &Proxy, change: impl Fn(&str) -> String) {
    proxy.until("the file says what is live", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&change(&proxy.text()));
    let answer = proxy.post("/admin/reload", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Puts another text for the color that ends the file (green), or the one before it.
fn with_color(text: &str, name: &str, section: &str) -> String {
    let (before, rest) = text.split_once(&format!("[{name}]\n")).expect("it is there");
    let after = rest.split_once("\n[").map(|(_, after)| format!("\n[{after}")).unwrap_or_default();
    format!("{before}[{name}]\n{section}\n{after}")
}

async fn metric(proxy: &Proxy, name: &str) -> String {
    let page = proxy.admin("GET", "/metrics", "").await;
    let line = page.text().lines().find(|line| line.starts_with(name) && !line.starts_with('#')).map(str::to_owned);
    line.and_then(|line| line.rsplit_once(' ').map(|(_, value)| value.to_owned())).unwrap_or_default()
}

fn refused(answer: &crate::client::Answer) -> Value {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("rollback_unsafe")), "{problem}");
    problem
}

fn said(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // However it is broken into lines.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_column_renamed_in_one_release_is_refused_with_the_two_safe_steps_before_anything_broke() {
    let database = Database::at(42);
    let old = Shop::start("2.13.0", &database, 0..=42).await;
    let new = Shop::start("3.0.0", &database, 42..=43).await;
    let proxy = setup(
        color("2.13.0", old.address, "needs = \"<=42\", migrates_to = 42"),
        color("3.0.0", new.address, "needs = \">=42\", migrates_to = 43"),
    )
    .start()
    .await;

    // A deploy script asks before it migrates.
    let asked = proxy.cli(&["switch", "--other", "--dry-run"]).await;
    assert_eq!(asked.status.code(), Some(3), "{}", said(&asked));
    let text = said(&asked);
    assert!(text.contains("3.0.0 brings orders from 42 to 43"), "{text}");
    assert!(text.contains("2.13.0, which would be the way back, needs <=42"), "{text}");
    assert!(text.contains("expand first") && text.contains("contract after"), "{text}");

    let problem = refused(&proxy.post("/admin/switch", json!({})).await);
    assert_eq!((&problem["store"], &problem["current"]), (&json!("orders"), &json!(42)), "{problem}");
    assert_eq!((&problem["target_needs"], &problem["needed_by"]), (&json!("<=42"), &json!("2.13.0")), "{problem}");
    assert_eq!(problem["migrates_to"], 43, "{problem}");
    assert_eq!(problem["steps"][0]["step"], "expand first", "{problem}");
    assert_eq!(problem["steps"][1]["step"], "contract after", "{problem}");
    assert_eq!(proxy.get("/").await.text(), "2.13.0", "nothing moved");

    // An order in the file gets the same answer.
    proxy.replace_file(&proxy.ordering("green"));
    let status = proxy.until("the order is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!(status["file"]["refusal"]["code"], "rollback_unsafe", "{status}");
    assert_eq!(status["file"]["refusal"]["store"], "orders", "{status}");
    proxy.until("the file is put right", |status| status["file"]["disagrees"] == false).await;
}

#[tokio::test]
async fn expand_backfill_and_contract_each_pass_and_the_way_back_is_safe_until_the_contract() {
    let database = Database::at(41);
    let first = Shop::start("2.13.0", &database, 41..=42).await;
    let expand = Shop::start("2.14.0", &database, 41..=43).await;
    let backfill = Shop::start("2.15.0", &database, 42..=44).await;
    let contract = Shop::start("2.16.0", &database, 43..=44).await;
    let proxy = setup(
        color("2.13.0", first.address, "needs = \">=41, <=42\", migrates_to = 41"),
        color("2.14.0", expand.address, "needs = \">=41, <=43\", migrates_to = 42"),
    )
    .start()
    .await;
    let safe = async |release: &str| {
        let status = proxy.status().await;
        assert_eq!((&status["rollback"]["safe"], &status["rollback"]["release"]), (&json!("yes"), &json!(release)));
        assert_eq!(metric(&proxy, "cutover_rollback_safe").await, "1");
    };

    // Expand: a column is added; both releases run on 42.
    let asked = proxy.cli(&["switch", "--other", "--dry-run"]).await;
    assert!(asked.status.success() && said(&asked).contains("The way back would then be safe"), "{}", said(&asked));
    database.migrate(42);
    proxy.switch("green").await;
    assert_eq!(proxy.get("/").await.text(), "2.14.0");
    safe("2.13.0").await;
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    assert_eq!(proxy.get("/").await.text(), "2.13.0", "and it runs on 42");
    proxy.switch("green").await;

    // Backfill.
    let label = "needs = \">=42, <=44\", migrates_to = 43";
    deploy(&proxy, |text| with_color(text, "blue", &color("2.15.0", backfill.address, label))).await;
    database.migrate(43);
    proxy.switch("blue").await;
    assert_eq!(proxy.get("/").await.text(), "2.15.0");
    safe("2.14.0").await;

    // Contract: allowed, because the release before can run on it; and said before that there will be no way back.
    let label = "needs = \">=43, <=44\", migrates_to = 44, barrier = \"applied\"";
    deploy(&proxy, |text| with_color(text, "green", &color("2.16.0", contract.address, label))).await;
    let checked = said(&proxy.cli(&["check"]).await);
    assert!(checked.contains("there would be no safe way back: its barrier at orders is passed with it."), "{checked}");
    let asked = proxy.post("/admin/switch", json!({ "dry_run": true })).await.json();
    assert_eq!(asked["rollback"]["safe"], "no", "{asked}");
    database.migrate(44);
    proxy.switch("green").await;
    assert_eq!(proxy.get("/").await.text(), "2.16.0");
    let status = proxy.status().await;
    assert_eq!(status["rollback"]["safe"], "no", "{status}");
    assert_eq!((&status["stores"][0]["version"], &status["stores"][0]["barrier_passed"]), (&json!(44), &json!(true)));
    assert_eq!(metric(&proxy, "cutover_rollback_safe").await, "0");
    let problem = refused(&proxy.post("/admin/rollback", json!({})).await);
    assert_eq!((&problem["barrier_release"], &problem["store"]), (&json!("2.16.0"), &json!("orders")), "{problem}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("fix forward")), "{problem}");
}

/// 1.0 runs on 1, 2.0 brings it to 2.
fn unfit(blue: &Application, green: &Application) -> Setup {
    setup(
        color("1.0", blue.address, "needs = \"1\", migrates_to = 1"),
        color("2.0", green.address, "needs = \">=1, <=2\", migrates_to = 2"),
    )
}

#[tokio::test]
async fn force_needs_a_reason_and_then_the_way_back_is_marked_impossible_until_the_next_switch() {
    let (blue, green) = pair().await;
    let mut proxy = unfit(&blue, &green).start().await;
    let problem = refused(&proxy.post("/admin/switch", json!({ "force": true })).await);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("give a reason")), "{problem}");
    let body = json!({ "force": true, "reason": "the column has to go" });
    let answer = proxy.post("/admin/switch", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["rollback"]["possible"], false, "{}", answer.text());

    for restarted in [false, true] {
        if restarted {
            proxy.kill_and_restart().await;
        }
        let status = proxy.status().await;
        assert_eq!((&status["rollback"]["possible"], &status["rollback"]["safe"]), (&json!(false), &json!("no")));
        let why = status["rollback"]["unsafe_why"].as_str().expect("a reason");
        assert!(why.contains("orders 2, 1.0 needs 1") && why.contains("the column has to go"), "{why}");
        assert_eq!(metric(&proxy, "cutover_rollback_possible").await, "0");
        assert_eq!(metric(&proxy, "cutover_rollback_safe").await, "0");
        let text = said(&proxy.cli(&["status"]).await);
        assert!(text.contains("blocked: to blue (1.0), 1/1 up: orders 2, 1.0 needs 1; "), "{text}");
        assert!(said(&proxy.cli(&["history"]).await).contains(", and no way back"));
        assert!(proxy.ledger().contains("\"overridden\":{"));
        refused(&proxy.post("/admin/rollback", json!({})).await);
    }
    refused(&proxy.post("/admin/rollback", json!({ "force": true })).await);
    let answer = proxy.post("/admin/rollback", json!({ "force": true, "reason": "it has to" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn without_labels_nothing_is_refused_and_nobody_calls_it_safe() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let status = proxy.status().await;
    assert_eq!(
        (&status["rollback"]["safe"], &status["rollback"]["unsafe_why"]),
        (&json!("unknown"), &json!("no labels"))
    );
    assert_eq!(metric(&proxy, "cutover_rollback_safe").await, "-1");
    assert!(said(&proxy.cli(&["status"]).await).contains(" rollback ready: to blue (1.0), 1/1 up "));
    assert!(!proxy.ledger().contains("lineage"), "what is not used is not written");
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
}

#[tokio::test]
async fn an_edit_of_the_labels_is_no_order_and_counts_at_once_and_what_was_applied_outlives_edits_and_restarts() {
    let (blue, green) = pair().await;
    let mut proxy = setup(
        color("1.0", blue.address, "needs = \">=1, <=2\", migrates_to = 1"),
        color("2.0", green.address, "needs = \">=1, <=2\", migrates_to = 2"),
    )
    .start()
    .await;
    let generation = proxy.switch("green").await["generation"].clone();
    deploy(&proxy, |text| text.replace("needs = \">=1, <=2\", migrates_to = 1 ", "needs = \"1\", migrates_to = 1 "))
        .await;
    let status = proxy.status().await;
    assert_eq!((&status["rollback"]["safe"], &status["generation"]), (&json!("no"), &generation), "{status}");
    assert_eq!(status["rollback"]["why"], "orders 2, 1.0 needs 1", "{status}");
    let text = said(&proxy.cli(&["status"]).await);
    assert!(
        text.contains(
            "rollback blocked: to blue (1.0), 1/1 up: orders 2, 1.0 needs 1 schema unsafe: orders 2, 1.0 needs 1"
        ),
        "{text}"
    );

    // The file forgets what 2.0 did; the ledger does not.
    deploy(&proxy, |text| with_color(text, "green", &color("2.0", green.address, ""))).await;
    proxy.kill_and_restart().await;
    let status = proxy.status().await;
    assert_eq!((&status["stores"][0]["version"], &status["rollback"]["safe"]), (&json!(2), &json!("no")), "{status}");
    refused(&proxy.post("/admin/rollback", json!({})).await);

    // Nor when the release under the live color is another one.
    deploy(&proxy, |text| with_color(text, "green", &color("2.1", green.address, "needs = \">=2\""))).await;
    proxy.until("the label is taken over", |status| status["release"] == "2.1").await;
    assert_eq!(proxy.status().await["stores"][0]["version"], 2);
    // Corrected, it is safe again.
    deploy(&proxy, |text| text.replace("needs = \"1\", migrates_to = 1 ", "needs = \"<=2\", migrates_to = 1 ")).await;
    assert_eq!(proxy.status().await["rollback"]["safe"], "yes");
}

#[tokio::test]
async fn a_target_that_can_not_run_on_what_is_there_is_refused() {
    let (blue, green) = pair().await;
    let proxy = setup(
        color("1.0", blue.address, "needs = \"<=5\", migrates_to = 1"),
        color("2.0", green.address, "needs = \">=3\""),
    )
    .start()
    .await;
    let problem = refused(&proxy.post("/admin/switch", json!({})).await);
    assert_eq!(
        (&problem["current"], &problem["target_needs"], &problem["needed_by"]),
        (&json!(1), &json!(">=3"), &json!("2.0"))
    );
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("orders is at 1, and 2.0 needs >=3")));
}

/// With a probe at an application of its own.
async fn probed(database: &Database) -> (Application, Application, Shop, Setup) {
    let (blue, green) = pair().await;
    let teller = Shop::start("teller", database, 0..=u64::MAX).await;
    let probe = format!("probe = {{ url = \"http://{}/_schema\", json = \"/orders\" }}", teller.address);
    let setup = setup(
        color("1.0", blue.address, &format!("needs = \">=1, <=2\", migrates_to = 1, {probe}")),
        color("2.0", green.address, &format!("needs = \">=1, <=3\", migrates_to = 2, {probe}")),
    );
    (blue, green, teller, setup)
}

#[tokio::test]
async fn a_probe_is_the_truth_whatever_labels_say_and_is_followed() {
    let database = Database::at(2);
    let (_blue, _green, _teller, setup) = probed(&database).await;
    let proxy = setup.start().await;
    // By the labels it would be 1.
    let status = proxy.until("the probe answered", |status| status["stores"][0]["source"] == "probe").await;
    assert_eq!(status["stores"][0]["version"], 2, "{status}");
    proxy.switch("green").await;
    assert_eq!(proxy.status().await["rollback"]["safe"], "yes");
    database.migrate(3);
    let status = proxy.until("the way back is not safe", |status| status["rollback"]["safe"] == "no").await;
    assert_eq!(status["rollback"]["unsafe_why"], "orders 3, 1.0 needs >=1, <=2", "{status}");
    refused(&proxy.post("/admin/rollback", json!({})).await);
    database.migrate(1);
    proxy.until("it is safe again", |status| status["rollback"]["safe"] == "yes").await;
    assert_eq!(metric(&proxy, "cutover_schema_version").await, "1");

    // A forward move asks anew: nobody has to wait until the status has seen it.
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    database.migrate(4);
    let problem = refused(&proxy.post("/admin/switch", json!({})).await);
    assert_eq!(problem["current"], 4, "{problem}");
}

#[tokio::test]
async fn a_probe_that_fails_or_hangs_says_so_blocks_nothing_and_holds_up_no_way_back() {
    let database = Database::at(1);
    let (_blue, _green, teller, setup) = probed(&database).await;
    let proxy = setup.start().await;
    proxy.until("the probe answered", |status| status["stores"][0]["source"] == "probe").await;
    let address = teller.address;
    drop(teller);
    // Nobody accepts there any more, and then somebody who never answers.
    let status = proxy.until("it fails", |status| status["stores"][0]["probe_error"].is_string()).await;
    assert_eq!(status["stores"][0]["probe_error"], "connection refused", "{status}");
    let silent = until("the port is free", async || TcpListener::bind(address).await.ok()).await;
    proxy
        .until("it hangs", |status| {
            status["stores"][0]["probe_error"].as_str().is_some_and(|e| e.contains("no answer"))
        })
        .await;
    proxy.switch("green").await;
    let status = proxy.until("the last answer is too old", |status| status["rollback"]["safe"] == "unknown").await;
    assert_eq!(status["stores"][0]["source"], "labels", "{status}");
    let why = status["rollback"]["unsafe_why"].as_str().expect("a reason").to_owned();
    assert!(why.contains("the probe of orders failed: no answer within 1s"), "{why}");
    assert_eq!(metric(&proxy, "cutover_schema_probe_failed").await, "1");
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    drop(silent);
}

#[tokio::test]
async fn a_release_can_be_taken_back_until_its_first_write() {
    let (blue, green) = pair().await;
    let mut proxy = setup(
        color("1.0", blue.address, "needs = \"<=2\", migrates_to = 1"),
        color("2.0", green.address, "needs = \"<=2\", migrates_to = 2, barrier = \"first-write\""),
    )
    .start()
    .await;
    proxy.switch("green").await;
    // What only looks does not count, nor does a write that was not accepted.
    proxy.get("/").await;
    let mut connection = proxy.connect().await;
    connection.send("POST /vanishes HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(connection.answer().await.status, 502);
    let status = proxy.status().await;
    assert_eq!((&status["rollback"]["safe"], &status["stores"][0]["barrier"]), (&json!("yes"), &json!("first-write")));
    assert_eq!(status["stores"][0]["barrier_passed"], false, "{status}");
    assert_eq!(metric(&proxy, "cutover_schema_barrier_passed").await, "0");
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    proxy.switch("green").await;

    let mut connection = proxy.connect().await;
    connection.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(connection.answer().await.status, 200);
    // At once: whoever has the answer to the write can't go back any more.
    let problem = refused(&proxy.post("/admin/rollback", json!({})).await);
    assert_eq!(problem["barrier_release"], "2.0", "{problem}");
    let written = proxy.until("it is on disk", |status| status["durable"] == true).await["stores"][0].clone();
    assert_eq!(written["barrier_passed"], true, "{written}");
    let id = written["first_write"]["request_id"].as_str().expect("its id").to_owned();
    assert!(green.last_head().to_ascii_lowercase().contains(&format!("x-request-id: {id}")), "{}", green.last_head());
    assert_eq!(metric(&proxy, "cutover_schema_barrier_passed").await, "1");
    let text = said(&proxy.cli(&["history"]).await);
    assert!(text.contains("green 2.0 passed its barrier") && text.contains(&id), "{text}");
    assert!(said(&proxy.cli(&["status"]).await).contains("barrier passed by the first write"));

    proxy.kill_and_restart().await;
    let status = proxy.status().await;
    assert_eq!(status["stores"][0]["first_write"]["request_id"], id, "{status}");
    refused(&proxy.post("/admin/rollback", json!({})).await);
    // By whatever name one goes back.
    refused(&proxy.post("/admin/switch", json!({ "to": "blue" })).await);
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_form_that_is_answered_with_a_redirect_is_a_write_and_one_that_is_sent_elsewhere_is_none() {
    let (blue, green) = pair().await;
    let proxy = setup(
        color("1.0", blue.address, "needs = \"<=2\", migrates_to = 1"),
        color("2.0", green.address, "needs = \"<=2\", migrates_to = 2, barrier = \"first-write\""),
    )
    .start()
    .await;
    proxy.switch("green").await;
    for (path, status, passed) in [("/elsewhere", 307, false), ("/see-other", 303, true)] {
        let mut connection = proxy.connect().await;
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(connection.answer().await.status, status);
        // Behind a command, which takes it up.
        proxy.post("/admin/switch", json!({ "dry_run": true })).await;
        assert_eq!(proxy.status().await["stores"][0]["barrier_passed"], passed, "{path}");
    }
    refused(&proxy.post("/admin/rollback", json!({})).await);
}

#[tokio::test]
async fn check_says_what_labels_mean_for_the_running_proxy() {
    let (blue, green) = pair().await;
    let proxy = unfit(&blue, &green).start().await;
    let text = said(&proxy.cli(&["check"]).await);
    assert!(text.contains("orders is at 1, by the labels of what took traffic."), "{text}");
    assert!(text.contains("A switch to green (release 2.0) would be refused: orders 2, 1.0 needs 1."), "{text}");
    deploy(&proxy, |text| text.replace("needs = \"1\"", "needs = \"<=2\"")).await;
    let text = said(&proxy.cli(&["check"]).await);
    assert!(text.contains("A switch to green (release 2.0) would be safe, and so would be the way back."), "{text}");
    proxy.switch("green").await;
    let text = said(&proxy.cli(&["check"]).await);
    assert!(text.contains("The way back to blue (release 1.0) is safe."), "{text}");
}
