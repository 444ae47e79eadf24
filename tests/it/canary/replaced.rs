//! The process that the last evidence is about answers, or nobody does: an application that was replaced on its port, and
//! lives on for its open connections, gets no request any more.

mod process;
mod stated;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::canary::replaced::process::{Place, Process, Speaks};
use crate::certificates::{Authority, replace};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

const HTTP1: Speaks = Speaks { http2: false, tls: None };
const HTTP2: Speaks = Speaks { http2: true, tls: None };
/// Clients that ask one request after the other.
const CLIENTS: usize = 6;

/// Asks all the time, and holds every answer against who may have given it.
struct Load {
    seen: Arc<Seen>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    answers: AtomicUsize,
    /// Processes are named `slot:number`; of each slot, the first number that may still answer.
    first: [AtomicUsize; 2],
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    async fn ask(&self, client: &mut Connection) -> Option<()> {
        let first = [0, 1].map(|slot: usize| self.first[slot].load(Ordering::SeqCst));
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
        let answer = client.try_answer(false).await?;
        let (slot, number) = match answer.text().split_once(':') {
            Some((slot, number)) if answer.status == 200 => (slot, number),
            _ => {
                self.is_wrong(format!("{} {:?}", answer.status, answer.text()));
                return Some(());
            }
        };
        let (slot, number): (usize, usize) = (slot.parse().expect("a slot"), number.parse().expect("a number"));
        if number < first[slot] {
            self.is_wrong(format!("{number} answered in slot {slot}, and {} had replaced it", first[slot]));
        }
        self.answers.fetch_add(1, Ordering::SeqCst);
        Some(())
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().expect("no panic while it is held").push(what);
    }
}

impl Load {
    fn start(proxy: &Proxy) -> Load {
        let (seen, mut clients) = (Arc::new(Seen::default()), JoinSet::new());
        for _ in 0..CLIENTS {
            let (seen, to) = (Arc::clone(&seen), proxy.http);
            clients.spawn(async move {
                let mut client = Connection::tcp(to).await;
                loop {
                    if seen.ask(&mut client).await.is_none() {
                        seen.is_wrong("no answer".to_owned());
                        client = Connection::tcp(to).await;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        Load { seen, clients }
    }

    /// From now on only this one, and those behind it, may answer in this slot.
    fn only(&self, slot: usize, number: usize) {
        self.seen.first[slot].store(number, Ordering::SeqCst);
    }

    /// Some more requests were answered.
    async fn goes_on(&self) {
        let before = self.seen.answers.load(Ordering::SeqCst);
        let all = || self.seen.answers.load(Ordering::SeqCst) >= before + 4 * CLIENTS;
        until("requests are answered", async || all().then_some(())).await;
    }

    /// How many were answered, none of them wrongly.
    async fn end(mut self) -> usize {
        self.clients.shutdown().await;
        let wrong = self.seen.wrong.lock().expect("no panic while it is held");
        let answers = self.seen.answers.load(Ordering::SeqCst);
        assert!(wrong.is_empty(), "{} of {answers} answers, first {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
        answers
    }
}

/// Two places, and what their processes speak.
struct Site {
    setup: Setup,
    speaks: Speaks,
    places: [Place; 2],
    authority: Option<Authority>,
    _ports: Vec<socket2::Socket>,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new(speaks: Speaks, unix: bool) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ports = Vec::new();
        let places = [0, 1].map(|slot| {
            if unix {
                return Place::Unix(dir.path().join(format!("{slot}.sock")));
            }
            let (place, port) = Place::tcp();
            ports.push(port);
            place
        });
        let anywhere = "127.0.0.1:1".parse().expect("an address");
        let mut setup = Setup::at(anywhere, anywhere);
        if speaks.http2 {
            setup.more = "[upstream.default]\nprotocol = \"http2\"\n".to_owned();
        }
        Site { setup, speaks, places, authority: None, _ports: ports, _dir: dir }
    }

    fn over_tls(http2: bool) -> Site {
        let authority = Authority::new();
        let alpn: &[&str] = if http2 { &["h2"] } else { &[] };
        let tls = authority.server(&authority.issue(&["app.internal"]), alpn, false);
        let mut site = Site::new(Speaks { http2, tls: Some(tls) }, false);
        site.setup.more += "[upstream.default.tls]\nca = \"DIR/ca.pem\"\nserver_name = \"app.internal\"\n";
        site.authority = Some(authority);
        site
    }

    fn process(&self, slot: usize, name: &str) -> Process {
        Process::start(name, &self.places[slot], &self.speaks)
    }

    /// The file, with these labels.
    fn text(&self, dir: &std::path::Path, blue: &str, green: &str) -> String {
        let text = self.setup.text(dir).replace("DIR", &dir.display().to_string());
        text.replace("1.0", blue).replace("2.0", green)
    }

    /// Blue has the first place, and green the second one.
    async fn start(&mut self) -> Proxy {
        let [blue, green] = [0, 1].map(|slot| self.places[slot].endpoint());
        self.setup.blue = format!("release = \"1.0\"\nendpoints = [\"{blue}\"]");
        self.setup.green = format!("release = \"2.0\"\nendpoints = [\"{green}\"]");
        self.start_as_it_is().await
    }

    async fn start_as_it_is(&self) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        if let Some(authority) = &self.authority {
            replace(&dir.path().join("ca.pem"), &authority.pem());
        }
        let text = self.text(dir.path(), "0:0", "0:1");
        Proxy::start_in(dir, &text).await
    }
}

/// Deploys onto the color that does not serve, again and again, on the same two ports. Every old process lives on.
async fn deploys(mut site: Site, rounds: usize) {
    let mut present = [site.process(0, "0:0"), site.process(1, "0:1")];
    let proxy = site.start().await;
    let load = Load::start(&proxy);
    let mut old = Vec::new();
    for number in 1..=rounds {
        let (idle, color) = if number % 2 == 1 { (1, "green") } else { (0, "blue") };
        if number > 1 {
            let name = format!("0:{number}");
            present[idle].stop_gracefully().await;
            old.push(std::mem::replace(&mut present[idle], site.process(idle, &name)));
            let [blue, green] = &present;
            proxy.replace_file(&file(&site, &proxy, &blue.name, &green.name));
        }
        load.goes_on().await;
        // Without a gate the moment of the order counts.
        let force = number % 3 == 0;
        let answer = proxy.post("/admin/switch", json!({ "to": color, "force": force })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        load.only(0, number);
        load.goes_on().await;
        proxy.until("what was left is drained", |status| status["draining"].is_null()).await;
        let left = &present[1 - idle];
        until("an idle application can stop at once", async || (left.open() == 0).then_some(())).await;
    }
    let answers = load.end().await;
    assert!(answers >= rounds * 2 * CLIENTS, "{answers}");
}

#[tokio::test]
async fn an_idle_application_is_left_without_connections() {
    for speaks in [HTTP1, HTTP2] {
        let mut site = Site::new(speaks, false);
        site.setup.more += "[preview]\nallow = [\"127.0.0.1/32\"]\n";
        let (_blue, green) = (site.process(0, "0:0"), site.process(1, "0:1"));
        let proxy = site.start().await;
        let free = async |after: &str| {
            until(&format!("none is open after {after}"), async || (green.open() == 0).then_some(())).await;
        };
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.text(), "0:0");
        for _ in 0..3 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\nx-cutover-color: green\r\n\r\n").await;
            assert_eq!(client.answer().await.text(), "0:1");
        }
        free("a preview").await;
        let answer = proxy.post("/admin/switch", json!({ "to": "green", "dry_run": true })).await;
        assert_eq!((answer.status, &answer.json()["changed"]), (200, &json!(true)), "{}", answer.text());
        free("a gate that moved nothing").await;
        proxy.switch("green").await;
        assert_eq!(client.get("/").await.text(), "0:1");
        let answer = proxy.post("/admin/rollback", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(client.get("/").await.text(), "0:0");
        free("a rollback").await;
    }
}

/// The file of today with these labels, and with the order that is in it.
fn file(site: &Site, proxy: &Proxy, blue: &str, green: &str) -> String {
    let active = if proxy.text().contains("active = \"green\"") { "green" } else { "blue" };
    site.text(proxy.dir.path(), blue, green).replace("active = \"blue\"", &format!("active = \"{active}\""))
}

#[tokio::test]
async fn a_process_that_was_replaced_before_a_switch_gets_no_request_over_http1() {
    deploys(Site::new(HTTP1, false), 20).await;
}

#[tokio::test]
async fn a_process_that_was_replaced_before_a_switch_gets_no_request_over_http2() {
    deploys(Site::new(HTTP2, false), 20).await;
}

#[tokio::test]
async fn a_process_that_was_replaced_before_a_switch_gets_no_request_over_tls() {
    deploys(Site::over_tls(false), 10).await;
}

#[tokio::test]
async fn a_process_that_was_replaced_before_a_switch_gets_no_request_over_tls_and_http2() {
    deploys(Site::over_tls(true), 10).await;
}

#[tokio::test]
async fn a_process_that_was_replaced_before_a_switch_gets_no_request_over_a_unix_socket() {
    deploys(Site::new(HTTP1, true), 10).await;
}

/// Both endpoints of the color that serves.
async fn both_of_blue(site: &mut Site) -> (Vec<Process>, Proxy) {
    let [one, other] = [0, 1].map(|slot| site.places[slot].endpoint());
    site.setup.blue = format!("release = \"1.0\"\nendpoints = [\"{one}\", \"{other}\"]");
    site.setup.green = "release = \"2.0\"\nendpoints = [\"127.0.0.1:1\"]".to_owned();
    let present = vec![site.process(0, "0:0"), site.process(1, "1:0")];
    let proxy = site.start_as_it_is().await;
    proxy.until("both are up", |status| (0..2).all(|slot| health(status, slot) == "up")).await;
    (present, proxy)
}

fn health(status: &Value, slot: usize) -> &str {
    status["blue"]["endpoints"][slot]["health"].as_str().expect("a word")
}

/// New processes take the place of those that serve, without a moment in which nobody listens, and the label follows.
async fn in_place(mut site: Site, rounds: usize) {
    let (mut present, proxy) = both_of_blue(&mut site).await;
    let load = Load::start(&proxy);
    let mut old = Vec::new();
    for number in 1..=rounds {
        load.goes_on().await;
        for slot in [0, 1] {
            let next = site.process(slot, &format!("{slot}:{number}"));
            let mut before = std::mem::replace(&mut present[slot], next);
            before.stop_gracefully().await;
            old.push(before);
        }
        proxy.replace_file(&file(&site, &proxy, &format!("0:{number}"), "0:1"));
        let answer = proxy.post("/admin/reload", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for slot in [0, 1] {
            load.only(slot, number);
        }
        load.goes_on().await;
    }
    load.end().await;
    let open = || old.iter().map(Process::open).sum::<usize>();
    until("no connection to an old process is left", async || (open() == 0).then_some(())).await;
}

#[tokio::test]
async fn the_label_of_the_color_that_serves_ends_the_connections_made_before_it() {
    in_place(Site::new(HTTP1, false), 5).await;
    in_place(Site::new(HTTP2, false), 5).await;
}

#[tokio::test]
async fn a_socket_that_another_process_took_ends_the_connections_made_before() {
    let mut site = Site::new(HTTP1, true);
    in_place(Site::new(HTTP1, true), 5).await;
    // Also where nobody edits a label, and no probe fails.
    let (mut present, proxy) = both_of_blue(&mut site).await;
    let load = Load::start(&proxy);
    let mut old = Vec::new();
    for number in 1..=5 {
        load.goes_on().await;
        for slot in [0, 1] {
            let next = site.process(slot, &format!("{slot}:{number}"));
            old.push(std::mem::replace(&mut present[slot], next));
        }
        let open = || old.iter().map(Process::open).sum::<usize>();
        until("nothing is connected to the old ones", async || (open() == 0).then_some(())).await;
        for slot in [0, 1] {
            load.only(slot, number);
        }
    }
    load.goes_on().await;
    load.end().await;
}

/// An endpoint goes away and comes back, as another process; what was under way there breaks now and then.
async fn comes_back(mut site: Site, rounds: usize) {
    let policy = "eject = { consecutive = 2, for = \"1s\" }\nslow_start = \"1s\"\n";
    if site.setup.more.is_empty() {
        site.setup.more = "[upstream.default]\n".to_owned();
    }
    site.setup.more += &format!("{policy}[retry]\nattempts = 3\nbudget = \"100%\"\n");
    let (mut present, proxy) = both_of_blue(&mut site).await;
    let load = Load::start(&proxy);
    let mut old = Vec::new();
    for number in 1..=rounds {
        let slot = number % 2;
        load.goes_on().await;
        if number % 3 == 0 {
            present[slot].be_flaky();
        }
        present[slot].stop_gracefully().await;
        proxy.until("it is down", |status| health(status, slot) == "down").await;
        let next = site.process(slot, &format!("{slot}:{number}"));
        old.push(std::mem::replace(&mut present[slot], next));
        load.only(slot, number);
        proxy.until("it is up", |status| health(status, slot) == "up").await;
        load.goes_on().await;
    }
    load.end().await;
}

#[tokio::test]
async fn an_endpoint_that_was_down_comes_back_with_new_connections() {
    comes_back(Site::new(HTTP1, false), 10).await;
    comes_back(Site::new(HTTP2, false), 5).await;
}

#[tokio::test]
async fn a_request_in_flight_ends_where_it_began_and_the_next_one_goes_to_the_new_process() {
    for speaks in [HTTP1, HTTP2] {
        let mut site = Site::new(speaks, false);
        let (mut old, _green) = (site.process(0, "0:0"), site.process(1, "0:1"));
        let proxy = site.start().await;
        let mut held = proxy.connect().await;
        held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(held.head().await.expect("a head").status, 200);
        let _new = site.process(0, "0:2");
        old.stop_gracefully().await;
        proxy.replace_file(&site.text(proxy.dir.path(), "0:2", "0:1"));
        assert_eq!(proxy.post("/admin/reload", json!({})).await.status, 200);
        for _ in 0..20 {
            assert_eq!(proxy.get("/").await.text(), "0:2");
        }
        assert_eq!(old.open(), 1, "only the connection with the request");
        old.open_gate();
        assert_eq!(held.exactly(3).await.expect("the rest"), b"0:0");
        until("it can end", async || (old.open() == 0).then_some(())).await;
        assert_eq!(held.get("/").await.text(), "0:2");
    }
}

#[tokio::test]
async fn a_request_that_finds_nobody_listening_ends_the_old_connections() {
    let mut site = Site::new(HTTP1, false);
    // No probe tells.
    site.setup.health = "path = \"/healthz\"\ninterval = \"1h\"".to_owned();
    site.setup.more = "[upstream.default]\neject = false\nbalance = \"round-robin\"\n".to_owned();
    let (mut present, proxy) = both_of_blue(&mut site).await;
    let load = Load::start(&proxy);
    for (number, clients) in [(1, 32), (2, 96)] {
        load.goes_on().await;
        let slot = number % 2;
        present[slot].stop_gracefully().await;
        // More requests at once than there are connections.
        let held: Vec<_> = futures_util::future::join_all((0..clients).map(async |_| {
            let mut client = proxy.connect().await;
            client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(client.head().await.expect("a head").status, 200);
            client
        }))
        .await;
        let next = site.process(slot, &format!("{slot}:{number}"));
        let old = std::mem::replace(&mut present[slot], next);
        load.only(slot, number);
        load.goes_on().await;
        old.open_gate();
        present.iter().for_each(Process::open_gate);
        drop(held);
        until("nothing is left of it", async || (old.open() == 0).then_some(())).await;
    }
    load.end().await;
}
