//! The first deploy ever: one color has what runs already, and the other one has nothing.

use serde_json::json;

use crate::application::{Application, pair};
use crate::cli::{done, failed};
use crate::deploy::deploy;
use crate::proxy::{Proxy, Setup, refused_start};

/// A file with one color.
fn text(blue: &Application, dir: &std::path::Path) -> String {
    let mut setup = Setup::new(blue, blue);
    setup.green = String::new();
    "[bake]\nduration = \"0s\"\n[preview]\nallow = [\"127.0.0.1\"]\n".clone_into(&mut setup.more);
    setup.text(dir).replace("[green]\n", "")
}

#[tokio::test]
async fn the_first_deploy_fills_a_color_that_the_file_does_not_have() {
    let (blue, next) = (Application::start("blue").await, Application::start("next").await);
    let dir = tempfile::tempdir().expect("a directory");
    let before = text(&blue, dir.path());
    let proxy = Proxy::start_in(dir, &before).await;
    assert_eq!(proxy.color().await, "blue");
    let status = proxy.status().await;
    assert_eq!((&status["green"]["release"], &status["green"]["endpoints"]), (&json!(""), &json!([])), "{status}");
    assert_eq!(status["green"]["safe_to_stop"]["safe"], true);
    let shown = done(&proxy.cli(&["status"]).await);
    assert!(shown.contains("nothing is deployed"), "{shown}");
    // Nothing moves to nothing, not even by force.
    for args in [&["switch", "green"][..], &["switch", "green", "--force"], &["canary", "start"]] {
        let (_, said) = failed(&proxy.cli(args).await, 3);
        assert!(
            said.starts_with("nothing_deployed: ") && said.contains("cutover deploy --release"),
            "{args:?}: {said}"
        );
    }
    failed(&proxy.cli(&["rollback"]).await, 3);
    failed(&proxy.cli(&["wait", "--healthy", "green", "--timeout", "50ms"]).await, 5);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Cutover-Color: inactive\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 503, "a preview of nothing");
    assert_eq!(proxy.color().await, "blue");

    let shown = done(&deploy(&proxy, "2.0", &next, &[]).await);
    assert!(shown.starts_with(&format!("stage  2.0 on green: {}\ngate   passed\n", next.address)), "{shown}");
    assert_eq!(proxy.color().await, "next");
    let section = format!("\n[green]\nrelease = \"2.0\"\nendpoints = [\"{}\"]\n", next.address);
    assert_eq!(
        proxy.text(),
        format!("{}\n{section}", before.trim_end()).replace("active = \"blue\"", "active = \"green\"")
    );
    let back = done(&proxy.cli(&["rollback", "--reason", "it was a test"]).await);
    assert!(back.contains("blue"), "{back}");
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_color_that_serves_is_never_emptied() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    "[state]\nwrite_back = false\n".clone_into(&mut setup.more);
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path()).replace("[state]\nwrite_back = false\n", "");
    let text = text.replace("[state]\n", "[state]\nwrite_back = false\n");
    let mut proxy = Proxy::start_in(dir, &text).await;
    proxy.switch("green").await;
    let section = format!("[green]\n{}\n", setup.green);
    assert!(text.contains(&section), "{text}");
    proxy.replace_file(&text.replace(&section, ""));
    let status = proxy.until("it is refused", |status| status["file"]["error"].is_string()).await;
    assert!(status["file"]["error"].as_str().is_some_and(|error| error.contains("green serves")), "{status}");
    assert_eq!(proxy.color().await, "green");
    proxy.kill().await;
    let (code, said) = refused_start(proxy.dir.path()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("green serves") && said.contains("put `release` and `endpoints` back under [green]"),
        "{said}"
    );
    proxy.replace_file(&text);
    proxy.restart().await;
    assert_eq!(proxy.color().await, "green");
    // The one that does not serve may be.
    let section = format!("[blue]\n{}\n", setup.blue);
    let other = text.replace(&section, "").replace("active = \"blue\"", "active = \"green\"");
    proxy.replace_file(&other);
    proxy.until("it is empty", |status| status["blue"]["release"] == "").await;
    assert_eq!(proxy.color().await, "green");
    assert_eq!(proxy.status().await["rollback"]["possible"], false);
}
