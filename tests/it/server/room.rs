//! Bounds on what all clients together can take: descriptors, connections, memory. The operator always gets through.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;

use crate::application::pair;
use crate::client::Connection;
use crate::http2::Client;
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

fn request(path: &str) -> Request<()> {
    Request::get(format!("http://test{path}")).body(()).expect("a request")
}

async fn series(proxy: &Proxy, name: &str) -> f64 {
    let page = proxy.admin("GET", "/metrics", "").await;
    let line = page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// The command is answered, and does what it says.
async fn command(proxy: &Proxy, args: &[&str]) {
    let output = proxy.cli(args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn requests_beyond_the_room_for_endpoint_connections_are_503_and_commands_are_answered() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start_with_open_files(&Setup::new(&blue, &green), 256).await;
    let room = series(&proxy, "cutover_descriptors_room").await;
    assert!((50.0..192.0).contains(&room), "{room}");
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(proxy.http).await);
    }
    let mut waiting = Vec::new();
    for client in &mut clients {
        for _ in 0..60 {
            waiting.push(client.begin(request("/late"), true).await.expect("it is taken").0);
        }
    }
    // A new connection is accepted and answered. A connection that is free at the moment may serve it.
    let refused = until("the room is taken", async || {
        let answer = proxy.get("/").await;
        if answer.status != 200 {
            return Some(answer);
        }
        waiting.push(clients[0].begin(request("/late"), true).await.expect("it is taken").0);
        None
    })
    .await;
    let answers = tokio::spawn(join_all(waiting));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(
        refused.header("proxy-status"),
        Some("cutover; error=connection_limit_reached; details=\"descriptors\"")
    );
    proxy.until_logged("the proxy has run out of descriptors").await;
    command(&proxy, &["switch", "green"]).await;
    command(&proxy, &["rollback"]).await;
    let status = proxy.status().await;
    assert_eq!(status["active"], "blue");
    for color in ["blue", "green"] {
        for endpoint in status[color]["endpoints"].as_array().expect("endpoints") {
            assert_eq!(endpoint["health"], "up", "nobody is charged: {endpoint}");
            assert!(endpoint.get("ejected_for_s").is_none_or(serde_json::Value::is_null), "{endpoint}");
        }
    }

    blue.open_gate();
    let answers = soon("all are answered", answers).await.expect("no panic");
    let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.expect("an answer").status().as_u16()).collect();
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!(served as f64 >= room * 0.7 && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert_eq!(proxy.get("/").await.status, 200, "there is room again");
    let taken = series(&proxy, "cutover_descriptors_taken{side=\"endpoint\"}").await;
    assert!(taken <= room, "{taken} of {room}: no refusal gives back what it did not take");
}

#[tokio::test]
async fn idle_connections_beyond_the_room_make_way_and_commands_are_answered() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start_with_open_files(&Setup::new(&blue, &green), 256).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(proxy.http).await.expect("the backlog has room"));
        if idle.len() % 50 == 0 {
            assert_eq!(proxy.get("/").await.status, 200, "beside {} idle connections", idle.len());
        }
    }
    command(&proxy, &["switch", "green"]).await;
    command(&proxy, &["rollback"]).await;
    assert_eq!(proxy.get("/").await.status, 200);
    let room = series(&proxy, "cutover_descriptors_room").await;
    assert!(series(&proxy, "cutover_descriptors_taken{side=\"client\"}").await <= room);
}

#[tokio::test]
async fn a_proxy_that_has_no_room_for_max_connections_says_so() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start_with_open_files(&Setup::new(&blue, &green), 300).await;
    let line = proxy.until_logged("Limit on open files below listen.max_connections").await;
    assert!(line.contains("\"limit\":300"), "{line}");
}

#[tokio::test]
async fn at_max_connections_the_one_that_is_idle_longest_is_closed() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_connections = 6".to_owned();
    let proxy = setup.start().await;
    let mut busy = proxy.connect().await;
    busy.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(busy.head().await.expect("a head").status, 200);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    let mut http2 = Client::connect(proxy.http).await;
    assert_eq!(http2.get("/").await.status, 200);
    // The first is used again, so the second is now the one that is idle longest.
    assert_eq!(clients[0].get("/").await.status, 200);

    let mut new = proxy.connect().await;
    assert_eq!(new.get("/").await.status, 200);
    assert!(clients.remove(1).ended().await);
    for client in &mut clients {
        assert_eq!(client.get("/").await.status, 200, "the others stay");
    }
    // The HTTP/2 connection is told that it ends.
    let mut newer = proxy.connect().await;
    assert_eq!(newer.get("/").await.status, 200);
    http2.ended().await.expect("GOAWAY without an error");
    assert_eq!(new.get("/").await.status, 200);
    blue.open_gate();
    assert_eq!(busy.exactly(6).await.expect("the rest"), b"[done]", "a request is never cut for a new connection");
}

#[tokio::test]
async fn connections_that_come_all_at_once_are_all_answered() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let answers = join_all((0..200).map(async |_| proxy.connect().await.get("/").await.status)).await;
    assert_eq!(answers, vec![200; 200]);
}

#[tokio::test]
async fn connections_that_stay_are_shared_by_the_workers() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    // Each worker watches its sockets: clients, and a few others.
    let shares: Vec<usize> = watched(&proxy).into_iter().map(|sockets| sockets.len()).filter(|n| *n >= 10).collect();
    assert!(shares.len() == 2 && shares[0].abs_diff(shares[1]) <= 8, "{shares:?}");
}

/// The descriptors that each epoll of the process watches.
fn watched(proxy: &Proxy) -> BTreeSet<Vec<String>> {
    let files = std::fs::read_dir(format!("/proc/{}/fdinfo", proxy.pid())).expect("it runs");
    let files = files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
    let of = |text: String| text.lines().filter_map(|line| Some(line.strip_prefix("tfd:")?.to_owned())).collect();
    // A set, because there are two descriptors of the same epoll.
    files.map(of).collect()
}

#[tokio::test]
async fn half_a_head_keeps_nobody_out() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_connections = 6\nheader_timeout = \"1m\"".to_owned();
    let proxy = setup.start().await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut client = proxy.connect().await;
        client.send("GET / HT").await;
        slow.push(client);
    }
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn a_client_address_has_no_more_connections_than_it_may() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_connections_per_client = 2\nproxy_protocol = [\"127.0.0.2\"]".to_owned();
    let proxy = setup.start().await;
    let mut first = proxy.connect().await;
    let mut second = proxy.connect().await;
    assert_eq!([first.get("/").await.status, second.get("/").await.status], [200, 200]);
    assert!(proxy.connect().await.ended().await, "the third is closed");
    proxy.until_logged("max_connections_per_client").await;

    // Behind a balancer the address is the one that the header names.
    let through_balancer = async |source: &str| {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.2:0".parse().expect("an address")).expect("a free port");
        let mut client = Connection::over(socket.connect(proxy.http).await.expect("the proxy accepts"));
        client.send(format!("PROXY TCP4 {source} 127.0.0.1 1000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let status = client.try_answer(false).await.map(|answer| answer.status);
        (client, status)
    };
    let (_one, status) = through_balancer("10.0.0.1").await;
    assert_eq!(status, Some(200));
    let (_two, status) = through_balancer("10.0.0.1").await;
    assert_eq!(status, Some(200));
    assert_eq!(through_balancer("10.0.0.1").await.1, None);
    assert_eq!(through_balancer("10.0.0.2").await.1, Some(200));

    drop(first);
    until("a place is free again", async || {
        let mut client = proxy.connect().await;
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
        (client.try_answer(false).await?.status == 200).then_some(())
    })
    .await;
    assert_eq!(second.get("/").await.status, 200);
}

/// What the process has in memory.
fn resident(proxy: &Proxy) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[tokio::test]
async fn an_idle_connection_keeps_nothing_of_its_largest_request_and_half_a_head_costs_its_size() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    let mut clients = Vec::new();
    // What the process keeps once for all connections is there before anything is compared.
    for _ in 0..8 {
        let mut client = proxy.connect().await;
        client.send(&large).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    let before = resident(&proxy);
    for _ in 0..400 {
        let mut client = proxy.connect().await;
        client.send(&large).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    for _ in 0..400 {
        let mut client = proxy.connect().await;
        client.send("G").await;
        clients.push(client);
    }
    let most = 800 * (10 << 10);
    until("no connection costs more than 10 KiB", async || {
        (resident(&proxy).saturating_sub(before) < most).then_some(())
    })
    .await;
    until("half heads are counted by their size", async || {
        (series(&proxy, "cutover_buffered_bytes").await < f64::from(800 * 100)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_line_of_the_access_log_is_bounded_whatever_a_client_sends() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send(format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "p".repeat(20_000), "h".repeat(20_000))).await;
    client.answer().await;
    let log = proxy.dir.path().join("access.log");
    let line = until("the request is in the access log", async || {
        std::fs::read_to_string(&log).ok().filter(|lines| lines.ends_with('\n'))
    })
    .await;
    assert!(line.len() < 5000, "{} bytes", line.len());
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(line["truncated"], serde_json::json!(["host", "path"]));
    assert_eq!(line["path"].as_str().map(str::len), Some(2048));
}

#[tokio::test]
async fn beyond_max_buffered_requests_are_refused_by_name_until_there_is_room() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_buffered = \"1MiB\"".to_owned();
    let proxy = setup.start().await;
    assert_eq!(series(&proxy, "cutover_buffered_limit_bytes").await, f64::from(1 << 20));
    let mut ordinary = proxy.connect().await;
    assert_eq!(ordinary.get("/").await.status, 200);
    // Heads of which the most is here, in large blocks.
    let mut halves = Vec::new();
    for _ in 0..60 {
        let mut client = proxy.connect().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(50_000))).await;
        halves.push(client);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = until("requests are refused", async || {
        let answer = proxy.get("/").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(refused.header("proxy-status"), Some("cutover; error=proxy_internal_error; details=\"memory\""));
    assert_eq!(proxy.get("/.cutover/ready").await.status, 200);
    assert!(series(&proxy, "cutover_buffered_bytes").await < f64::from(3 << 20));
    command(&proxy, &["switch", "green"]).await;
    command(&proxy, &["rollback"]).await;
    assert_eq!(proxy.status().await["blue"]["endpoints"][0]["health"], "up");
    drop(halves);
    until("there is room again", async || (proxy.get("/").await.status == 200).then_some(())).await;
    until("nothing is held", async || (series(&proxy, "cutover_buffered_bytes").await == 0.0).then_some(())).await;
}

/// The command is answered within what the test waits for, beside whatever else there is.
async fn rollback_beside(proxy: &Proxy, what: &str, send: &str) {
    let mut idle = Vec::new();
    for _ in 0..300 {
        let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the admin socket");
        // It may be closed already.
        let _ = connection.try_send(send).await;
        idle.push(connection);
    }
    let answered = tokio::time::timeout(Duration::from_secs(5), proxy.cli(&["rollback"])).await;
    let output = answered.unwrap_or_else(|_| panic!("no answer beside {what}"));
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let newest = idle.pop().expect("one");
    assert!(idle.swap_remove(0).ended().await, "the oldest made room");
    drop(newest);
}

#[tokio::test]
async fn connections_to_the_admin_api_that_ask_nothing_keep_no_operator_out() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (what, send) in [
        ("idle connections", ""),
        ("half a head", "GET /admin/status HTTP/1.1\r\nHo"),
        ("half a body", "POST /admin/switch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"),
    ] {
        proxy.switch("green").await;
        rollback_beside(&proxy, what, send).await;
        assert_eq!(proxy.status().await["active"], "blue", "{what}");
    }
}

/// A network of its own in which connections come from 40 ports.
struct Network(Child);

impl Network {
    /// `None`: this machine gives no networks to whoever runs the tests.
    fn new() -> Network {
        let setup = "ip link set lo up && echo 40000 40039 > /proc/sys/net/ipv4/ip_local_port_range && echo ready";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &format!("{setup} && exec sleep 600")]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("unshare (util-linux)");
        let mut said = Vec::new();
        let said = child.stdout.take().map(|stdout| stdout.take(6).read_to_end(&mut said)).map(|_| said);
        let network = Network(child);
        assert_eq!(
            said.as_deref(),
            Some(&b"ready\n"[..]),
            "this test needs a network namespace of its own: run it as root, in a container with CAP_SYS_ADMIN"
        );
        network
    }

    /// Moves this thread into it.
    fn enter(&self) {
        let link = File::open(format!("/proc/{}/ns/net", self.0.id())).expect("it runs");
        move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network)).expect("a network");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ports_to_an_endpoint_run_out_and_nobody_is_charged() {
    let network = Network::new();
    let testing = std::thread::spawn(move || {
        network.enter();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(ports_run_out());
    });
    testing.join().expect("it passes");
}

async fn ports_run_out() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(client.begin(request("/late"), true).await.expect("it is taken").0);
    }
    let answers = tokio::spawn(join_all(waiting));
    let refused = until("the ports are taken", async || {
        let answer = client.get("/").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(refused.header("proxy-status"), Some("cutover; error=connection_limit_reached; details=\"ports\""));
    proxy.until_logged("the proxy has run out of ports").await;
    let status = proxy.until("another probe passed", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    assert!(status["blue"]["endpoints"][0].get("ejected_for_s").is_none_or(serde_json::Value::is_null), "{status}");
    command(&proxy, &["switch", "green"]).await;
    command(&proxy, &["rollback"]).await;
    blue.open_gate();
    let answers = soon("all are answered", answers).await.expect("no panic");
    let served =
        answers.into_iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 200)).count();
    assert!(served >= 10, "{served}");
    until("there are ports again", async || (client.get("/").await.status == 200).then_some(())).await;
}
