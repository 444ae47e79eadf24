//! `cutover check`: is a file valid, and what would it change?

use serde_json::json;

use crate::admin::with_tokens;
use crate::cli::{bare, document, done, failed, pair};
use crate::proxy::{Proxy, Setup, command};
use crate::soon;

#[tokio::test]
async fn a_valid_file_without_a_proxy_is_valid() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, Setup::new(&blue, &green).text(dir.path())).expect("a file");
    let path = file.display().to_string();
    let text = done(&bare(&["check", "--config", &path]).await);
    let admin = format!("unix:{}/admin.sock", dir.path().display());
    assert_eq!(text, format!("{path} is valid. No proxy answers at {admin}, so there is nothing to compare.\n"));
    let output = bare(&["check", "--config", &path, "--json"]).await;
    let answer = document(&output);
    assert_eq!((&answer["valid"], &answer["running"]), (&json!(true), &json!(false)), "{answer}");
    // It names the place where it looked.
    let text = done(&bare(&["check", "--config", &path, "--admin", "unix:/nowhere/at.sock"]).await);
    assert!(text.contains("No proxy answers at unix:/nowhere/at.sock"), "{text}");
}

#[tokio::test]
async fn an_invalid_file_ends_with_2_and_every_problem() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let wrong = proxy.dir.path().join("wrong.toml");
    let text = proxy.text().replace("active = \"blue\"", "active = \"bleu\"").replace("lame_duck", "lame_dog");
    std::fs::write(&wrong, text).expect("a file");
    let path = wrong.display().to_string();
    let (printed, said) = failed(&bare(&["check", "--config", &path]).await, 2);
    assert_eq!(printed, "");
    for part in ["bleu", "lame_dog", "lame_duck", &format!("{path}:2:")] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let output = bare(&["check", "--config", &path, "--json"]).await;
    failed(&output, 2);
    let answer = document(&output);
    assert_eq!((&answer["valid"], answer["errors"].as_array().map(Vec::len)), (&json!(false), Some(2)), "{answer}");
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["column"]), (&json!(2), &json!(10)));
    failed(&bare(&["check", "--config", "/nowhere/cutover.toml"]).await, 2);
}

#[tokio::test]
async fn it_says_what_the_file_would_change_in_the_running_proxy() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let path = proxy.file().display().to_string();
    let same = format!("{path} is valid.\nIt is what the running proxy has in force.\n");
    assert_eq!(done(&proxy.cli(&["check"]).await), same);

    let next = proxy.dir.path().join("other").join("cutover.toml");
    std::fs::create_dir(next.parent().expect("a directory")).expect("a directory");
    let text = proxy
        .text()
        .replace("active = \"blue\"", "active = \"green\"")
        .replace("release = \"2.0\"", "release = \"2.1\"");
    std::fs::write(&next, text).expect("a file");
    let path = next.display().to_string();
    let text = done(&bare(&["check", "--config", &path]).await);
    for line in [
        "It would change:",
        "  active: \"blue\" -> \"green\"",
        "  green.release: \"2.0\" -> \"2.1\"",
        "Its `active` orders a switch from blue to green (release 2.1).",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in {text}");
    }
    let answer = document(&bare(&["check", "--config", &path, "--json"]).await);
    assert_eq!((&answer["running"], answer["changes"].as_array().map(Vec::len)), (&json!(true), Some(2)), "{answer}");
    assert!(answer["order"].as_str().is_some_and(|order| order.contains("blue to green")), "{answer}");
    assert_eq!(proxy.status().await["generation"], 1, "it only looked");
}

#[tokio::test]
async fn a_new_release_of_the_live_color_is_an_order() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let next = proxy.dir.path().join("next.release.toml");
    std::fs::write(&next, proxy.text().replace("release = \"1.0\"", "release = \"1.1\"")).expect("a file");
    let text = done(&bare(&["check", "--config", &next.display().to_string()]).await);
    assert!(text.contains("  blue.release: \"1.0\" -> \"1.1\"\n"), "{text}");
    assert!(text.ends_with("It orders release 1.1 on blue, which serves: the gate will be asked.\n"), "{text}");
}

#[tokio::test]
async fn it_says_what_needs_a_restart() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let next = proxy.dir.path().join("restart.toml");
    std::fs::write(&next, proxy.text().replace("workers = 2", "workers = 3")).expect("a file");
    let text = done(&bare(&["check", "--config", &next.display().to_string()]).await);
    assert!(text.contains("  listen.workers: 2 -> 3 (needs a restart; a reload is refused)\n"), "{text}");
}

#[tokio::test]
async fn a_file_that_was_overruled_is_no_order() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("[state]", "[state]\nwrite_back = false");
    let proxy = Proxy::start_in(dir, &text).await;
    proxy.switch("green").await;
    let text = done(&proxy.cli(&["check"]).await);
    assert!(
        text.contains("Its `active` says blue while green serves; that was overruled, and is no new order."),
        "{text}"
    );
}

#[tokio::test]
async fn a_proxy_that_asks_for_a_token_is_not_taken_for_none() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let mut command = command(&["check"]);
    command.env("CUTOVER_CONFIG", proxy.dir.path().join("cutover.toml"));
    // The file is no worse for that.
    let text = done(&soon("it ends", command.output()).await.expect("it runs"));
    assert!(text.contains("is valid. The running proxy does not say") && text.contains("CUTOVER_TOKEN"), "{text}");
    command.env("CUTOVER_TOKEN", crate::admin::VIEWER);
    done(&soon("it ends", command.output()).await.expect("it runs"));
}
