//! `cutover demo`: everything once, on whatever ports are free.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::{bare, stderr, stdout};
use crate::proxy::command;
use crate::soon;

/// What it showed; its log goes to a file.
fn shown(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    assert_eq!(stderr(output), "", "no line of the log stands in the middle of it");
    stdout(output)
}

#[tokio::test]
async fn the_demo_shows_a_switch_and_the_way_back_and_loses_nothing() {
    let text = shown(&bare(&["demo", "--once"]).await);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for part in ["traffic        http://127.0.0.1:", "admin API      http://127.0.0.1:", "configuration  /"] {
        assert!(lines.iter().any(|line| line.starts_with(part)), "{part:?} is not in {text}");
    }
    let step = |what: &str, part: &str| {
        let found = lines.iter().position(|line| line.starts_with(what) && line.contains(part));
        found.unwrap_or_else(|| panic!("{what} with {part:?} is not in {text}"))
    };
    let steps = [
        step("GET /", "blue, release 2.13.0"),
        step("POST /admin/switch", "Switched to green (release 2.14.0) in"),
        step("GET /", "green, release 2.14.0"),
        step("POST /admin/rollback", "Rolled back to blue (release 2.13.0) in"),
    ];
    assert!(steps.is_sorted(), "{text}");
    assert!(
        lines[steps[3] + 1].starts_with("GET /") && lines[steps[3] + 1].ends_with("blue, release 2.13.0"),
        "{text}"
    );
    let last = lines.last().expect("a line");
    assert!(last.starts_with("Meanwhile: ") && last.ends_with(", 0 failed."), "{text}");
}

#[tokio::test]
async fn two_demos_get_out_of_each_others_way() {
    let (one, other) = tokio::join!(bare(&["demo", "--once"]), bare(&["demo", "--once"]));
    for output in [one, other] {
        let text = shown(&output);
        assert!(text.contains(", 0 failed."), "{text}");
    }
}

#[tokio::test]
async fn what_the_demo_suggests_works_where_the_usual_ports_are_taken() {
    // Taken by this test or by another one.
    let _taken = [8080, 9900].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)));
    let mut demo = command(&["demo"]);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
    let mut lines = BufReader::new(demo.stdout.take().expect("it is piped")).lines();
    let mut text = String::new();
    soon("it suggests something", async {
        while let Ok(Some(line)) = lines.next_line().await {
            text.push_str(&line);
            text.push('\n');
            if line.contains("Ctrl-C ends it") {
                break;
            }
        }
    })
    .await;
    assert!(!text.contains("127.0.0.1:0") && !text.contains(":8080") && !text.contains(":9900"), "{text}");
    let suggested: Vec<_> = text.lines().map(str::trim).filter(|line| line.contains(" --config ")).collect();
    assert_eq!(suggested.len(), 3, "{text}");
    for suggested in suggested {
        let args = suggested.split_once(" --config ").expect("it has one").1.replace('"', "");
        let (file, rest) = args.split_once(' ').expect("a command");
        let mut args = vec!["--config", file];
        args.extend(rest.split(" --reason").next().expect("a command").split(' '));
        let output = bare(&args).await;
        assert_eq!(output.status.code(), Some(0), "{suggested}: {}{}", stdout(&output), stderr(&output));
    }
    let curl = text.lines().find(|line| line.contains("curl http://")).expect("a command");
    let address = curl.split_once("http://").expect("an address").1.trim_end_matches('/').parse().expect("an address");
    assert_eq!(crate::client::Connection::tcp(address).await.get("/").await.status, 200);
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(demo.id().expect("it runs")).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let output = soon("it ends", demo.wait_with_output()).await.expect("it was started");
    assert_eq!(stderr(&output), "");
}

/// What a story told that came out as it should, in one line each.
async fn story(name: &str, ending: &[&str]) -> String {
    // It takes its time: a story is over within a minute.
    let mut played = command(&["demo", "--story", name]);
    let played = tokio::time::timeout(Duration::from_secs(90), played.output()).await;
    let text = shown(&played.expect("it ends").expect("the command runs"));
    let (told, commands) = text.split_once("The same is shown by").expect("commands to paste");
    assert!(commands.contains(" replay dep-2"), "{commands}");
    let told = told.replace("\n    | ", "\n| ").replace("\n                       ", " ").replace("\n| ", " ");
    let usual = [
        "canary       `cutover canary start`: 2.14.0 (green) gets 5 % of the requests",
        "by itself, and at once: 2.13.0 (blue) has all of the traffic",
        "now          0 requests to 2.14.0 in the last second; 0 requests were lost",
        "Harm: ",
    ];
    for part in usual.iter().chain(ending) {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(!told.contains("NOT SAVED"), "{told}");
    told
}

const ROLLED_BACK: [&str; 4] = [
    "verdict      worse (",
    "quarantined  2.14.0 is refused",
    "shop/demo: 2.14.0 was rolled back to 2.13.0",
    "once more?   `cutover canary start` is refused: ",
];

#[tokio::test]
async fn the_story_of_the_slow_checkout_comes_out_as_told() {
    let text = story("checkout", &ROLLED_BACK).await;
    assert!(text.contains("/checkout got ") && text.contains(" times slower ("), "{text}");
}

#[tokio::test]
async fn the_story_of_the_errors_comes_out_as_told() {
    assert!(story("spike", &ROLLED_BACK).await.contains("errors on all routes: "));
}

#[tokio::test]
async fn the_story_of_the_login_ends_with_a_withdrawal_and_no_quarantine() {
    let withdrawn = ["4xx on /login: ", "withdrawn    by itself", "quarantine   none", "the canary was aborted"];
    story("login", &withdrawn).await;
}

#[tokio::test]
async fn the_story_of_users_who_stay_blames_the_release_and_not_the_disturbance_of_both() {
    let text = story("sticky", &ROLLED_BACK).await;
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text}"));
    let turns =
        ["a database fails that both", "the database is back", "2.14.0 breaks", "verdict      worse"].map(place);
    assert!(turns.is_sorted(), "{text}");
}
