//! The page at `GET /` of the admin address, in a real browser. `tests/run` installs it.

mod moves;
mod states;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tokio::net::{TcpListener, UnixStream};

use crate::application::pair;
use crate::proxy::{Proxy, Setup};
use crate::suites::clients::{Talk, node};

/// A browser that shows the page of a proxy.
struct Browser(Talk);

impl Browser {
    async fn start(admin: SocketAddr, more: &[&str]) -> Browser {
        let mut command = node("browser.js");
        command.arg(format!("http://{admin}/")).args(more);
        let mut talk = Talk::start(command);
        talk.expect("ready").await;
        Browser(talk)
    }

    /// With the page open and live.
    async fn open(admin: SocketAddr) -> Browser {
        let mut browser = Browser::start(admin, &[]).await;
        browser.run("open()").await;
        browser
    }

    async fn run(&mut self, script: &str) -> Value {
        self.0.tell(script).await;
        let said = self.0.says().await;
        let value: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{script}: {said}"));
        assert!(value.get("error").is_none(), "{script}: {value}");
        value
    }

    async fn text(&mut self, script: &str) -> String {
        self.run(script).await.as_str().map(str::to_owned).unwrap_or_else(|| panic!("{script}: no text"))
    }

    /// Opens the dialog of an action, and does it; what the dialog said, and what came of it.
    async fn does(&mut self, action: &str, reason: &str) -> (String, String) {
        let said = self.text(&format!("ask({action:?})")).await;
        let outcome = self.text(&format!("confirm({reason:?})")).await;
        (said, outcome)
    }

    /// Nothing went wrong in the page, and nothing was asked of another origin.
    async fn is_clean(&mut self) {
        assert_eq!(self.run("wrong").await, serde_json::json!([]));
    }
}

/// Lets a browser, which speaks TCP alone, reach the unix socket that tests use.
async fn reachable(dir: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let socket = dir.join("admin.sock");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                if let Ok(mut admin) = UnixStream::connect(socket).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut admin).await;
                }
            });
        }
    });
    address
}

async fn shown(setup: &Setup) -> (Proxy, Browser) {
    let proxy = setup.start().await;
    let address = reachable(proxy.dir.path()).await;
    let browser = Browser::open(address).await;
    (proxy, browser)
}

#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}
