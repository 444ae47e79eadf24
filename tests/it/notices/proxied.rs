//! Notices through the forward proxy of the environment.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Bench, QUICK, SECRET, is_signed_with, sink, webhook, write};
use crate::certificates::Authority;
use crate::proxy::Proxy;
use crate::receiver::Receiver;
use crate::until;

/// A forward proxy that takes every request to one receiver, whatever its name; it asks for a password.
struct Forward {
    address: SocketAddr,
    /// The heads that it was asked with.
    heads: Arc<Mutex<Vec<String>>>,
}

const PASSWORD: &str = "Proxy-Authorization: Basic YW5uOnMzY3JldA==";

impl Forward {
    async fn start(receiver: SocketAddr) -> Forward {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, receiver, Arc::clone(&seen)));
            }
        });
        Forward { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic while it is held").clone()
    }
}

async fn forward(mut client: TcpStream, receiver: SocketAddr, heads: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("text");
    heads.lock().expect("no panic while it is held").push(head.clone());
    if !head.to_ascii_lowercase().contains(&PASSWORD.to_ascii_lowercase()) {
        return client.write_all(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n").await;
    }
    let mut server = TcpStream::connect(receiver).await?;
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Established\r\nVia: 1.1 test\r\n\r\n").await?;
    } else {
        server.write_all(head.as_bytes()).await?;
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// A sink whose address has a name that only the proxy knows.
fn named(bench: &Bench, name: &str, url: &str) -> String {
    let dir = bench.path();
    let url = write(&dir.join(name), url);
    let secret = write(&dir.join(format!("{name}.secret")), SECRET);
    format!(
        "[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl_file = \"{url}\"\nsecret_files = [\"{secret}\"]\n{QUICK}\n"
    )
}

#[tokio::test]
async fn over_tls_the_way_is_asked_for_with_connect_and_the_receiver_is_still_checked() {
    let bench = Bench::new().await;
    let authority = Authority::new();
    let receiver = Receiver::with_tls(authority.server(&authority.issue(&["hooks.test"]), &[], false)).await;
    let forward = Forward::start(receiver.address).await;
    let sinks = named(&bench, "good", "https://hooks.test/hidden-x")
        + &named(&bench, "bad", "https://other.test:8443/hidden-y");
    let text = bench.text(&sinks);
    let authorities = write(&bench.path().join("authorities.pem"), &authority.pem());
    let through = format!("http://ann:s3cret@{}", forward.address);
    let env =
        [("SSL_CERT_FILE", authorities.as_str()), ("HTTPS_PROXY", &through), ("HTTP_PROXY", "http://127.0.0.1:9")];
    let proxy = Proxy::start_as(bench.dir, &text, Stdio::null(), &env).await;
    proxy.switch("green").await;
    let told = receiver.until("it is told", |r| r.event() == "deployment.promoted").await;
    assert!(is_signed_with(&told, SECRET));
    assert!(told.head.starts_with("POST /hidden-x HTTP/1.1") && !told.head.contains("s3cret"), "{}", told.head);
    let asked = forward.heads();
    assert!(asked.iter().any(|head| head.starts_with("CONNECT hooks.test:443 HTTP/1.1\r\n")), "{asked:?}");
    assert!(asked.iter().all(|head| !head.contains("hidden")), "{asked:?}");
    // The certificate is for another name.
    until("the other one is asked for", async || {
        forward.heads().iter().any(|head| head.starts_with("CONNECT other.test:8443 ")).then_some(())
    })
    .await;
    proxy.until("it is not believed", |status| sink(status, "bad")["state"] != "well").await;
    let shown = format!("{}{}", proxy.log(), proxy.status().await);
    assert!(!shown.contains("s3cret") && !shown.contains("YW5uOn"), "{shown}");
}

#[tokio::test]
async fn without_tls_the_proxy_is_told_the_whole_address() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let forward = Forward::start(receiver.address).await;
    let sinks = named(&bench, "plain", "http://hooks.test:81/hidden-x?y=1");
    let text = bench.text(&sinks);
    let through = format!("ann:s3cret@{}", forward.address);
    let proxy = Proxy::start_as(bench.dir, &text, Stdio::null(), &[("http_proxy", &through)]).await;
    proxy.switch("green").await;
    let told = receiver.until("it is told", |r| r.event() == "deployment.promoted").await;
    assert!(told.head.starts_with("POST http://hooks.test:81/hidden-x?y=1 HTTP/1.1"), "{}", told.head);
    assert_eq!(told.header("host"), Some("hooks.test:81"));
    assert!(is_signed_with(&told, SECRET));
}

#[tokio::test]
async fn a_receiver_that_no_proxy_names_is_reached_directly() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, QUICK);
    let text = bench.text(&sinks);
    let env = [("HTTP_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "example.com,127.0.0.0/8")];
    let proxy = Proxy::start_as(bench.dir, &text, Stdio::null(), &env).await;
    proxy.switch("green").await;
    receiver.until("it is told", |r| r.event() == "deployment.promoted").await;
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_the_notice_waits() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let forward = Forward::start(receiver.address).await;
    let sinks = named(&bench, "log", "https://hooks.test/hidden-x");
    let text = bench.text(&sinks);
    let through = format!("http://{}", forward.address);
    let proxy = Proxy::start_as(bench.dir, &text, Stdio::null(), &[("HTTPS_PROXY", &through)]).await;
    proxy.switch("green").await;
    let told = |status: &serde_json::Value| {
        sink(status, "log")["last_error"].as_str().is_some_and(|why| why.contains("the proxy answered 407"))
    };
    let status = proxy.until("it is told", told).await;
    assert!(sink(&status, "log")["pending"].as_u64().is_some_and(|pending| pending > 0), "{status}");
}
