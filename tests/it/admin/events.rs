//! Server-sent events.

use serde_json::{Value, json};

use crate::admin::{OPERATOR, VIEWER, pair, with_tokens};
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

/// A stream of events.
pub(super) struct Events {
    connection: Connection,
    read: String,
}

#[derive(Debug)]
pub(super) struct Event {
    id: Option<u64>,
    name: String,
    pub(super) data: Value,
}

impl Events {
    pub(super) async fn open(proxy: &Proxy, fields: &str) -> Events {
        let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
        connection.send(format!("GET /admin/events HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        let head = connection.head().await.expect("a head");
        Events::following(&head, connection)
    }

    fn following(head: &Answer, connection: Connection) -> Events {
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        Events { connection, read: String::new() }
    }

    async fn next(&mut self) -> Event {
        soon("an event", async {
            loop {
                if let Some(end) = self.read.find("\n\n") {
                    let text: String = self.read.drain(..end + 2).collect();
                    return parsed(&text);
                }
                let size = self.connection.line().await.expect("a chunk");
                let size = usize::from_str_radix(&size, 16).expect("a size");
                let bytes = self.connection.exactly(size).await.expect("a whole chunk");
                self.read.push_str(&String::from_utf8(bytes).expect("text"));
                self.connection.line().await;
            }
        })
        .await
    }

    pub(super) async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.name == name {
                return event;
            }
        }
    }
}

fn parsed(text: &str) -> Event {
    let mut event = Event { id: None, name: String::new(), data: Value::Null };
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once(": ").unwrap_or_else(|| panic!("no field in {line:?}")) {
            ("id", id) => event.id = Some(id.parse().expect("a number")),
            ("event", name) => event.name = name.to_owned(),
            ("data", data) => event.data = serde_json::from_str(data).expect("JSON"),
            (other, _) => panic!("an unknown field {other:?}"),
        }
    }
    event
}

#[tokio::test]
async fn a_transition_arrives_with_its_number_and_the_status_again_and_again() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut events = Events::open(&proxy, "").await;
    let first = events.next_named("status").await;
    assert_eq!((&first.data["active"], first.id), (&json!("blue"), None));
    proxy.post("/admin/switch", json!({ "reason": "seen live" })).await;
    let transition = events.next_named("transition").await;
    assert_eq!((&transition.data["kind"], &transition.data["reason"]), (&json!("switch"), &json!("seen live")));
    assert_eq!(transition.id, transition.data["sequence"].as_u64());
    let drained = events.next_named("drained").await;
    assert_eq!((&drained.data["color"], &drained.data["ended"]), (&json!("blue"), &json!(0)));
    for _ in 0..2 {
        assert_eq!(events.next_named("status").await.data["active"], "green");
    }
    let mut history = proxy.admin("GET", "/admin/history?limit=1", "").await.json();
    // How its drain ended came later.
    history["transitions"][0].as_object_mut().expect("an object").remove("drained");
    assert_eq!(history["transitions"][0], transition.data, "the same as in the history");
}

#[tokio::test]
async fn health_changes_and_reloads_arrive_too() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.until("green is up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    let mut events = Events::open(&proxy, "").await;
    events.next_named("status").await;
    green.set_healthy(false);
    let health = events.next_named("health").await;
    assert_eq!((&health.data["color"], &health.data["health"]), (&json!("green"), &json!("down")), "{health:?}");
    assert_eq!((&health.data["endpoint"], &health.data["detail"]), (&json!(green.address.to_string()), &json!("503")));
    let good = proxy.text();
    proxy.replace_file("active = 7\n");
    let reloaded = events.next_named("reloaded").await;
    assert!(reloaded.data["error"].as_str().is_some_and(|error| error.contains("active")), "{reloaded:?}");
    proxy.replace_file(&good);
    assert_eq!(events.next_named("reloaded").await.data, json!({ "error": null }));
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_in_order_and_once() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    proxy.switch("blue").await;
    let seen = proxy.admin("GET", "/admin/history?limit=1", "").await.json()["transitions"][0]["sequence"].clone();
    for color in ["green", "blue", "green"] {
        proxy.switch(color).await;
    }
    let mut events = Events::open(&proxy, &format!("Last-Event-ID: {seen}\r\n")).await;
    let mut told = Vec::new();
    for to in ["green", "blue", "green"] {
        let event = events.next().await;
        assert_eq!((event.name.as_str(), &event.data["to"]), ("transition", &json!(to)));
        told.push(event.id.expect("a number"));
    }
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    proxy.switch("blue").await;
    let next = events.next_named("transition").await;
    assert_eq!(next.data["to"], "blue");
    assert!(next.id > told.last().copied());

    // Who has seen everything gets nothing again.
    let mut events = Events::open(&proxy, &format!("Last-Event-ID: {}\r\n", next.id.expect("a number"))).await;
    assert_eq!(events.next().await.name, "status");
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    connection.send("GET /admin/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: x\r\n\r\n").await;
    let answer = connection.answer().await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")));
}

#[tokio::test]
async fn a_viewer_may_listen() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    assert_eq!(proxy.ask("GET", "/admin/events", &[], "").await.status, 401);
    let mut connection = proxy.connect().await;
    connection
        .send(format!("GET /admin/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {VIEWER}\r\n\r\n"))
        .await;
    let head = connection.head().await.expect("a head");
    let mut events = Events::following(&head, connection);
    events.next_named("status").await;
    assert_eq!(proxy.with_token(OPERATOR, "POST", "/admin/switch", "").await.status, 200);
    assert_eq!(events.next_named("transition").await.data["actor"], "deploy");
}

#[tokio::test]
async fn listeners_that_do_not_read_hold_nothing_up() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut deaf = Vec::new();
    for _ in 0..20 {
        deaf.push(Events::open(&proxy, "").await);
    }
    for color in ["green", "blue"].into_iter().cycle().take(30) {
        proxy.switch(color).await;
    }
    assert_eq!(proxy.status().await["generation"], 31);
    // And what was sent meanwhile is whole.
    let last = deaf.pop().expect("one of them");
    let mut events = last;
    while events.next_named("transition").await.data["generation"] != 31 {}
}

#[tokio::test]
async fn listeners_leave_room_for_commands() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let socket = proxy.dir.path().join("admin.sock");
    let mut listeners = Vec::new();
    let refused = soon("one too many", async {
        loop {
            let mut connection = Connection::unix(&socket).await.expect("the socket");
            connection.send("GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            let head = connection.head().await.expect("a head");
            if head.status != 200 {
                break head;
            }
            listeners.push(Events::following(&head, connection));
        }
    });
    let refused = refused.await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(listeners.len() >= 100, "only {} may listen", listeners.len());
    assert_eq!(proxy.switch("green").await["active"], "green");
    listeners.clear();
    until("a place is free again", async || {
        let mut connection = Connection::unix(&socket).await.ok()?;
        connection.send("GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        (connection.head().await?.status == 200).then_some(())
    })
    .await;
}
