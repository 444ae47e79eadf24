//! Deploys in a loop to new ports, under load: no request fails, and none is answered by a release that was left before it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::application::Application;
use crate::cli::{document, done};
use crate::client::Connection;
use crate::deploy::deploy;
use crate::proxy::{Proxy, Setup};

/// Clients that ask again and again.
const CLIENTS: usize = 16;
/// How many deploys there are, unless the variable says another number.
const DEPLOYS: u64 = 30;
const VARIABLE: &str = "CUTOVER_TEST_DEPLOYS";

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    answered: u64,
    failed: Vec<String>,
    stale: u64,
}

/// One client: what it is answered comes from no older release than was told before it asked.
async fn ask(proxy: std::net::SocketAddr, serves: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let mut connection = Connection::tcp(proxy).await;
        for _ in 0..100 {
            let told = serves.load(Ordering::SeqCst);
            if let Err(error) = connection.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await {
                seen.failed.push(error.to_string());
                break;
            }
            let Some(answer) = connection.try_answer(false).await else {
                seen.failed.push("closed without an answer".to_owned());
                break;
            };
            match answer.text().parse::<u64>() {
                Ok(release) if answer.status == 200 => {
                    seen.answered += 1;
                    seen.stale += u64::from(release < told);
                }
                _ => seen.failed.push(format!("{} {}", answer.status, answer.text())),
            }
        }
    }
    seen
}

/// An application that answers with the number of its release.
async fn release(number: u64) -> Application {
    Application::start(number.to_string().leak()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploys_to_new_ports_under_load_fail_nothing_and_leave_nothing_behind() {
    let deploys = std::env::var(VARIABLE).ok().map_or(DEPLOYS, |number| number.parse().expect("a number"));
    let mut applications = [release(0).await, release(1).await];
    let mut setup = Setup::new(&applications[0], &applications[1]);
    "[bake]\nduration = \"0s\"\n".clone_into(&mut setup.more);
    let proxy: Proxy = setup.start().await;
    let (serves, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(ask(proxy.http, Arc::clone(&serves), Arc::clone(&stop)))).collect();
    for number in 2..deploys + 2 {
        let next = release(number).await;
        let output = deploy(&proxy, &number.to_string(), &next, &["--json"]).await;
        assert!(output.status.success(), "deploy {number}: {output:?}\n{}", proxy.log());
        serves.store(number, Ordering::SeqCst);
        let told = document(&output);
        assert_eq!(told["drained"]["cut_off"], 0, "deploy {number}: {told}");
        assert_eq!(told["safe_to_stop"]["safe"], true, "deploy {number}: {told}");
        // Blue and green in turn: the one that served may be stopped, and is.
        let idle = usize::from(told["active"] == "blue");
        std::mem::replace(&mut applications[1 - idle], next).stop().await;
        std::mem::replace(&mut applications[idle], release(u64::MAX).await).stop().await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = Seen::default();
    for client in clients {
        let seen = client.await.expect("no client panics");
        all.answered += seen.answered;
        all.stale += seen.stale;
        all.failed.extend(seen.failed);
    }
    println!("{deploys} deploys, {} answered, {} failed, {} stale", all.answered, all.failed.len(), all.stale);
    assert!(
        all.failed.is_empty(),
        "{} of {} failed: {:?}",
        all.failed.len(),
        all.answered,
        &all.failed[..all.failed.len().min(5)]
    );
    assert_eq!(all.stale, 0, "of {}", all.answered);
    assert!(all.answered > deploys * 10, "there was load: {}", all.answered);
    done(&proxy.cli(&["wait", "--healthy", if deploys.is_multiple_of(2) { "blue" } else { "green" }]).await);
}
