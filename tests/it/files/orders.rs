//! An order never overtakes the file: what a script has edited is in force when its next command moves traffic.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

/// How a script edits, and whether the proxy is told of it by the kernel.
#[derive(Clone, Copy, Debug)]
enum Edit {
    InPlace,
    Rename,
    /// By another name of the same file, in a directory that nobody watches.
    InPlaceUntold,
    /// By a link in a directory that nobody watches.
    RenameUntold,
}

/// A color's section.
fn section(release: &str, application: &Application) -> String {
    format!("release = \"{release}\"\nendpoints = [\"{}\"]", application.address)
}

/// A proxy whose file can be edited this way.
async fn edited_by(edit: Edit, setup: &Setup) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path());
    match edit {
        Edit::InPlace | Edit::Rename => {}
        Edit::InPlaceUntold => {
            fs::create_dir(dir.path().join("aside")).expect("a directory");
            fs::write(dir.path().join("aside/cutover.toml"), &text).expect("a file");
            fs::hard_link(dir.path().join("aside/cutover.toml"), dir.path().join("cutover.toml")).expect("a link");
        }
        Edit::RenameUntold => {
            fs::create_dir_all(dir.path().join("aside/0")).expect("a directory");
            fs::write(dir.path().join("aside/0/cutover.toml"), &text).expect("a file");
            symlink("0", dir.path().join("aside/now")).expect("a link");
            symlink("aside/now/cutover.toml", dir.path().join("cutover.toml")).expect("a link");
        }
    }
    Proxy::start_in(dir, &text).await
}

fn write(edit: Edit, number: usize, dir: &Path, text: &str) {
    match edit {
        Edit::InPlace => fs::write(dir.join("cutover.toml"), text).expect("a write"),
        Edit::InPlaceUntold => fs::write(dir.join("aside/cutover.toml"), text).expect("a write"),
        Edit::Rename => {
            fs::write(dir.join("next.toml"), text).expect("a write");
            fs::rename(dir.join("next.toml"), dir.join("cutover.toml")).expect("a rename");
        }
        Edit::RenameUntold => {
            let next = dir.join("aside").join(number.to_string());
            fs::create_dir(&next).expect("a directory");
            fs::write(next.join("cutover.toml"), text).expect("a write");
            symlink(number.to_string(), dir.join("aside/next")).expect("a link");
            fs::rename(dir.join("aside/next"), dir.join("aside/now")).expect("a rename");
        }
    }
}

/// Fifty times: edit endpoints and release of the color that does not serve, and switch to it with the next command.
async fn fifty_pairs(edit: Edit) {
    let mut applications = Vec::new();
    for name in ["a", "b", "c", "d"] {
        applications.push(Application::start(name).await);
    }
    let names = ["a", "b", "c", "d"];
    let mut sections = [section("r00", &applications[0]), section("r00", &applications[1])];
    let mut setup = Setup::new(&applications[0], &applications[1]);
    [setup.blue, setup.green] = sections.clone();
    // Two equal sections could not be told apart.
    setup.green.push_str("\n# green");
    sections[1].push_str("\n# green");
    setup.blue.push_str("\n# blue");
    sections[0].push_str("\n# blue");
    let proxy = edited_by(edit, &setup).await;
    for number in 1..=50 {
        let (index, color) = if number % 2 == 1 { (1, "green") } else { (0, "blue") };
        let (release, application) = (format!("r{number:02}"), number % 4);
        let next = format!("{}\n# {color}", section(&release, &applications[application]));
        let text = proxy.text().replace(&sections[index], &next);
        sections[index] = next;
        write(edit, number, proxy.dir.path(), &text);
        let output = proxy.cli(&["switch", color]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{edit:?}, pair {number}: {said}\n{}", proxy.log());
        assert_eq!(proxy.color().await, names[application], "{edit:?}, pair {number}");
        let status = proxy.status().await;
        assert_eq!(
            (&status["active"], &status["release"]),
            (&json!(color), &json!(release)),
            "pair {number}: {status}"
        );
        let history = proxy.admin("GET", "/admin/history?limit=1", "").await.json();
        let last = &history["transitions"][0];
        assert_eq!((&last["kind"], &last["release"]), (&json!("switch"), &json!(release)), "pair {number}: {history}");
    }
}

#[tokio::test]
async fn fifty_edits_in_place_are_each_in_force_at_the_next_switch() {
    fifty_pairs(Edit::InPlace).await;
}

#[tokio::test]
async fn fifty_edits_by_rename_are_each_in_force_at_the_next_switch() {
    fifty_pairs(Edit::Rename).await;
}

#[tokio::test]
async fn fifty_edits_in_place_without_events_are_each_in_force_at_the_next_switch() {
    fifty_pairs(Edit::InPlaceUntold).await;
}

#[tokio::test]
async fn fifty_edits_by_rename_without_events_are_each_in_force_at_the_next_switch() {
    fifty_pairs(Edit::RenameUntold).await;
}

/// The file with other endpoints and another release for green.
fn with_green(proxy: &Proxy, green: &Application, next: &Application, release: &str) -> String {
    let text = proxy.text().replace(&green.address.to_string(), &next.address.to_string());
    text.replace("release = \"2.0\"", &format!("release = \"{release}\""))
}

#[tokio::test]
async fn a_canary_begins_with_the_release_and_the_endpoints_of_the_file() {
    let (blue, green) = pair().await;
    let next = Application::start("next").await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.write_file(&with_green(&proxy, &green, &next, "2.1"));
    let answer = proxy.post("/admin/canary", json!({ "weight": 50 })).await;
    assert_eq!((answer.status, &answer.json()["canary"]["release"]), (200, &json!("2.1")), "{}", answer.text());
    until("the new endpoint serves", async || (proxy.color().await == "next").then_some(())).await;
    assert!(green.heads().is_empty(), "the old endpoint got a request");
}

#[tokio::test]
async fn a_rollback_quarantines_the_release_that_the_file_names() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.replace_file(&proxy.text().replace("release = \"2.0\"", "release = \"2.1\""));
    proxy.switch("green").await;
    let answer = proxy.post("/admin/rollback", json!({ "quarantine": true })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.status().await["quarantine"][0]["release"], "2.1");
}

#[tokio::test]
async fn a_command_that_says_what_the_file_orders_is_the_same_move() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for color in ["green", "blue", "green"] {
        proxy.write_file(&proxy.ordering(color));
        let answer = proxy.post("/admin/switch", json!({ "to": color })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(proxy.color().await, color);
        assert_eq!(proxy.status().await["file"]["order"], "done");
    }
}

#[tokio::test]
async fn an_invalid_file_refuses_moves_forward_with_its_errors_and_no_rollback() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let good = proxy.text();
    proxy.write_file(&good.replace("rise = 1", "rise = 0\nmystery = 1"));
    for (path, body) in [
        ("/admin/switch", json!({ "to": "blue" })),
        ("/admin/switch", json!({ "to": "blue", "dry_run": true })),
        ("/admin/canary", json!({})),
    ] {
        let answer = proxy.post(path, body).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (422, &json!("invalid_config")), "{path}: {}", answer.text());
        assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2), "{problem}");
        assert!(problem["errors"][0]["line"].as_u64().is_some_and(|line| line > 1), "{problem}");
    }
    let output = proxy.cli(&["switch", "blue"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("mystery") && said.contains("cutover.toml:") && said.contains("cutover check"), "{said}");
    assert_eq!(proxy.color().await, "green", "nothing has moved");

    let output = proxy.cli(&["rollback"]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("mystery") && said.contains("configuration in force"), "{said}");
    assert_eq!(proxy.color().await, "blue");
    until("the refusals are written down", async || {
        let history = proxy.admin("GET", "/admin/history", "").await.json();
        let lines = history["transitions"].as_array().expect("a list").clone();
        let refused = lines.iter().filter(|line| line["kind"] == "refused" && line.to_string().contains("mystery"));
        (refused.count() >= 2).then_some(())
    })
    .await;

    // Somebody who has to can go by the configuration in force.
    let answer = proxy.post("/admin/switch", json!({ "to": "green", "force": true })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["file_problem"].as_str().is_some_and(|why| why.contains("mystery")), "{}", answer.text());
    proxy.write_file(&good);
    proxy.switch("blue").await;
}

#[tokio::test]
async fn a_file_that_is_gone_refuses_moves_forward_by_name_and_no_rollback() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    fs::rename(proxy.file(), proxy.dir.path().join("aside.toml")).expect("a rename");
    let answer = proxy.post("/admin/switch", json!({ "to": "blue" })).await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_config")), "{}", answer.text());
    assert!(answer.text().contains("No such file"), "{}", answer.text());
    let answer = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!((answer.status, &answer.json()["active"]), (200, &json!("blue")), "{}", answer.text());
    assert!(answer.json()["file_problem"].is_string(), "{}", answer.text());
}

#[tokio::test]
async fn a_gate_whose_endpoints_are_edited_begins_anew_with_the_new_ones() {
    let (blue, green) = pair().await;
    let next = Application::start("next").await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_silent(true);
    let switch = proxy.post("/admin/switch", json!({ "to": "green" }));
    let edit = async {
        proxy.until("the gate asks", |status| status["phase"] == "gating").await;
        proxy.replace_file(&proxy.text().replace(&green.address.to_string(), &next.address.to_string()));
    };
    let (answer, ()) = tokio::join!(switch, edit);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.color().await, "next");

    // And where the old endpoints pass, and the new ones do not, nothing goes to the new ones.
    next.set_healthy(true);
    blue.set_silent(true);
    let dead = Application::start("dead").await;
    dead.set_healthy(false);
    let switch = proxy.post("/admin/switch", json!({ "to": "blue" }));
    let edit = async {
        proxy.until("the gate asks", |status| status["phase"] == "gating").await;
        proxy.replace_file(&proxy.text().replace(&blue.address.to_string(), &dead.address.to_string()));
        proxy.until_logged("endpoints").await;
        blue.set_silent(false);
    };
    let (answer, ()) = tokio::join!(switch, edit);
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("unhealthy")), "{}", answer.text());
    assert!(answer.text().contains(&dead.address.to_string()), "{}", answer.text());
    assert_eq!(proxy.color().await, "next");
}

#[tokio::test]
async fn a_gate_whose_release_is_edited_is_refused_by_name() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_silent(true);
    let switch = proxy.post("/admin/switch", json!({ "to": "green" }));
    let edit = async {
        proxy.until("the gate asks", |status| status["phase"] == "gating").await;
        proxy.replace_file(&proxy.text().replace("release = \"2.0\"", "release = \"2.1\""));
    };
    let (answer, ()) = tokio::join!(switch, edit);
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("target_changed")), "{}", answer.text());
    assert!(answer.text().contains("2.0") && answer.text().contains("2.1"), "{}", answer.text());
    assert_eq!(proxy.color().await, "blue");
    green.set_silent(false);
    assert_eq!(proxy.switch("green").await["release"], "2.1");
}

/// A valid file with the order to switch in it, in two halves of which the first is valid, too.
fn halves(proxy: &Proxy) -> (String, String) {
    (proxy.ordering("green"), format!("\n[bake]\nduration = \"1h\"\n#{}\n", "-".repeat(100)))
}

#[tokio::test]
async fn half_a_file_is_no_order_although_it_is_valid() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (first, second) = halves(&proxy);
    let mut file = fs::File::create(proxy.file()).expect("the file");
    file.write_all(first.as_bytes()).expect("a write");
    // Long enough for a program that goes by quiet alone.
    for _ in 0..30 {
        assert_eq!(proxy.color().await, "blue");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(proxy.status().await["file"]["error"], json!(null));
    // A way back does not wait for the writer, and says that it did not.
    let answer = proxy.post("/admin/maintenance", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.admin("DELETE", "/admin/maintenance", "").await.status, 200);
    let told = "cutover.toml is being written: its writer has not closed it\",\"counts_after_quiet_s\":600";
    proxy.until_logged(told).await;
    assert_eq!(proxy.color().await, "blue");
    file.write_all(second.as_bytes()).expect("a write");
    drop(file);
    proxy.until_color("green").await;
    assert_eq!(proxy.log().matches(told).count(), 1, "{}", proxy.log());
    assert!(proxy.admin("GET", "/admin/config", "").await.text().contains("duration = \"1h\""));
}

#[tokio::test]
async fn a_switch_waits_for_the_writer_of_the_file() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let next = Application::start("next").await;
    let text = with_green(&proxy, &green, &next, "2.1");
    let (first, second) = text.split_at(text.len() - 20);
    let mut file = fs::File::create(proxy.file()).expect("the file");
    file.write_all(first.as_bytes()).expect("a write");
    let switch = proxy.post("/admin/switch", json!({ "to": "green" }));
    let finish = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(proxy.status().await["active"], "blue");
        file.write_all(second.as_bytes()).expect("a write");
        drop(file);
    };
    let (answer, ()) = tokio::join!(switch, finish);
    assert_eq!((answer.status, &answer.json()["release"]), (200, &json!("2.1")), "{}", answer.text());
    assert_eq!(proxy.color().await, "next");
}

#[tokio::test]
async fn a_switch_is_refused_by_name_where_the_writer_never_ends_and_a_rollback_calls_it_off() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let text = proxy.text();
    let mut file = fs::File::create(proxy.file()).expect("the file");
    file.write_all(&text.as_bytes()[..text.len() - 20]).expect("a write");
    let called_off = async {
        let switch = proxy.post("/admin/switch", json!({ "to": "green" }));
        let back = async {
            // A reload that was asked for later has the same file to wait for.
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.post("/admin/rollback", json!({})).await
        };
        tokio::join!(switch, back)
    };
    let (switch, back) = called_off.await;
    assert_eq!((switch.status, &switch.json()["code"]), (409, &json!("withdrawn")), "{}", switch.text());
    assert_eq!((back.status, &back.json()["changed"]), (200, &json!(false)), "{}", back.text());

    let (switch, reload) = tokio::join!(
        soon("it gives up", proxy.post("/admin/switch", json!({ "to": "green" }))),
        soon("it gives up", proxy.post("/admin/reload", json!({})))
    );
    for answer in [switch, reload] {
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("file_busy")), "{}", answer.text());
        assert!(answer.text().contains("its writer has not closed it"), "{}", answer.text());
    }
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_reload_answers_with_the_errors_of_the_file() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.write_file(&proxy.text().replace("rise = 1", "rise = 0"));
    let answer = proxy.post("/admin/reload", json!({})).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (422, &json!("invalid_config")), "{problem}");
    assert!(problem["errors"][0]["message"].as_str().is_some_and(|text| text.contains("health.rise")), "{problem}");
    let output = proxy.cli(&["reload"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("health.rise"));
}
