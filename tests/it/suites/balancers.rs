//! docs/balancers.md: HAProxy and nginx by the files of the page, each in front of two proxies.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use crate::application::{Application, pair};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::switch::Load;
use crate::until;

const PAGE: &str = include_str!("../../../docs/balancers.md");

/// The block of the page with this name behind its language.
fn block(name: &str) -> &'static str {
    let mut parts = PAGE.split("```");
    let block = parts.find(|part| part.lines().next().is_some_and(|first| first.ends_with(&format!(" {name}"))));
    block.and_then(|block| block.split_once('\n')).unwrap_or_else(|| panic!("the page has no block {name}")).1
}

/// A port that was free just now: the balancers can't say which one they got.
async fn free() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

/// Two proxies of the same application, and a balancer in front of them.
struct Site {
    blue: Application,
    green: Application,
    proxies: [Proxy; 2],
    address: SocketAddr,
    _balancer: Child,
    _dir: tempfile::TempDir,
}

impl Site {
    /// `command` writes the file of the balancer into the directory, with the addresses of the page replaced.
    async fn start(listen: &str, file: &str, command: impl Fn(&Path, &str) -> Command) -> Site {
        let (blue, green) = pair().await;
        let start = async || {
            let mut setup = Setup::new(&blue, &green);
            setup.listen = format!("{listen} = [\"127.0.0.0/8\"]\n");
            let dir = tempfile::tempdir().expect("a directory");
            // The default, for which the page is written.
            let text = setup.text(dir.path()).replace("lame_duck = \"0s\"", "lame_duck = \"5s\"");
            Proxy::start_in(dir, &text).await
        };
        let proxies = [start().await, start().await];
        let address = free().await;
        let text = file
            .replace("10.0.0.11:8080", &proxies[0].http.to_string())
            .replace("10.0.0.12:8080", &proxies[1].http.to_string())
            .replace(":80\n", &format!("{address}\n"))
            .replace("listen 80;", &format!("listen {address};"));
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = command(dir.path(), &text);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let balancer = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
        let site = Site { blue, green, proxies, address, _balancer: balancer, _dir: dir };
        until("the balancer serves", async || {
            let mut connection = Connection::over(tokio::net::TcpStream::connect(site.address).await.ok()?);
            connection.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
            connection.try_answer(false).await.filter(|answer| answer.status == 200)
        })
        .await;
        site
    }

    /// From an address that is not the balancer's.
    async fn connect(address: SocketAddr) -> Connection {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).expect("all of 127.0.0.0/8 is here");
        Connection::over(socket.connect(address).await.expect("a connection"))
    }

    /// What the page promises. `forwarded`: how the field ends that the application gets.
    async fn holds(mut self, forwarded: &str) {
        let mut client = Site::connect(self.address).await;
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 203.0.113.66\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        let head = self.blue.last_head();
        let line = head.lines().find(|line| line.starts_with("x-forwarded-for: ")).unwrap_or_default();
        assert!(line.ends_with(forwarded), "the address that the balancer saw: {head}");
        assert!(head.contains("host: shop.test"), "{head}");

        let address = self.address;
        let load = Load::start_by(4, move || Site::connect(address));
        load.moving();
        // Nothing is shared: each has to be told.
        assert_eq!(self.proxies[0].post("/admin/switch", json!({ "to": "green" })).await.status, 200);
        assert_eq!(self.proxies[1].status().await["active"], "blue");
        assert_eq!(self.proxies[1].post("/admin/switch", json!({ "to": "green" })).await.status, 200);
        load.moved();
        let before = self.green.heads().len();
        until("green answers", async || (self.green.heads().len() > before + 200).then_some(())).await;

        let [stopped, stays] = &mut self.proxies;
        stopped.signal(rustix::process::Signal::TERM);
        assert!(stopped.ended().await.success());
        let before = self.green.heads().len();
        until("the other proxy serves all", async || (self.green.heads().len() > before + 200).then_some(())).await;
        load.end().await;
        assert_eq!(stays.status().await["active"], "green");
    }
}

fn haproxy(dir: &Path, text: &str) -> Command {
    let file = dir.join("haproxy.cfg");
    fs::write(&file, text).expect("a file");
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

fn nginx(dir: &Path, text: &str) -> Command {
    let at = dir.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {at}/{of};\n"));
    let head = format!("daemon off;\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\naccess_log off;\n");
    let file = dir.join("nginx.conf");
    fs::write(&file, format!("{head}{}{text}}}\n", paths.concat())).expect("a file");
    let mut command = Command::new("nginx");
    command.arg("-e").arg(dir.join("log")).arg("-p").arg(dir).arg("-c").arg(file);
    command
}

#[tokio::test]
async fn behind_haproxy_clients_keep_their_address_and_a_stop_fails_nothing() {
    Site::start("proxy_protocol", block("haproxy.cfg"), haproxy).await.holds(" 127.0.0.2").await;
}

#[tokio::test]
async fn haproxy_may_speak_http_2_with_it() {
    let file = block("haproxy.cfg").replace("default-server check", "default-server proto h2 check");
    assert!(file.contains("proto h2"), "{file}");
    Site::start("proxy_protocol", &file, haproxy).await.holds(" 127.0.0.2").await;
}

#[tokio::test]
async fn behind_nginx_clients_keep_their_address_and_a_stop_fails_nothing() {
    Site::start("trusted_proxies", block("nginx.conf"), nginx).await.holds(" 127.0.0.2, 127.0.0.1").await;
}
