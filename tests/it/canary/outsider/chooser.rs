//! A stranger who makes up users until dozens of them are on the new release, and then asks it alone for what fails, hangs or is missing on
//! both releases, on a route that others use. Beside that, visitors from many networks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Endpoints, Site};
use crate::client::Connection;
use crate::proxy::Setup;
use crate::until;

/// Users that the stranger makes up.
const USERS: usize = 60;
/// What fails, takes long, or is not there, on both releases.
const BAD: [&str; 3] = ["/shop?fails", "/shop?slow", "/shop?missing"];

async fn site(sticky: &str, more: &str) -> Site {
    let endpoints = Endpoints::start(false).await;
    let (blue, green) = endpoints.addresses();
    let more = format!(
        "[canary]\nsteps = [\"40%\"]\ndwell = \"1h\"\nmax_step = \"2h\"\nsticky = \"{sticky}\"\nroutes = [\"/shop\"]\n{more}\
         [analysis]\ntick = \"100ms\"\nwarmup = {{ requests = 0, time = \"0s\" }}\n"
    );
    let listen = "trusted_proxies = [\"127.0.0.1\"]\n".to_owned();
    let setup = Setup { more, listen, ..Setup::at(blue, green) };
    let site = Site { proxy: setup.start().await, _endpoints: endpoints };
    // How long answers of this route take has to be known.
    let mut connection = site.proxy.connect().await;
    for _ in 0..200 {
        connection.send("GET /shop HTTP/1.1\r\nHost: shop\r\n\r\n").await;
        assert_eq!(connection.answer().await.status, 200);
    }
    let answer = site.proxy.post("/admin/canary", json!({ "force": true, "reason": "release 2" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    site
}

/// Asks as a user; the status and the text of the answer.
async fn ask(connection: &mut Connection, path: &str, fields: &str) -> Option<(u16, String)> {
    connection.try_send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{fields}\r\n")).await.ok()?;
    let answer = connection.try_answer(false).await?;
    Some((answer.status, answer.text().to_owned()))
}

/// What makes a user of this number, as far as users choose that.
fn user(sticky: &str, name: &str) -> String {
    match sticky.split_once(':') {
        Some(("cookie", cookie)) => format!("Cookie: {cookie}={name}\r\n"),
        Some((_, header)) => format!("{header}: {name}\r\n"),
        None => String::new(),
    }
}

/// A new user: the field that makes one, and the color.
async fn newcomer(connection: &mut Connection, sticky: &str, name: &str, from: &str) -> (String, String) {
    let fields = user(sticky, name);
    connection.send(format!("GET / HTTP/1.1\r\nHost: shop\r\n{fields}{from}\r\n")).await;
    let answer = connection.answer().await;
    let set = answer.header("set-cookie").and_then(|set| set.split(';').next());
    (set.map_or(fields, |cookie| format!("Cookie: {cookie}\r\n")), answer.text().to_owned())
}

/// So many users of the stranger, on a color.
async fn made_up(proxy: SocketAddr, sticky: &str, color: &str) -> Vec<String> {
    let (mut connection, mut found, mut number) = (Connection::tcp(proxy).await, Vec::new(), 0);
    while found.len() < USERS {
        let (fields, given) = newcomer(&mut connection, sticky, &format!("stranger{color}{number}"), "").await;
        if given == color {
            found.push(fields);
        }
        number += 1;
        assert!(number < 2_000, "nobody gets to {color}");
    }
    found
}

/// Everything bad, by each user, so many times.
async fn attack(proxy: SocketAddr, users: &[String], paths: &[&str], times: usize) {
    let one = async |fields: &String| {
        let mut connection = Connection::tcp(proxy).await;
        for path in std::iter::repeat_n(paths, times).flatten() {
            if ask(&mut connection, path, fields).await.is_none() {
                connection = Connection::tcp(proxy).await;
            }
        }
    };
    futures_util::future::join_all(users.iter().map(one)).await;
}

/// Visitors, each from a network of its own: a first request that is always good, and then, again and again, this one.
struct Visitors {
    ended: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Visitors {
    fn start(proxy: SocketAddr, sticky: &'static str, count: usize, path: &'static str) -> Visitors {
        let visitors = Visitors { ended: Arc::default(), asked: Arc::default() };
        for visitor in 0..count {
            let (ended, asked) = (Arc::clone(&visitors.ended), Arc::clone(&visitors.asked));
            tokio::spawn(async move {
                let from = format!("X-Forwarded-For: 10.{}.{}.7\r\n", visitor / 250, visitor % 250);
                let mut connection = Connection::tcp(proxy).await;
                let (fields, _) = newcomer(&mut connection, sticky, &format!("visitor{visitor}"), &from).await;
                let fields = format!("{fields}{from}");
                while !ended.load(Ordering::SeqCst) && ask(&mut connection, path, &fields).await.is_some() {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        visitors
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

async fn canary(site: &Site) -> Value {
    site.proxy.admin("GET", "/admin/canary", "").await.json()["canary"].clone()
}

async fn is_rolled_back(site: &Site) {
    until("the release is rolled back", async || {
        site.kinds().await.iter().any(|kind| kind.starts_with("rollback")).then_some(())
    })
    .await;
}

async fn proves_nothing(sticky: &'static str) {
    let site = site(sticky, "").await;
    let visitors = Visitors::start(site.proxy.http, sticky, 40, "/shop");
    let users = made_up(site.proxy.http, sticky, "green").await;
    attack(site.proxy.http, &users, &BAD, 4).await;
    let asked = visitors.asked();
    until("visitors are served after it", async || (visitors.asked() > asked + 400).then_some(())).await;
    let (canary, kinds) = (canary(&site).await, site.kinds().await);
    assert!(kinds.iter().all(|kind| matches!(kind.as_str(), "start" | "canary" | "drained")), "{kinds:?}");
    let verdict = canary["judgement"]["verdict"].as_str();
    assert!(matches!(verdict, Some("insufficient" | "pass")), "{canary}");
    let seen = &canary["routes"][0]["candidate"];
    assert!(seen["errors"].as_u64() >= Some(200), "all of it is shown: {seen}");
}

#[tokio::test]
async fn who_makes_up_users_proves_nothing_with_a_cookie_of_the_proxy() {
    proves_nothing("cookie").await;
}

#[tokio::test]
async fn who_makes_up_users_proves_nothing_with_a_cookie_of_the_application() {
    proves_nothing("cookie:user").await;
}

#[tokio::test]
async fn who_makes_up_users_proves_nothing_with_a_field() {
    proves_nothing("header:x-user").await;
}

#[tokio::test]
async fn who_makes_up_users_has_a_release_rolled_back_where_networks_have_no_bound() {
    let site = site("cookie:user", "evidence_per_network = 0\n").await;
    let users = made_up(site.proxy.http, "cookie:user", "green").await;
    attack(site.proxy.http, &users, &BAD, 2).await;
    is_rolled_back(&site).await;
}

#[tokio::test]
async fn who_makes_up_users_hides_no_regression() {
    for sticky in ["cookie", "header:x-user"] {
        let site = site(sticky, "").await;
        let proxy = site.proxy.http;
        let (green, blue) = tokio::join!(made_up(proxy, sticky, "green"), made_up(proxy, sticky, "blue"));
        // What is good on the new release, and what fails on the old one.
        let strangers = tokio::spawn(async move {
            tokio::join!(
                attack(proxy, &green, &["/shop"], usize::MAX >> 8),
                attack(proxy, &blue, &["/shop?fails"], usize::MAX >> 8)
            )
        });
        let _visitors = Visitors::start(proxy, sticky, 150, "/shop?broken-green");
        is_rolled_back(&site).await;
        strangers.abort();
    }
}

#[tokio::test]
async fn all_users_behind_one_address_are_little_evidence_and_the_status_says_so() {
    let site = site("cookie:user", "").await;
    let users = made_up(site.proxy.http, "cookie:user", "green").await;
    attack(site.proxy.http, &users, &["/shop"], 2).await;
    let few = until("it is told", async || canary(&site).await["evidence"]["few_networks"].as_u64()).await;
    assert_eq!(few, 1);
    let said = site.proxy.cli(&["status"]).await;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("evidence is thin: all requests come from 1 client network"), "{said}");
}
