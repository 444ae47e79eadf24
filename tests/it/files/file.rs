//! The file as a way in: edits of every kind take effect, wrong ones change nothing, and no edit touches what it does not
//! concern.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::process::Signal;
use serde_json::json;

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup};
use crate::until;

#[tokio::test]
async fn an_order_in_the_file_takes_the_same_path_as_one_by_the_api() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    proxy.replace_file(&proxy.ordering("green"));
    let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!(status["file"]["refusal"]["code"], "unhealthy");
    until("the file is put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
    green.set_healthy(true);
    proxy.replace_file(&proxy.ordering("green"));
    let status = proxy.until_color("green").await;
    assert_eq!(status["file"]["order"], "done");
    let history = proxy.admin("GET", "/admin/history", "").await.json();
    let last = &history["transitions"][0];
    assert_eq!((&last["trigger"], &last["kind"]), (&json!("file"), &json!("switch")));
    assert_eq!(last["actor"], proxy.file().display().to_string());
    let metrics = proxy.admin("GET", "/metrics", "").await;
    for (outcome, count) in [("done", 1), ("refused", 1)] {
        let line = format!("cutover_switches_total{{trigger=\"file\",outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
    }
}

#[tokio::test]
async fn a_switch_from_elsewhere_is_written_back_and_keeps_the_rest_of_the_file() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let before = proxy.text();
    fs::set_permissions(proxy.file(), fs::Permissions::from_mode(0o640)).expect("a mode");
    proxy.switch("green").await;
    until("the file is put right", async || proxy.text().contains("active = \"green\"").then_some(())).await;
    assert_eq!(proxy.text(), before.replace("active = \"blue\"", "active = \"green\""));
    assert_eq!(fs::metadata(proxy.file()).expect("it is there").permissions().mode() & 0o777, 0o640);
    proxy.until("no disagreement", |status| status["file"]["disagrees"] == false).await;
}

#[tokio::test]
async fn an_edit_in_two_halves_is_one_edit() {
    use std::io::Write;
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let text = proxy.ordering("green");
    let (first, second) = text.split_at(text.len() / 2);
    let mut file = fs::File::create(proxy.file()).expect("the file");
    file.write_all(first.as_bytes()).expect("a write");
    file.flush().expect("a write");
    // Half a file may be looked at: it is not valid, or not closed yet, and changes nothing.
    assert_eq!(proxy.color().await, "blue");
    file.write_all(second.as_bytes()).expect("a write");
    drop(file);
    let status = proxy.until_color("green").await;
    assert_eq!(status["file"]["error"], json!(null), "{status}");
}

#[tokio::test]
async fn a_config_map_that_swaps_its_symlink_is_followed() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    for (name, active) in [("..v1", "blue"), ("..v2", "green")] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
        let text = text.replace("active = \"blue\"", &format!("active = \"{active}\""));
        fs::write(dir.path().join(name).join("cutover.toml"), text).expect("a file");
    }
    symlink("..v1", dir.path().join("..data")).expect("a link");
    // `start_in` writes through the link, as the kubelet does not; the text is the same.
    symlink("..data/cutover.toml", dir.path().join("cutover.toml")).expect("a link");
    let proxy = Proxy::start_in(dir, &text).await;
    assert_eq!(proxy.color().await, "blue");
    symlink("..v2", proxy.dir.path().join("..tmp")).expect("a link");
    fs::rename(proxy.dir.path().join("..tmp"), proxy.dir.path().join("..data")).expect("a rename");
    proxy.until_color("green").await;
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_wrong_file_keeps_the_last_good_and_shows_what_is_wrong_until_it_is_mended() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let good = proxy.text();
    proxy.replace_file(&good.replace("timeout = \"20s\"", "timeout = \"20\"\nmystery = 1"));
    let status = proxy.until("it is not valid", |status| status["file"]["error"].is_string()).await;
    let error = status["file"]["error"].as_str().expect("a text");
    assert!(error.contains("mystery") && error.contains("\"20\"") && error.contains("cutover.toml:"), "{error}");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_config_last_reload_successful 0\n"));
    assert_eq!(proxy.color().await, "blue");
    let reload = proxy.post("/admin/reload", json!({})).await;
    assert_eq!((reload.status, &reload.json()["code"]), (422, &json!("invalid_config")));
    assert_eq!(reload.json()["errors"].as_array().map(Vec::len), Some(2), "{}", reload.text());

    // Somebody who has to can move traffic all the while; only the file can't be put right.
    let forced = proxy.post("/admin/switch", json!({ "to": "green", "force": true })).await;
    assert_eq!(forced.status, 200, "{}", forced.text());
    proxy.until("that is said", |status| status["file"]["write_back_error"].is_string()).await;
    proxy.replace_file(&good);
    let status = proxy.until("it is mended", |status| status["file"]["error"].is_null()).await;
    assert_eq!(status["active"], "green", "the same words as before are no order");
    until("and put right", async || proxy.text().contains("active = \"green\"").then_some(())).await;
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing_and_its_return_is_noticed() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let next = proxy.ordering("green");
    fs::remove_file(proxy.file()).expect("it was there");
    let status = proxy.until("that is said", |status| status["file"]["error"].is_string()).await;
    assert!(status["file"]["error"].as_str().is_some_and(|error| error.contains("No such file")), "{status}");
    assert_eq!(proxy.color().await, "blue");
    proxy.write_file(&next);
    proxy.until_color("green").await;
}

#[tokio::test]
async fn what_cannot_change_while_it_runs_is_named_and_refused() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.replace_file(&proxy.ordering("green").replace("http = \"127.0.0.1:0\"", "http = \"127.0.0.1:1\""));
    let status = proxy.until("it is refused", |status| status["file"]["error"].is_string()).await;
    let error = status["file"]["error"].as_str().expect("a text");
    assert!(error.contains("listen.http") && error.contains("restart"), "{error}");
    assert_eq!(proxy.color().await, "blue", "nothing of such a file is in force");
}

#[tokio::test]
async fn sighup_reads_the_file_again() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.write_file(&proxy.text().replace("timeout = \"20s\"", "timeout = \"25s\""));
    proxy.signal(Signal::HUP);
    proxy.until_logged("25s").await;
    assert!(proxy.admin("GET", "/admin/config", "").await.text().contains("timeout = \"25s\""));
}

#[tokio::test]
async fn an_edit_touches_no_connection_tunnel_counter_or_health_of_what_it_does_not_concern() {
    let (blue, green) = pair().await;
    let third = Application::start("blue").await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut kept = proxy.connect().await;
    assert_eq!(kept.get("/").await.text(), "blue");
    let mut tunnel = proxy.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    proxy.until("green is up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    let connections = blue.connections();

    let text = proxy.text();
    let green_before = format!("[\"{}\"]", green.address);
    let with_third = format!("[\"{}\", \"{}\"]", green.address, third.address);
    proxy.replace_file(&text.replace(&green_before, &with_third).replace("timeout = \"20s\"", "timeout = \"22s\""));
    let status =
        proxy.until("it is in force", |s| s["green"]["endpoints"].as_array().is_some_and(|all| all.len() == 2)).await;
    assert_eq!(status["green"]["endpoints"][0]["health"], "up", "what stays is not forgotten");
    tunnel.send("still there").await;
    assert_eq!(tunnel.exactly(11).await.expect("the tunnel stands"), b"STILL THERE");
    assert_eq!(kept.get("/").await.text(), "blue");
    assert!(blue.connections() <= connections + 1, "no connection to blue was made anew");
    // An answer is there a moment before it is counted.
    let status = proxy.until("both are counted", |status| status["blue"]["requests_total"] == 2).await;
    assert_eq!(status["generation"], 1, "{status}");
}

#[tokio::test]
async fn an_endpoint_that_is_taken_out_gets_no_new_requests_and_finishes_its_old_ones() {
    let (blue, green) = pair().await;
    let second = Application::start("blue").await;
    let mut setup = Setup::new(&blue, &green);
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"{}\"]", blue.address);
    let proxy = setup.start().await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    proxy.replace_file(&proxy.text().replace(&blue.address.to_string(), &second.address.to_string()));
    let address = second.address.to_string();
    proxy.until("it is in force", |status| status["blue"]["endpoints"][0]["endpoint"] == address).await;
    let before = blue.heads().len();
    for _ in 0..10 {
        assert_eq!(proxy.color().await, "blue");
    }
    assert_eq!(blue.heads().len(), before);
    blue.open_gate();
    assert_eq!(late.answer().await.text(), "blue");
}
