//! A deploy that ends in the middle, by `kill -9` of the proxy between any two phases, and the same command again.

use serde_json::json;

use crate::cli::{done, failed};
use crate::deploy::{Stage, deploy};

/// Where the proxy is killed.
#[derive(Clone, Copy, Debug)]
enum After {
    Staged,
    AtTheGate,
    Moved,
    Drained,
}

async fn killed(after: After) {
    let mut stage = Stage::build().await;
    match after {
        After::Staged => assert_eq!(stage.put("green", &stage.body()).await.status, 200),
        After::AtTheGate => {
            stage.next.set_healthy(false);
            let (output, ()) = tokio::join!(deploy(&stage.proxy, "3.0", &stage.next, &[]), async {
                stage.proxy.until("it is at the gate", |status| status["phase"] == "gating").await;
                stage.proxy.signal(rustix::process::Signal::KILL);
            });
            let (_, said) = failed(&output, 4);
            assert!(said.contains("can't be reached"), "{said}");
            stage.proxy.kill().await;
            stage.next.set_healthy(true);
        }
        After::Moved => {
            let mut client = stage.proxy.connect().await;
            client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
            client.head().await.expect("a head");
            done(&stage.deploy(&["--wait", "none"]).await);
            assert_eq!(stage.proxy.status().await["draining"]["color"], "blue");
        }
        After::Drained => drop(done(&stage.deploy(&[]).await)),
    }
    match after {
        After::AtTheGate => stage.proxy.restart().await,
        After::Staged | After::Moved | After::Drained => stage.proxy.kill_and_restart().await,
    }
    let text = done(&stage.deploy(&[]).await);
    assert!(
        text.contains(", as before\n") && text.contains("the processes of blue may be stopped"),
        "{after:?}: {text}"
    );
    assert_eq!(stage.proxy.color().await, "next", "{after:?}");
    let status = stage.proxy.status().await;
    assert_eq!(
        (&status["active"], &status["release"], &status["generation"]),
        (&json!("green"), &json!("3.0"), &json!(2)),
        "{after:?}"
    );
    // The other color was left alone.
    assert_eq!(status["blue"]["release"], "1.0", "{after:?}: {status}");
    let next = deploy(&stage.proxy, "4.0", &stage.green, &[]).await;
    assert!(done(&next).contains("all traffic goes to blue (4.0)"), "{after:?}");
}

#[tokio::test]
async fn a_kill_after_the_release_was_staged_is_continued_by_the_same_command() {
    killed(After::Staged).await;
}

#[tokio::test]
async fn a_kill_at_the_gate_is_continued_by_the_same_command() {
    killed(After::AtTheGate).await;
}

#[tokio::test]
async fn a_kill_after_the_move_is_continued_by_the_same_command() {
    killed(After::Moved).await;
}

#[tokio::test]
async fn a_kill_after_the_drain_changes_nothing() {
    killed(After::Drained).await;
}

/// At moments that nobody has chosen: whatever was reached, the same command comes to the same end.
#[tokio::test]
async fn a_kill_at_any_moment_is_continued_by_the_same_command() {
    let mut stage = Stage::build().await;
    let applications = ["next", "green", "blue"];
    for round in 0..12_u64 {
        let application = match round % 3 {
            0 => &stage.next,
            1 => &stage.green,
            _ => &stage.blue,
        };
        let release = format!("r{round}");
        let (_, ()) = tokio::join!(deploy(&stage.proxy, &release, application, &[]), async {
            tokio::time::sleep(std::time::Duration::from_millis(round * 3)).await;
            stage.proxy.signal(rustix::process::Signal::KILL);
        });
        stage.proxy.kill().await;
        stage.proxy.restart().await;
        let output = deploy(&stage.proxy, &release, application, &[]).await;
        assert!(output.status.success(), "round {round}: {output:?}\n{}", stage.proxy.log());
        let status = stage.proxy.status().await;
        assert_eq!(status["release"], release, "round {round}: {status}");
        assert_eq!(
            stage.proxy.color().await,
            applications[usize::try_from(round % 3).expect("small")],
            "round {round}"
        );
        stage.proxy.until("it is on disk", |status| status["durable"] == true).await;
    }
}
