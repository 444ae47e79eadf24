//! `cutover wait`: comes back when something is so.

use rustix::process::Signal;

use crate::application::Application;
use crate::cli::{bare, done, failed, pair};
use crate::proxy::{Proxy, Setup, command};
use crate::soon;

/// A gate that gives up soon.
async fn impatient(blue: &Application, green: &Application) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(blue, green).text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"1s\"");
    Proxy::start_in(dir, &text).await
}

#[tokio::test]
async fn an_edit_is_waited_for_until_its_color_serves() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    done(&proxy.cli(&["wait"]).await);
    proxy.replace_file(&proxy.ordering("green"));
    let text = done(&proxy.cli(&["wait", "--active", "green"]).await);
    assert_eq!(text, "green (2.0) serves\n");
    assert_eq!(proxy.color().await, "green");
    done(&proxy.cli(&["wait", "--active", "green", "--healthy", "green", "--drained"]).await);
}

#[tokio::test]
async fn an_edit_that_is_refused_ends_the_wait_with_3_and_the_reason() {
    let (blue, green) = pair().await;
    let proxy = impatient(&blue, &green).await;
    green.set_healthy(false);
    proxy.replace_file(&proxy.ordering("green"));
    let (printed, said) = failed(&proxy.cli(&["wait", "--active", "green"]).await, 3);
    assert_eq!(printed, "");
    assert!(said.starts_with("unhealthy: green is not healthy") && said.contains("503"), "{said}");

    // For the same reason once more, and then not.
    crate::until("the file was put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
    proxy.replace_file(&proxy.ordering("green"));
    failed(&proxy.cli(&["wait", "--active", "green"]).await, 3);
    crate::until("the file was put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
    green.set_healthy(true);
    proxy.replace_file(&proxy.ordering("green"));
    done(&proxy.cli(&["wait", "--active", "green"]).await);
}

#[tokio::test]
async fn what_does_not_come_about_ends_with_5_and_says_how_things_stand() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (_, said) = failed(&proxy.cli(&["wait", "--active", "green", "--timeout", "100ms"]).await, 5);
    assert_eq!(said, "timed out after 100ms: blue serves\n");
    failed(&proxy.cli(&["wait", "--active", "green", "--timeout", "0s"]).await, 5);
    green.set_healthy(false);
    proxy.until("green is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    let (_, said) = failed(&proxy.cli(&["wait", "--healthy", "green", "--timeout", "100ms"]).await, 5);
    assert!(said.contains(&format!("{} of green is down: 503", green.address)), "{said}");

    let mut client = proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    done(&proxy.cli(&["switch", "green", "--force"]).await);
    for args in [&["wait", "--timeout", "100ms"][..], &["wait", "--drained", "--timeout", "100ms"]] {
        let (_, said) = failed(&proxy.cli(args).await, 5);
        assert!(said.contains("draining blue: 0 requests, 1 stream"), "{said}");
    }
    blue.open_gate();
    assert_eq!(done(&proxy.cli(&["wait", "--drained"]).await), "blue is drained\n");
}

#[tokio::test]
async fn a_wait_says_in_one_line_what_is_so_and_how_many_requests_a_drain_cut_off() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    "timeout = \"200ms\"".clone_into(&mut setup.drain);
    let proxy = setup.start().await;
    assert_eq!(done(&proxy.cli(&["wait", "--drained"]).await), "nothing is draining\n");
    let mut client = proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    done(&proxy.cli(&["switch", "green"]).await);
    let text = done(&proxy.cli(&["wait", "--drained"]).await);
    assert_eq!(text, "blue is drained; 1 request was cut off\n");
    let text = done(&proxy.cli(&["wait", "--drained", "--active", "green", "--healthy", "green"]).await);
    assert_eq!(text, "green (2.0) serves; every endpoint of green is up; blue is drained; 1 request was cut off\n");
}

#[tokio::test]
async fn a_proxy_that_starts_is_waited_for() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.signal(Signal::TERM);
    proxy.ended().await;
    let file = proxy.file().display().to_string();
    let (_, said) = failed(&bare(&["wait", "--config", &file, "--timeout", "100ms"]).await, 4);
    assert!(said.contains("can't be reached"), "{said}");
    let mut waiting = command(&["wait", "--config", &file]);
    let waits = async { soon("the wait ends", waiting.output()).await.expect("it runs") };
    let (output, ()) = tokio::join!(waits, proxy.restart());
    done(&output);
}

#[tokio::test]
async fn one_that_stops_is_waited_for_like_one_that_starts() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("lame_duck = \"0s\"", "lame_duck = \"1h\"");
    let mut proxy = Proxy::start_in(dir, &text).await;
    proxy.signal(Signal::TERM);
    crate::until("it is not ready", async || (proxy.admin("GET", "/readyz", "").await.status == 503).then_some(()))
        .await;
    let (_, said) = failed(&proxy.cli(&["wait", "--timeout", "100ms"]).await, 5);
    assert!(said.contains("stopping"), "{said}");
    let file = proxy.file().display().to_string();
    let mut waiting = command(&["wait", "--config", &file]);
    let waits = async { soon("the wait ends", waiting.output()).await.expect("it runs") };
    let restarts = async {
        proxy.signal(Signal::TERM);
        proxy.ended().await;
        proxy.restart().await;
    };
    let (output, ()) = tokio::join!(waits, restarts);
    done(&output);
}

#[tokio::test]
async fn a_wait_for_a_color_says_that_an_invalid_file_is_in_the_way() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let good = proxy.text();
    proxy.write_file(&proxy.ordering("green").replace("rise = 1", "rise = 0"));
    proxy.until("it is not valid", |status| status["file"]["error"].is_string()).await;
    // It was there before the wait: said at once, and the reason at the end.
    let (_, said) = failed(&proxy.cli(&["wait", "--active", "green", "--timeout", "200ms"]).await, 5);
    assert!(said.contains("health.rise") && said.contains("cutover check"), "{said}");
    assert!(said.contains("blue serves; the configuration file is not valid"), "{said}");
    // Whoever waits for longer is not left waiting.
    let (_, said) = failed(&proxy.cli(&["wait", "--active", "green", "--timeout", "25s"]).await, 2);
    assert!(said.contains("health.rise"), "{said}");
    assert_eq!(said.matches("health.rise").count(), 1, "once: {said}");
    proxy.write_file(&good);
    proxy.until("it is valid", |status| status["file"]["error"].is_null()).await;
    // A file that becomes invalid ends the wait at once.
    let wait = proxy.cli(&["wait", "--active", "green", "--timeout", "25s"]);
    let edit = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        proxy.write_file(&good.replace("fall = 1", "fall = 0"));
    };
    let (output, ()) = tokio::join!(wait, edit);
    let (_, said) = failed(&output, 2);
    assert!(said.contains("health.fall"), "{said}");
}
