//! The color that serves after a start: the table of `docs/start.md`, row by row; and how a start and a stop look from outside.

use std::fs;

use serde_json::json;

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup, refused_start};
use crate::until;

/// The proxy, killed, with its file and ledger as they were.
async fn killed(blue: &Application, green: &Application) -> Proxy {
    let mut proxy = Proxy::start(blue, green).await;
    proxy.kill().await;
    proxy
}

/// Without `write_back`, so that the file stays as the test writes it.
fn alone(blue: &Application, green: &Application) -> Setup {
    let mut setup = Setup::new(blue, green);
    setup.drain = "timeout = \"20s\"".to_owned();
    setup
}

fn without_write_back(text: &str) -> String {
    text.replace("[state]\n", "[state]\nwrite_back = false\n")
}

/// Waits until the file is put right, and that is on disk too: else a restart has something to write down.
async fn until_noted(proxy: &Proxy) {
    until("the last line has seen the file as it is", async || {
        let ledger = proxy.ledger();
        let line: serde_json::Value = serde_json::from_str(ledger.lines().last()?).ok()?;
        let decision = &line["entry"]["decision"];
        let settled = proxy.status().await["file"]["disagrees"] == false;
        (settled && decision["seen"]["color"] == decision["active"]).then_some(())
    })
    .await;
}

fn kinds(history: &serde_json::Value) -> Vec<&str> {
    let all = history["transitions"].as_array().expect("a list");
    all.iter().map(|transition| transition["kind"].as_str().expect("a kind")).collect()
}

async fn history(proxy: &Proxy) -> serde_json::Value {
    proxy.admin("GET", "/admin/history", "").await.json()
}

#[tokio::test]
async fn row_1_without_a_ledger_the_files_word_counts_and_is_written_down() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.active = "green";
    let proxy = setup.start().await;
    assert_eq!(proxy.color().await, "green");
    let history = history(&proxy).await;
    assert_eq!(kinds(&history), ["start"]);
    assert_eq!(history["transitions"][0]["generation"], 1);
}

#[tokio::test]
async fn row_2_a_restart_with_the_same_file_changes_nothing() {
    let (blue, green) = pair().await;
    let mut proxy = killed(&blue, &green).await;
    let ledger = proxy.ledger();
    proxy.restart().await;
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(proxy.ledger(), ledger);
}

#[tokio::test]
async fn row_3_an_edit_while_the_process_was_down_is_an_order() {
    let (blue, green) = pair().await;
    let mut proxy = killed(&blue, &green).await;
    proxy.replace_file(&proxy.ordering("green"));
    proxy.restart().await;
    let status = proxy.until_color("green").await;
    assert_eq!((&status["generation"], &status["file"]["order"]), (&json!(2), &json!("done")));
    assert_eq!(history(&proxy).await["transitions"][0]["trigger"], "file");
}

#[tokio::test]
async fn row_4_such_an_order_for_an_unhealthy_color_is_refused_and_the_file_put_right() {
    let (blue, green) = pair().await;
    green.set_healthy(false);
    let mut proxy = killed(&blue, &green).await;
    proxy.replace_file(&proxy.ordering("green"));
    proxy.restart().await;
    let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!((&status["active"], &status["file"]["refusal"]["code"]), (&json!("blue"), &json!("unhealthy")));
    until("the file is put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
    until("the refusal is written down", async || (kinds(&history(&proxy).await) == ["seen", "start"]).then_some(()))
        .await;
    until_noted(&proxy).await;
    // And it is not looked at again.
    green.set_healthy(true);
    proxy.kill_and_restart().await;
    proxy.until("green is up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn row_5_a_file_that_was_not_put_right_in_time_is_no_order_and_is_put_right() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = without_write_back(&alone(&blue, &green).text(dir.path()));
    let mut proxy = Proxy::start_in(dir, &text).await;
    proxy.switch("green").await;
    proxy.kill().await;
    assert!(proxy.text().contains("active = \"blue\""));
    proxy.write_file(&text.replace("write_back = false", "write_back = true"));
    proxy.restart().await;
    assert_eq!(proxy.color().await, "green");
    until("the file is put right", async || proxy.text().contains("active = \"green\"").then_some(())).await;
    assert_eq!(kinds(&history(&proxy).await), ["switch", "start"]);
}

#[tokio::test]
async fn row_6_an_order_that_was_overruled_is_no_order_neither_at_a_reload_nor_after_a_restart() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = without_write_back(&alone(&blue, &green).text(dir.path()));
    let mut proxy = Proxy::start_in(dir, &text).await;
    proxy.replace_file(&proxy.ordering("green"));
    proxy.until_color("green").await;
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["file"]["disagrees"]), (&json!("blue"), &json!(true)));

    // A reload for another reason.
    proxy.replace_file(&proxy.text().replace("timeout = \"20s\"", "timeout = \"21s\""));
    proxy.until_logged("21s").await;
    assert_eq!(proxy.color().await, "blue");
    proxy.until("the rollback is on disk", |status| status["durable"] == true).await;
    proxy.kill_and_restart().await;
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["file"]["order"]), (&json!("blue"), &json!("done")), "{status}");
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(kinds(&history(&proxy).await), ["rollback", "switch", "start"]);
}

#[tokio::test]
async fn row_7_another_release_for_the_color_that_serves_is_written_down() {
    let (blue, green) = pair().await;
    let mut proxy = killed(&blue, &green).await;
    proxy.replace_file(&proxy.text().replace("release = \"1.0\"", "release = \"1.1\""));
    proxy.restart().await;
    let status = proxy.until("the release is known", |status| status["release"] == "1.1").await;
    assert_eq!((&status["active"], &status["generation"]), (&json!("blue"), &json!(2)));
    assert_eq!(kinds(&history(&proxy).await), ["release", "start"]);
}

#[tokio::test]
async fn row_8_a_torn_last_line_costs_that_line_and_is_set_aside() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    until_noted(&proxy).await;
    proxy.kill().await;
    let ledger = proxy.dir.path().join("state/ledger.jsonl");
    let text = proxy.ledger();
    let torn = format!("{text}{}", &text[..100]);
    fs::write(&ledger, torn).expect("a write");
    proxy.restart().await;
    assert_eq!(proxy.color().await, "green");
    assert_eq!(proxy.ledger(), text);
    proxy.until_logged("damaged").await;
    let aside = fs::read_dir(proxy.dir.path().join("state")).expect("the directory");
    assert_eq!(aside.filter(|entry| entry.as_ref().expect("an entry").file_name() != "ledger.jsonl").count(), 1);
}

#[tokio::test]
async fn row_9_a_damaged_line_in_the_middle_costs_nothing_else() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    until_noted(&proxy).await;
    proxy.switch("blue").await;
    until_noted(&proxy).await;
    proxy.kill().await;
    let text = proxy.ledger().replacen("\"kind\":\"switch\"", "\"kind\":\"swotch\"", 1);
    fs::write(proxy.dir.path().join("state/ledger.jsonl"), text).expect("a write");
    proxy.restart().await;
    assert_eq!(proxy.color().await, "blue");
    let status = proxy.status().await;
    assert_eq!(status["generation"], 3);
    assert_eq!(kinds(&history(&proxy).await), ["switch", "start"]);
}

// Row 10: `durability::two_processes_do_not_share_a_ledger`.

#[tokio::test]
async fn row_11_a_ledger_of_a_newer_version_is_not_touched() {
    let (blue, green) = pair().await;
    let proxy = killed(&blue, &green).await;
    let ledger = proxy.dir.path().join("state/ledger.jsonl");
    let newer = newer(&proxy.ledger());
    fs::write(&ledger, &newer).expect("a write");
    let (code, said) = refused_start(proxy.dir.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("newer cutover"), "{said}");
    assert_eq!(proxy.ledger(), newer);
}

/// The same line as a later version would begin it.
fn newer(line: &str) -> String {
    let changed = line.replacen("\"v\":3", "\"v\":99", 1);
    assert_ne!(changed, line, "the line has its version: {line}");
    let (_, rest) = changed.split_once("\"entry\":").expect("an entry");
    let entry = rest.trim_end().strip_suffix('}').expect("the end of the line");
    format!("{{\"crc\":\"{:08x}\",\"entry\":{entry}}}\n", crc32fast::hash(entry.as_bytes()))
}

#[tokio::test]
async fn row_12_an_invalid_file_is_no_start_and_says_everything_that_is_wrong() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    fs::write(dir.path().join("cutover.toml"), text.replace("workers = 2", "workers = \"two\"\nwrokers = 1"))
        .expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("cutover.toml:7:") && said.contains("cutover.toml:8:"), "{said}");
    fs::remove_file(dir.path().join("cutover.toml")).expect("it was there");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("cutover.toml") && said.contains("No such file"), "{said}");
}

#[tokio::test]
async fn row_13_a_state_directory_that_cannot_be_made_is_no_start() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    let state = format!("dir = \"{}/state\"", dir.path().display());
    let text = text.replace(&state, "dir = \"/proc/cutover\"");
    fs::write(dir.path().join("cutover.toml"), text).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("/proc/cutover"), "{said}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_no_start_and_names_the_key() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    // The application has it, and shares it with nobody.
    let text = text.replace("http = \"127.0.0.1:0\"", &format!("http = \"{}\"", blue.address));
    fs::write(dir.path().join("cutover.toml"), text).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("listen.http") && said.contains(&blue.address.to_string()), "{said}");
}

#[tokio::test]
async fn systemd_is_told_when_it_serves_and_when_it_stops() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = std::os::unix::net::UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
    socket.set_nonblocking(true).expect("a socket option");
    let mut child = crate::proxy::command(&["run", "--config"]);
    let config = dir.path().join("cutover.toml");
    fs::write(&config, Setup::new(&blue, &green).text(dir.path())).expect("a file");
    child
        .arg(&config)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = child.spawn().expect("the binary was built");
    let mut told = String::new();
    let mut until_told = async |what: &str| {
        until(what, async || {
            let mut buffer = [0; 1024];
            while let Ok(n) = socket.recv(&mut buffer) {
                told.push_str(&String::from_utf8_lossy(&buffer[..n]));
                told.push('\n');
            }
            told.contains(what).then_some(())
        })
        .await;
    };
    until_told("READY=1").await;
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(child.id().expect("it runs")).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    until_told("STOPPING=1").await;
    assert!(crate::soon("the end", child.wait()).await.expect("it was started").success());
}

/// The proxy, rolled back from green, with the file put right.
async fn rolled_back(setup: &Setup) -> (Proxy, String) {
    let proxy = setup.start().await;
    proxy.replace_file(&proxy.ordering("green"));
    proxy.until_color("green").await;
    let yesterday = proxy.text();
    assert_eq!(proxy.post("/admin/rollback", json!({ "reason": "errors" })).await.status, 200);
    until_noted(&proxy).await;
    (proxy, yesterday)
}

#[tokio::test]
async fn row_14_a_file_that_orders_back_what_a_rollback_has_left_is_overruled() {
    let (blue, green) = pair().await;
    let receiver = crate::receiver::Receiver::start().await;
    let mut setup = alone(&blue, &green);
    let dir = tempfile::tempdir().expect("a directory");
    setup.more = format!(
        "[[notify]]\nname = \"log\"\nkind = \"slack\"\nurl_file = \"{}\"\n",
        receiver.url_file(dir.path(), "log")
    );
    let (proxy, yesterday) = rolled_back(&setup).await;
    for _ in 0..2 {
        // Configuration management comes again and again.
        proxy.replace_file(&yesterday);
        let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
        let refusal = &status["file"]["refusal"];
        assert_eq!((&refusal["status"], &refusal["code"]), (&json!(409), &json!("overruled")), "{status}");
        let detail = refusal["detail"].as_str().expect("a sentence");
        assert!(detail.contains("2.0") && detail.contains("cutover switch green"), "{detail}");
        until("the file is put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
        until_noted(&proxy).await;
    }
    assert_eq!(proxy.color().await, "blue");
    receiver.until("the refusal is told", |notice| notice.body.contains("overruled")).await;
    assert_eq!(kinds(&history(&proxy).await)[..4], ["seen", "seen", "rollback", "switch"]);

    // Another release is something else, and so is a command.
    proxy.replace_file(&yesterday.replace("release = \"2.0\"", "release = \"2.1\""));
    proxy.until_color("green").await;
    assert_eq!(proxy.status().await["file"]["order"], "done");
    proxy.switch("blue").await;
    proxy.replace_file(&yesterday.replace("active = \"green\"", "active = \"blue\""));
    proxy.until("2.0 is back", |status| status["green"]["release"] == "2.0").await;
    proxy.switch("green").await;
    until_noted(&proxy).await;
    // It was brought back, so the rollback of before overrules nothing any more.
    proxy.switch("blue").await;
    until_noted(&proxy).await;
    proxy.replace_file(&yesterday);
    proxy.until_color("green").await;
}

#[tokio::test]
async fn row_15_such_an_order_is_overruled_after_a_restart_too() {
    let (blue, green) = pair().await;
    let (mut proxy, yesterday) = rolled_back(&alone(&blue, &green)).await;
    proxy.kill().await;
    proxy.replace_file(&yesterday);
    proxy.restart().await;
    let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!((&status["active"], &status["file"]["refusal"]["code"]), (&json!("blue"), &json!("overruled")));
    until("the file is put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn row_14_a_rollback_before_the_last_one_overrules_too_also_after_a_restart() {
    let (blue, green) = pair().await;
    let (mut proxy, yesterday) = rolled_back(&alone(&blue, &green)).await;
    proxy.replace_file(&proxy.text().replace("release = \"2.0\"", "release = \"2.1\""));
    proxy.until("2.1 is deployed", |status| status["green"]["release"] == "2.1").await;
    proxy.switch("green").await;
    assert_eq!(proxy.post("/admin/rollback", json!({ "reason": "errors again" })).await.status, 200);
    until_noted(&proxy).await;
    let overruled = async |proxy: &Proxy| {
        let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
        assert_eq!((&status["active"], &status["file"]["refusal"]["code"]), (&json!("blue"), &json!("overruled")));
        until("the file is put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
        assert_eq!(proxy.color().await, "blue");
    };
    proxy.replace_file(&yesterday);
    overruled(&proxy).await;
    until_noted(&proxy).await;
    proxy.kill().await;
    proxy.replace_file(&yesterday);
    proxy.restart().await;
    overruled(&proxy).await;
}

#[tokio::test]
async fn row_15_a_restart_shows_the_refusal_of_a_file_that_stays_as_it_is() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = without_write_back(&alone(&blue, &green).text(dir.path()));
    let mut proxy = Proxy::start_in(dir, &text).await;
    proxy.switch("green").await;
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    proxy.replace_file(&proxy.ordering("green"));
    let refused = async |proxy: &Proxy| {
        let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
        assert_eq!(status["file"]["refusal"]["code"], "overruled", "{status}");
        assert_eq!((&status["active"], &status["file"]["disagrees"]), (&json!("blue"), &json!(true)));
    };
    refused(&proxy).await;
    proxy.until("the refusal is on disk", |status| status["durable"] == true).await;
    until("it is in the ledger", async || proxy.ledger().contains("overruled").then_some(())).await;
    for _ in 0..2 {
        proxy.kill_and_restart().await;
        refused(&proxy).await;
    }
}

#[tokio::test]
async fn row_16_after_the_window_the_file_orders_again() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = alone(&blue, &green).text(dir.path()).replace("[state]\n", "[state]\norder_window = \"0s\"\n");
    let proxy = Proxy::start_in(dir, &text).await;
    proxy.replace_file(&proxy.ordering("green"));
    proxy.until_color("green").await;
    let yesterday = proxy.text();
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    until_noted(&proxy).await;
    proxy.replace_file(&yesterday);
    proxy.until_color("green").await;
}

#[tokio::test]
async fn row_17_without_file_orders_active_counts_at_the_first_start_only() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = alone(&blue, &green);
    setup.active = "green";
    let text = setup.text(dir.path()).replace("[state]\n", "[state]\nfile_orders = false\n");
    let mut proxy = Proxy::start_in(dir, &text).await;
    assert_eq!(proxy.color().await, "green");
    proxy.replace_file(&proxy.ordering("blue").replace("timeout = \"20s\"", "timeout = \"21s\""));
    proxy.until_logged("21s").await;
    let status = proxy.status().await;
    assert_eq!(
        (&status["active"], &status["file"]["disagrees"]),
        (&json!("green"), &json!(false)),
        "it orders nothing"
    );
    assert!(proxy.text().contains("active = \"blue\""), "and is not written to");
    let shown = proxy.cli(&["status"]).await;
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("orders nothing") && !shown.contains("not in force"), "{shown}");
    proxy.kill_and_restart().await;
    assert_eq!(proxy.color().await, "green");
    // Another release under the color that serves is a fact, whatever the file says of `active`.
    proxy.replace_file(&proxy.text().replace("release = \"2.0\"", "release = \"2.1\""));
    proxy.until("the release is known", |status| status["release"] == "2.1").await;
    assert_eq!(proxy.switch("blue").await["active"], "blue");
    assert_eq!(kinds(&history(&proxy).await), ["switch", "release", "start"]);
}

#[tokio::test]
async fn without_file_orders_active_may_be_left_out() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = alone(&blue, &green).text(dir.path()).replace("[state]\n", "[state]\nfile_orders = false\n");
    let mut proxy = Proxy::start_in(dir, &text.replace("active = ", "# active = ")).await;
    assert_eq!(proxy.color().await, "blue", "the first start");
    proxy.switch("green").await;
    let shown = proxy.cli(&["status"]).await;
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.starts_with("OK") && shown.contains("orders nothing"), "{shown}");
    proxy.kill_and_restart().await;
    assert_eq!(proxy.color().await, "green");
    assert!(!proxy.admin("GET", "/admin/config", "").await.text().contains("\nactive ="));
    // Where the file orders, it is needed.
    proxy.replace_file(&proxy.text().replace("file_orders = false", "file_orders = true"));
    let reload = proxy.admin("POST", "/admin/reload", "").await;
    assert_eq!(reload.status, 422, "{}", reload.text());
    assert!(reload.text().contains("active"), "{}", reload.text());
}
