//! The admin API is gone, or the process is stopped: what the command line says, and what works all the same.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::process::Signal;
use serde_json::json;

use crate::application::pair;
use crate::proxy::{Proxy, Setup, command, refused_start};
use crate::{soon, until};

#[tokio::test]
async fn with_its_socket_out_of_reach_the_command_line_says_what_still_works_and_that_works() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let (reach, hidden) = (dir.path().join("run"), dir.path().join("away"));
    std::fs::create_dir(&reach).expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    let place = format!("unix:{}", reach.join("admin.sock").display());
    let text = text.replace(&format!("unix:{}/admin.sock", dir.path().display()), &place);
    // The helpers of the tests look for it at the usual place.
    std::os::unix::fs::symlink(reach.join("admin.sock"), dir.path().join("admin.sock")).expect("a link");
    let proxy = Proxy::start_in(dir, &text).await;
    std::fs::rename(&reach, &hidden).expect("a move");
    for args in [&["status"][..], &["switch", "green"], &["rollback"]] {
        let output = proxy.cli(args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.starts_with(&format!("the proxy can't be reached at {place}: No such file")), "{said}");
        let edit = format!("\nWhile it runs, an edit of `active` in {} still moves traffic.", proxy.file().display());
        assert!(said.contains(&edit) && said.contains("\nTo see whether it runs: systemctl status cutover"), "{said}");
    }
    proxy.replace_file(&proxy.ordering("green"));
    until("the edit moves traffic", async || (proxy.color().await == "green").then_some(())).await;
    // Back where clients look for it; the socket of before is still there.
    std::fs::rename(&hidden, &reach).expect("a move");
    assert_eq!(proxy.cli(&["status"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_was_deleted_is_made_again_and_a_thing_that_is_none_is_left_alone() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let socket = proxy.dir.path().join("admin.sock");
    std::fs::remove_file(&socket).expect("it is there");
    proxy.until_logged("Admin socket made again").await;
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "green" })).await.status, 200);
    assert_eq!(socket.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(&socket).expect("it is there");
    std::fs::write(&socket, "mine").expect("a write");
    proxy.until_logged("Admin socket gone, and not made again").await;
    assert_eq!(std::fs::read_to_string(&socket).expect("it is there"), "mine");
    std::fs::remove_file(&socket).expect("it is there");
    until("it is made again", async || (proxy.cli(&["status"]).await.status.code() == Some(0)).then_some(())).await;
}

#[tokio::test]
async fn a_process_that_is_stopped_is_given_up_after_five_seconds_and_nothing_was_asked_for() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.signal(Signal::STOP);
    let (looked, moved) = tokio::join!(proxy.cli(&["status"]), proxy.cli(&["switch", "green"]));
    proxy.signal(Signal::CONT);
    for output in [looked, moved] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("no answer in 5s") && said.contains("still moves traffic"), "{said}");
    }
    assert_eq!(proxy.status().await["generation"], 1, "the switch was never sent");
}

#[tokio::test]
async fn the_socket_has_the_mode_and_the_group_that_are_configured() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    let group = rustix::process::getegid().as_raw();
    setup.listen = format!("admin_group = \"{group}\"");
    let proxy = setup.start().await;
    let found = proxy.dir.path().join("admin.sock").metadata().expect("there");
    assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o660, group));
    setup.listen = "admin_mode = \"0666\"".to_owned();
    let proxy = setup.start().await;
    let found = proxy.dir.path().join("admin.sock").metadata().expect("there");
    assert_eq!(found.permissions().mode() & 0o777, 0o666);
    // After a delete it is the same again.
    std::fs::remove_file(proxy.dir.path().join("admin.sock")).expect("it is there");
    proxy.until_logged("Admin socket made again").await;
    let found = proxy.dir.path().join("admin.sock").metadata().expect("there");
    assert_eq!(found.permissions().mode() & 0o777, 0o666);

    setup.listen = "admin_group = \"no-such-group-anywhere\"".to_owned();
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("cutover.toml"), setup.text(dir.path())).expect("a write");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("listen.admin_group") && said.contains("no-such-group-anywhere"), "{said}");
}

#[tokio::test]
async fn without_an_endpoint_readiness_fails_only_where_that_is_wanted() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    blue.set_healthy(false);
    proxy.until("blue is down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    assert_eq!(proxy.get("/.cutover/ready").await.status, 200, "a clear 503 is better than no proxy");
    let wanted = proxy.text().replace("[readiness]", "[readiness]\nfail_without_endpoints = true");
    proxy.replace_file(&wanted);
    let ready = async |status: u16| {
        until("readiness follows", async || (proxy.get("/.cutover/ready").await.status == status).then_some(())).await;
    };
    ready(503).await;
    proxy.switch("green").await;
    ready(200).await;
    green.set_healthy(false);
    ready(503).await;
    green.set_healthy(true);
    ready(200).await;
    // What serves by force is asked although no check passes.
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "blue", "force": true })).await.status, 200);
    ready(200).await;
    let admin = format!("unix:{}/admin.sock", proxy.dir.path().display());
    let looked = soon("it ends", command(&["status", "--check", "--admin", &admin]).output()).await.expect("it runs");
    assert_eq!(looked.status.code(), Some(1), "the headline says it all the same: {looked:?}");
}
