//! The life of a request: what goes through, what is changed, and what the proxy answers itself.

use std::io::Read;

use tokio::net::TcpListener;

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_order_also_when_pipelined() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    let mut sent = String::new();
    for n in 0..20 {
        sent.push_str(&format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{n:02}"));
    }
    client.send(sent).await;
    for n in 0..20 {
        assert_eq!(client.answer().await.text(), format!("{n:02}"));
    }
    // One connection to the endpoint is enough for one to the proxy.
    assert!(blue.connections() <= 2, "{}", blue.connections());
}

#[tokio::test]
async fn the_endpoint_sees_forwarding_fields_and_no_hop_by_hop_ones() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    let head = "GET /x?a=1&b=%20 HTTP/1.1\r\nHost: shop.example.com\r\nX-Forwarded-For: 6.6.6.6\r\n\
                Forwarded: for=6.6.6.6\r\nX-Request-Id: mine\r\nConnection: keep-alive, X-Drop\r\nX-Drop: 1\r\n\
                Keep-Alive: timeout=9\r\nTE: trailers, deflate\r\nProxy-Connection: keep-alive\r\nCookie: a=b\r\n\r\n";
    client.send(head).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("via"), Some("1.1 cutover"));
    let seen = blue.last_head().to_ascii_lowercase();
    let port = proxy.http.port();
    assert!(seen.starts_with("get /x?a=1&b=%20 http/1.1\r\n"), "{seen}");
    for line in [
        "host: shop.example.com",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example.com",
        &format!("x-forwarded-port: {port}"),
        "via: 1.1 cutover",
        "te: trailers",
        "cookie: a=b",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {seen}");
    }
    for gone in ["x-drop", "keep-alive", "proxy-connection", "6.6.6.6", "deflate", "x-request-id: mine"] {
        assert!(!seen.contains(gone), "{gone} is in {seen}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_in_front_is_believed() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "trusted_proxies = [\"127.0.0.0/8\"]".to_owned();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: shop\r\nX-Request-Id: abc-1\r\n\r\n";
    client.send(head).await;
    client.answer().await;
    let seen = blue.last_head().to_ascii_lowercase();
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop",
        "x-request-id: abc-1",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {seen}");
    }
}

#[tokio::test]
async fn the_client_sees_no_hop_by_hop_fields_of_the_endpoint() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let answer = proxy.get("/hop").await;
    for gone in ["x-secret", "keep-alive", "proxy-authenticate-info", "connection"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(answer.header("date"), Some("Sat, 01 Jan 2000 00:00:00 GMT"), "the origin's date is kept");
}

#[tokio::test]
async fn bodies_stream_both_ways_in_any_framing() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    let answer = client.answer().await;
    assert!(answer.body == body, "{} bytes of {} came back", answer.body.len(), body.len());

    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("5\r\nhello\r\n6; ext=1\r\n world\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "hello world");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        .await;
    client.send("2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers, [("X-Sum".to_owned(), "42".to_owned())]);
}

#[tokio::test]
async fn expect_continue_is_answered_when_the_endpoint_wants_the_body() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
    let go_ahead = soon("the go-ahead", client.line()).await;
    assert_eq!(go_ahead.as_deref(), Some("HTTP/1.1 100 Continue"));
    assert_eq!(soon("its end", client.line()).await.as_deref(), Some(""));
    client.send("body").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "body"));
    assert!(blue.last_head().to_ascii_lowercase().contains("expect: 100-continue"));
}

#[tokio::test]
async fn early_hints_reach_the_client_before_the_answer() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        let answer = client.get("/hints").await;
        assert_eq!((answer.interim.as_slice(), answer.status, answer.text()), ([103].as_slice(), 200, "blue"));
    }
    client.send("GET /hints HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.interim.len(), answer.status), (0, 200), "HTTP/1.0 knows no interim answers");
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer_to_head().await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1234")));
    assert_eq!(client.get("/").await.text(), "blue", "the connection goes on");
    let answer = client.get("/empty").await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(client.get("/").await.text(), "blue");
}

#[tokio::test]
async fn http_1_0_is_served_and_closed_unless_asked_otherwise() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "blue"));
    assert!(client.ended().await);

    let mut client = proxy.connect().await;
    client.send("GET /ticks?3 HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    assert_eq!(answer.text(), "blue 0\nblue 1\nblue 2\n");

    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "blue");
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "blue");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_passed_on_whole() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    assert_eq!(client.get("/closing").await.text(), "until the end");
    assert_eq!(client.get("/").await.text(), "blue", "the client's connection goes on");
}

#[tokio::test]
async fn what_an_endpoint_does_wrong_is_502_with_a_reason_and_nothing_of_its_address() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for path in ["/garbage", "/vanishes"] {
        let answer = proxy.get(path).await;
        assert_eq!(answer.status, 502, "{path}");
        let status = answer.header("proxy-status").expect("RFC 9209");
        assert!(status.starts_with("cutover; error="), "{status}");
        let said = format!("{:?}{}", answer.headers, answer.text());
        assert!(!said.contains(&blue.address.port().to_string()), "{said}");
    }
}

#[tokio::test]
async fn an_endpoint_that_dies_in_mid_body_cuts_the_answer_short() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    let answer = client.get("/dies").await;
    assert_eq!(
        (answer.status, answer.text(), answer.complete),
        (200, "half", false),
        "half an answer must not look whole"
    );
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_504() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[upstream.default]\nresponse_timeout = \"200ms\"".to_owned();
    let proxy = setup.start().await;
    let answer = proxy.get("/hangs").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("proxy-status"), Some("cutover; error=http_response_timeout"));
}

#[tokio::test]
async fn no_healthy_endpoint_is_503_and_never_the_other_color() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    blue.set_healthy(false);
    proxy.until("blue is down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    let answer = proxy.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
    assert!(green.heads().is_empty(), "nothing went to the other color");
    blue.set_healthy(true);
    proxy.until("blue is up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn an_error_is_json_for_those_who_ask_for_it() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET /garbage HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["status"], 502);
    assert!(answer.json()["error"].is_string());
}

#[tokio::test]
async fn several_endpoints_share_the_work_and_a_dead_one_costs_nobody_a_request() {
    let (blue, green) = pair().await;
    let second = Application::start("blue").await;
    let mut setup = Setup::new(&blue, &green);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{}\", \"{}\"]", blue.address, second.address);
    // Probed so seldom that only the requests themselves can notice.
    setup.more = String::new();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    for _ in 0..60 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(!blue.heads().is_empty() && !second.heads().is_empty(), "both work");
    second.stop().await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200, "the other one is tried");
    }
}

#[tokio::test]
async fn an_endpoint_may_be_a_unix_socket_or_a_name() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("app.sock");
    blue.also_at(&socket);
    let mut setup = Setup::new(&blue, &green);
    setup.blue = format!("release = \"1\"\nendpoints = [\"unix:{}\"]", socket.display());
    setup.green = format!("release = \"2\"\nendpoints = [\"localhost:{}\"]", green.address.port());
    let proxy = setup.start().await;
    assert_eq!(proxy.color().await, "blue");
    proxy.switch("green").await;
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn routes_choose_the_upstream_by_host_and_path_and_all_switch_at_once() {
    let (blue, green) = pair().await;
    let (blue_api, green_api) = (Application::start("blue api").await, Application::start("green api").await);
    let mut setup = Setup::new(&blue, &green);
    setup.blue.push_str(&format!("\n[blue.upstreams]\napi = [\"{}\"]", blue_api.address));
    setup.green.push_str(&format!("\n[green.upstreams]\napi = [\"{}\"]", green_api.address));
    setup.more = "[[route]]\nhost = \"api.example.com\"\nupstream = \"api\"\n\
                  [[route]]\nhost = \"*.example.com\"\npath = \"/api\"\nupstream = \"api\"\n\
                  [[route]]\nhost = \"*.example.com\"\nupstream = \"default\"\n"
        .to_owned();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    let mut asked = async |host: &str, path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let answer = client.answer().await;
        if answer.status == 200 { answer.text().to_owned() } else { answer.status.to_string() }
    };
    for color in ["blue", "green"] {
        proxy.switch(color).await;
        assert_eq!(asked("api.example.com", "/").await, format!("{color} api"));
        assert_eq!(asked("API.Example.com:8080", "/x").await, format!("{color} api"));
        assert_eq!(asked("shop.example.com", "/api/v1").await, format!("{color} api"));
        assert_eq!(asked("shop.example.com", "/apix").await, color);
        assert_eq!(asked("example.org", "/").await, "404");
    }
}

#[tokio::test]
async fn a_limit_on_requests_in_flight_sheds_with_503() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[upstream.default]\nmax_in_flight = 1".to_owned();
    let proxy = setup.start().await;
    let mut first = proxy.connect().await;
    first.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let second = proxy.get("/").await;
    assert_eq!(second.status, 503);
    assert!(second.header("retry-after").is_some());
    blue.open_gate();
    assert_eq!(first.answer().await.text(), "blue");
    // The client may have the last byte before its place is given back.
    crate::until("its place is free again", async || (proxy.get("/").await.text() == "blue").then_some(())).await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_with_and_without_a_length() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_body = \"1KiB\"".to_owned();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 413);
    let mut client = proxy.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send(format!("1000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x1000))).await;
    assert_eq!(client.answer().await.status, 413);
    let mut client = proxy.connect().await;
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024))).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn the_readiness_path_is_answered_by_the_proxy_itself() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let answer = proxy.get("/.cutover/ready").await;
    assert_eq!(answer.status, 200);
    assert!(blue.heads().is_empty());
}

#[tokio::test]
async fn a_request_to_an_absolute_uri_goes_by_its_authority() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET http://real.example.com/a?b HTTP/1.1\r\nHost: other\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let seen = blue.last_head().to_ascii_lowercase();
    assert!(seen.starts_with("get /a?b http/1.1\r\n") && seen.contains("host: real.example.com\r\n"), "{seen}");
}

#[tokio::test]
async fn each_request_is_one_line_in_the_access_log() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("POST /echo?secret=1 HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello").await;
    client.answer().await;
    client.get("/vanishes").await;
    let path = proxy.dir.path().join("access.log");
    let lines = until("both lines are there", async || {
        let mut text = String::new();
        std::fs::File::open(&path).ok()?.read_to_string(&mut text).ok()?;
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    let line = &lines[0];
    for (key, value) in [
        ("method", "POST"),
        ("host", "shop"),
        ("path", "/echo?secret=1"),
        ("protocol", "HTTP/1.1"),
        ("color", "blue"),
        ("release", "1.0"),
        ("upstream", "default"),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!((&line["status"], &line["bytes_in"], &line["bytes_out"]), (&200.into(), &5.into(), &5.into()), "{line}");
    assert_eq!(line["endpoint"], blue.address.to_string());
    assert_eq!(lines[1]["status"], 502);
    assert!(lines[1]["error"].is_string(), "{}", lines[1]);
}

#[tokio::test]
async fn failures_are_logged_with_the_chosen_fields_where_successes_are_sampled() {
    let (blue, green) = pair().await;
    let setup = Setup::new(&blue, &green);
    let dir = tempfile::tempdir().expect("a directory");
    let keys = "[log]\nfields = [\"User-Agent\", \"referer\"]\nsample = \"0%\"\n";
    let text = setup.text(dir.path()).replace("[log]\n", keys);
    let proxy = Proxy::start_in(dir, &text).await;
    let mut client = proxy.connect().await;
    for path in ["/", "/vanishes", "/"] {
        client = if path == "/vanishes" { proxy.connect().await } else { client };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\nUser-Agent: \"me\"\r\n\r\n")).await;
        client.answer().await;
    }
    let log = proxy.dir.path().join("access.log");
    let text =
        until("the failure is there", async || std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n')))
            .await;
    let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
    assert_eq!((&line["status"], &line["user_agent"]), (&502.into(), &"\"me\"".into()), "{line}");
    assert!(line.get("referer").is_none(), "{line}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_the_endpoint() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    drop(client);
    proxy.until("it is over", |status| status["blue"]["requests"] == 0).await;
    let log = proxy.dir.path().join("access.log");
    until("the log says 499", async || std::fs::read_to_string(&log).ok()?.contains("\"status\":499").then_some(()))
        .await;
}

#[tokio::test]
async fn a_slow_reader_holds_its_endpoint_back_instead_of_filling_memory() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let before = resident(proxy.pid());
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.connect().await;
        client.send("GET /bytes?50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        readers.push(client);
    }
    proxy.until("all are streams", |status| status["blue"]["streams"] == 8).await;
    let grown = resident(proxy.pid()).saturating_sub(before);
    assert!(grown < 30 << 20, "400 MB are under way, and {grown} bytes are held");
}

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

#[tokio::test]
async fn an_endpoint_that_closes_idle_connections_costs_no_request() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    let address = blue.address;
    assert_eq!(client.get("/").await.status, 200);
    // All of its connections end, and it comes back at once.
    blue.stop().await;
    let blue = until("the port is free", async || {
        TcpListener::bind(address).await.ok().map(drop)?;
        Some(Application::at("blue", address).await)
    })
    .await;
    proxy.until("blue is up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    assert_eq!(client.get("/").await.status, 200);
    drop(blue);
}
