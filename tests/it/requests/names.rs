//! Endpoints by name: all addresses of a name, a name server that is away, and services.

pub(crate) mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::application::Application;
use crate::proxy::{Proxy, Setup};
use crate::requests::names::server::{Mood, NameServer};
use crate::{soon, until};

const NAME: &str = "app-green.test";

/// Applications at these addresses of this machine, at the same port.
async fn at<const N: usize>(addresses: [u8; N]) -> (u16, Vec<Application>) {
    until("a port that is free at all of them", async || {
        let mut port = 0;
        let mut all = Vec::new();
        for last in addresses {
            let address = SocketAddr::from(([127, 0, 0, last], port));
            tokio::net::TcpListener::bind(address).await.ok()?;
            let application = Application::at("green", address).await;
            port = application.address.port();
            all.push(application);
        }
        Some((port, all))
    })
    .await
}

fn setup(blue: &Application, green: &str, names: &NameServer) -> Setup {
    let mut setup = Setup::at(blue.address, blue.address);
    setup.green = format!("release = \"2.0\"\nendpoints = [\"{green}\"]");
    setup.more = names.section();
    setup
}

fn endpoint(port: u16, last: u8) -> String {
    format!("{NAME}:{port} (127.0.0.{last})")
}

/// Each endpoint of green with its health.
fn green(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = status["green"]["endpoints"].as_array().expect("a list");
    all.iter().map(|one| (text(&one["endpoint"]), text(&one["health"]))).collect()
}

/// Waits until green has exactly these endpoints, all up.
async fn until_up(proxy: &Proxy, port: u16, addresses: &[u8]) {
    let wanted: Vec<_> = addresses.iter().map(|last| (endpoint(port, *last), "up".to_owned())).collect();
    proxy.until("exactly the addresses are up", |status| green(status) == wanted).await;
}

#[tokio::test]
async fn each_address_of_a_name_is_an_endpoint_of_its_own() {
    let blue = Application::start("blue").await;
    let (port, applications) = at([2, 3, 4]).await;
    let names = NameServer::start().await;
    names.says(NAME, &["127.0.0.4", "127.0.0.2", "127.0.0.3"]);
    let proxy = setup(&blue, &format!("{NAME}:{port}"), &names).start().await;
    until_up(&proxy, port, &[2, 3, 4]).await;
    proxy.switch("green").await;
    let mut client = proxy.connect().await;
    for _ in 0..60 {
        assert_eq!(client.get("/").await.text(), "green");
    }
    assert!(applications.iter().all(|application| !application.heads().is_empty()), "all of them serve");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    for last in [2, 3, 4] {
        let series = format!(
            "cutover_endpoint_up{{color=\"green\",upstream=\"default\",endpoint=\"{}\"}} 1",
            endpoint(port, last)
        );
        assert!(metrics.text().contains(&series), "{}", metrics.text());
        let log = until("the access log names the address", async || {
            let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).ok()?;
            log.contains(&endpoint(port, last)).then_some(log)
        });
        log.await;
    }
    applications[0].set_healthy(false);
    proxy.until("one of them is down", |status| green(status)[0].1 == "down" && green(status)[1].1 == "up").await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_name_server_that_is_away_takes_no_endpoint_down_and_prevents_no_rollback() {
    let green_application = Application::start("green").await;
    let (port, _applications) = at([2, 3]).await;
    for mood in [Mood::Silent, Mood::Fails, Mood::Answers] {
        let names = NameServer::start().await;
        names.says(NAME, &["127.0.0.2", "127.0.0.3"]);
        let mut setup = Setup::at(green_application.address, green_application.address);
        setup.blue = format!("release = \"1.0\"\nendpoints = [\"{NAME}:{port}\"]");
        setup.more = names.section();
        let proxy = setup.start().await;
        let endpoints = |status: &Value| status["blue"]["endpoints"].clone();
        let up = |status: &Value| {
            let all = endpoints(status);
            let all = all.as_array().expect("a list");
            all.len() == 2 && all.iter().all(|endpoint| endpoint["health"] == "up")
        };
        proxy.until("the addresses are up", up).await;
        proxy.switch("green").await;
        names.is(mood);
        if mood == Mood::Answers {
            // It says that there is no such name.
            names.says(NAME, &[]);
        }
        let status = proxy.until("the status says so", |status| status["names"][0]["error"].as_str().is_some()).await;
        assert!(up(&status), "{mood:?}: {status}");
        assert_eq!(status["names"][0]["addresses"], json!(["127.0.0.2", "127.0.0.3"]));
        assert_eq!(status["names"][0]["name"], format!("{NAME}:{port}"));
        let metrics = proxy.admin("GET", "/metrics", "").await;
        let series = format!("cutover_name_resolves{{name=\"{NAME}:{port}\"}} 0");
        assert!(metrics.text().contains(&series), "{}", metrics.text());
        let shown = proxy.cli(&["status"]).await;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("does not resolve for ") && shown.contains("stay in use: 127.0.0.2"), "{shown}");
        assert!(proxy.log().contains("Name does not resolve"), "{}", proxy.log());
        let answer = proxy.post("/admin/rollback", json!({})).await;
        assert_eq!(answer.status, 200, "{mood:?}: {}", answer.text());
        assert_eq!(proxy.color().await, "green", "the applications behind the name say so");
        let status = proxy.status().await;
        assert!(status["active"] == "blue" && up(&status), "{status}");
        proxy.switch("green").await;
        proxy.switch("blue").await;
    }
}

#[tokio::test]
async fn a_name_that_never_resolved_is_down_for_that_reason() {
    let blue = Application::start("blue").await;
    let names = NameServer::start().await;
    names.is(Mood::Silent);
    let mut setup = setup(&blue, &format!("{NAME}:9"), &names);
    setup.health.push_str("\ntimeout = \"1s\"");
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup
        .text(dir.path())
        .replace("timeout = \"5s\"\nrise", "rise")
        .replace("timeout = \"5s\"\n\n[drain]", "timeout = \"1s\"\n\n[drain]");
    let proxy = Proxy::start_in(dir, &text).await;
    assert_eq!(proxy.color().await, "blue", "it serves");
    let said = |status: &Value| {
        let endpoint = &status["green"]["endpoints"][0];
        let detail = endpoint["detail"].as_str().unwrap_or_default();
        endpoint["health"] == "down"
            && detail.starts_with("the name does not resolve: no answer from the name server 127.0.0.1:")
    };
    let status = proxy.until("the endpoint is down for that reason", said).await;
    assert_eq!(green(&status), [(format!("{NAME}:9"), "down".to_owned())]);
    let refused = proxy.post("/admin/switch", json!({ "to": "green" })).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("the name does not resolve"), "{}", refused.text());
    let (port, _applications) = at([2]).await;
    names.says(NAME, &["127.0.0.2"]);
    names.is(Mood::Answers);
    std::fs::write(proxy.file(), proxy.text().replace(&format!("{NAME}:9"), &format!("{NAME}:{port}")))
        .expect("a file");
    until_up(&proxy, port, &[2]).await;
    proxy.switch("green").await;
}

#[tokio::test]
async fn an_address_that_swallows_packets_takes_nobody_down() {
    let blue = Application::start("blue").await;
    let (port, _applications) = at([3, 4]).await;
    // A backlog that is full: the kernel drops what asks for a connection.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let swallows = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
    full.bind(&swallows.into()).expect("nobody has it");
    full.listen(0).expect("it is bound");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(swallows)).await
    {
        waiting.push(stream);
    }
    let names = NameServer::start().await;
    names.says(NAME, &["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let setup = setup(&blue, &format!("{NAME}:{port}"), &names);
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path()).replace("timeout = \"5s\"\nrise", "timeout = \"200ms\"\nrise");
    let text = text.replace("[gate]\n", "[gate]\nquorum = \"60%\"\n");
    let proxy = Proxy::start_in(dir, &text).await;
    let wanted = [(2, "down"), (3, "up"), (4, "up")].map(|(last, health)| (endpoint(port, last), health.to_owned()));
    proxy.until("that address alone is down", |status| green(status) == wanted).await;
    proxy.switch("green").await;
    for _ in 0..20 {
        assert_eq!(proxy.color().await, "green");
    }
}

#[tokio::test]
async fn a_new_address_takes_over_and_one_that_is_gone_drains() {
    let blue = Application::start("blue").await;
    let (port, applications) = at([2, 3]).await;
    let names = NameServer::start().await;
    names.says(NAME, &["127.0.0.2"]);
    let mut setup = setup(&blue, &format!("{NAME}:{port}"), &names);
    setup.active = "green";
    let proxy = setup.start().await;
    until_up(&proxy, port, &[2]).await;
    let mut gated = proxy.connect().await;
    gated.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("the old address has the request", async || {
        applications[0].heads().iter().any(|head| head.starts_with("GET /gated")).then_some(())
    })
    .await;
    applications[1].set_silent(true);
    names.says(NAME, &["127.0.0.3"]);
    let status = proxy
        .until("the new address is there, and the old one is about to leave", |status| green(status).len() == 2)
        .await;
    let leaves = &status["green"]["endpoints"][1];
    assert_eq!(
        (leaves["endpoint"].as_str(), &leaves["leaving"]),
        (Some(&*endpoint(port, 2)), &json!(true)),
        "{status}"
    );
    let mut client = proxy.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "green", "the old one serves until the new one is up");
    }
    assert!(applications[1].heads().is_empty(), "it has not passed a probe");
    applications[1].set_silent(false);
    until_up(&proxy, port, &[3]).await;
    applications[0].forget();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "green");
    }
    assert!(applications[0].heads().is_empty(), "it gets no new request");
    applications[0].open_gate();
    assert!(soon("the request in flight", gated.answer()).await.complete, "it is answered in full");
    until("connections to it are closed", async || (applications[0].connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_switch_asks_the_name_server_before_the_endpoints() {
    let blue = Application::start("blue").await;
    let (port, applications) = at([2, 3]).await;
    let names = NameServer::start().await;
    names.says(NAME, &["127.0.0.2"]);
    let mut setup = setup(&blue, &format!("{NAME}:{port}"), &names);
    setup.more = setup.more.replace("min_ttl = \"100ms\"", "min_ttl = \"1h\"\nmax_ttl = \"1h\"");
    let proxy = setup.start().await;
    until_up(&proxy, port, &[2]).await;
    names.says(NAME, &["127.0.0.3"]);
    tokio::time::sleep(Duration::from_millis(250)).await;
    proxy.switch("green").await;
    until_up(&proxy, port, &[3]).await;
    assert_eq!(proxy.color().await, "green");
    assert!(!applications[1].heads().is_empty());
}

#[tokio::test]
async fn a_request_that_comes_before_the_first_answer_waits_for_it() {
    let blue = Application::start("blue").await;
    let (port, _applications) = at([2]).await;
    let names = NameServer::start().await;
    names.says(NAME, &["127.0.0.2"]);
    names.is(Mood::AnswersAfter(Duration::from_millis(300)));
    let mut setup = setup(&blue, &format!("{NAME}:{port}"), &names);
    setup.active = "green";
    let proxy = setup.start().await;
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_service_has_the_ports_of_its_records_and_the_targets_that_come_first() {
    let blue = Application::start("blue").await;
    let (first, _one) = at([2]).await;
    let (second, _two) = at([3]).await;
    let names = NameServer::start().await;
    names.says_service(
        "_http._tcp.shop.test",
        &[(10, first, "one.test"), (10, second, "two.test"), (20, 9, "one.test")],
    );
    names.says("one.test", &["127.0.0.2"]);
    names.says("two.test", &["127.0.0.3"]);
    let service = "srv+_http._tcp.shop.test";
    let proxy = setup(&blue, service, &names).start().await;
    let up = |address: String| (format!("{service} ({address})"), "up".to_owned());
    let wanted = [up(format!("127.0.0.2:{first}")), up(format!("127.0.0.3:{second}"))];
    proxy.until("both targets are up", |status| green(status) == wanted).await;
    proxy.switch("green").await;
    assert_eq!(proxy.color().await, "green");
    assert!(names.asked("_http._tcp.shop.test") > 0);
}

#[tokio::test]
async fn the_family_says_which_addresses_of_a_name_are_endpoints() {
    let blue = Application::start("blue").await;
    let names = NameServer::start().await;
    names.says(NAME, &["127.0.0.2", "::1"]);
    names.says("six.test", &["::1"]);
    let mut setup = setup(&blue, &format!("{NAME}:9\", \"six.test:9"), &names);
    let (v4, v6) = (format!("{NAME}:9 (127.0.0.2)"), format!("{NAME}:9 (::1)"));
    let (six, nothing) = ("six.test:9 (::1)".to_owned(), "six.test:9".to_owned());
    let is = |wanted: Vec<&String>| {
        let wanted: Vec<String> = wanted.into_iter().cloned().collect();
        move |status: &Value| green(status).into_iter().map(|(name, _)| name).eq(wanted.iter().cloned())
    };
    let proxy = setup.start().await;
    proxy.until("IPv4, and IPv6 where there is no other", is(vec![&v4, &six])).await;
    let usual = std::mem::take(&mut setup.more);
    for (family, wanted) in [("all", vec![&v4, &v6, &six]), ("ipv6", vec![&v6, &six])] {
        setup.more = format!("{usual}family = \"{family}\"\n");
        std::fs::write(proxy.file(), setup.text(proxy.dir.path())).expect("a file");
        proxy.until(family, is(wanted)).await;
    }
    setup.more = format!("{usual}family = \"ipv4\"\n");
    let proxy = setup.start().await;
    proxy.until("IPv4 alone", is(vec![&v4, &nothing])).await;
    let status = proxy.until("it says why", |status| status["names"][1]["error"].as_str().is_some()).await;
    assert_eq!(status["names"][1]["error"], "there is no such name, or it has no address");
}
