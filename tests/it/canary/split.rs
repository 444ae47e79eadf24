//! Both colors serve: how requests are shared, what is counted of them, and what a shield does. The data plane as it is, on
//! real sockets; what is decided is decided here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cutover::internals::config::{AccessLog, Config, LogConfig, LogFormat};
use cutover::internals::domain::analysis::Thresholds;
use cutover::internals::domain::color::{Color, PerColor};
use cutover::internals::domain::deployment::Deployment;
use cutover::internals::domain::release::Release;
use cutover::internals::domain::split::Weight;
use cutover::internals::domain::transition::{Decision, Generation};
use cutover::internals::domain::verdict::Class;
use cutover::internals::evidence::routes::{Counts, Sampler};
use cutover::internals::proxy::drain::Drain;
use cutover::internals::proxy::publisher::Publisher;
use cutover::internals::samples::canary;
use cutover::internals::server::plane::Plane;
use cutover::internals::telemetry::access_log::AccessLogWriter;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::{Application, pair};
use crate::client::{Answer, Connection};
use crate::{soon, until};

/// A data plane, and somebody who decides.
pub(crate) struct Site {
    pub(crate) plane: Plane,
    pub(crate) publisher: Publisher,
    config: Config,
    sampler: Sampler,
    generation: u64,
    _log: AccessLogWriter,
    dir: tempfile::TempDir,
}

impl Site {
    pub(crate) fn start(blue: SocketAddr, green: SocketAddr, more: &str) -> Site {
        Site::among(blue, &format!("\"{green}\""), more)
    }

    /// With these endpoints of green, in quotes.
    pub(crate) fn among(blue: SocketAddr, green: &str, more: &str) -> Site {
        Site::with(2, blue, green, more)
    }

    /// The same, with so many workers.
    pub(crate) fn with(workers: u8, blue: SocketAddr, green: &str, more: &str) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let text = format!(
            "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = {workers}\n\
             trusted_proxies = [\"127.0.0.1\"]\n\
             [blue]\nrelease = \"1\"\nendpoints = [\"{blue}\"]\n[green]\nrelease = \"2\"\nendpoints = [{green}]\n{more}"
        );
        let config = Config::parse(Path::new("test.toml"), &text).expect("a valid configuration");
        let (mut plane, mut publisher) = Plane::alone(&config).expect("a free port");
        publisher.trust(publisher.trusted().load(&config).expect("certificates"));
        assert!(publisher.publish(&config, &decision(1, None)).is_none());
        let target = AccessLog::File(dir.path().join("access.log"));
        let log =
            AccessLogWriter::start(&LogConfig { access: target, format: LogFormat::Json, ..LogConfig::default() })
                .expect("a file");
        plane.start(&log).expect("threads");
        plane.set_ready(true);
        let sampler = Sampler::new(Arc::clone(publisher.routes()));
        Site { plane, publisher, config, sampler, generation: 1, _log: log, dir }
    }

    /// Publishes what green gets; `None`: there is no deployment.
    pub(crate) fn weight(&mut self, basis_points: Option<u16>) -> Option<Drain> {
        self.generation += 1;
        self.publisher.publish(&self.config, &decision(self.generation, basis_points))
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::tcp(self.plane.local_addr()).await
    }

    async fn get(&self, path: &str, fields: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        client.answer().await
    }

    /// Everything that was counted on a route since the last time that anything was asked for, by color.
    pub(crate) fn counted(&mut self, route: &str) -> PerColor<Counts> {
        let mut sums: PerColor<Counts> = PerColor::default();
        let sample = self.sampler.sample(Weight::HALF);
        let wanted = sample.routes.iter().filter(|of| route == ANY || *of.name == *route);
        for batch in wanted.flat_map(|of| &of.batches) {
            for color in Color::ALL {
                sums[color].add(&batch.done[color]);
            }
        }
        sums
    }

    /// The same, once so many requests are over.
    async fn completed(&mut self, route: &str, color: Color, completed: u64) -> Counts {
        let mut sum = Counts::default();
        until("they are over", async || {
            sum.add(&self.counted(route)[color]);
            (sum.completed >= completed).then_some(sum)
        })
        .await
    }

    pub(crate) async fn logged(&self, what: impl Fn(&Value) -> bool) -> Value {
        until("it is in the access log", async || {
            let text = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).find(&what)
        })
        .await
    }
}

fn decision(generation: u64, basis_points: Option<u16>) -> Decision {
    let release = Release::new("1");
    let weight = basis_points.map(|basis_points| Weight::new(basis_points).expect("a share"));
    let deployment = weight.map(|weight| Deployment { salt: 4711, ..canary(2, weight) });
    Decision {
        generation: Generation(generation),
        deployment,
        ..Decision::first(Color::Blue, release, SystemTime::UNIX_EPOCH)
    }
}

/// An endpoint that says this to every request on `/bad`, and `fine` to all others.
async fn failing(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 64 << 10];
                loop {
                    let Ok(read @ 1..) = stream.read(&mut head).await else { return };
                    let bad = String::from_utf8_lossy(&head[..read]).contains(" /bad");
                    let answer = if bad { answer } else { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine" };
                    if answer == SILENT {
                        std::future::pending::<()>().await;
                    }
                    if stream.write_all(answer.as_bytes()).await.is_err() || answer.is_empty() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The one client of a test is always on the same color; at almost everything that is green.
const STICKY: &str = "[canary]\nsticky = \"address\"\n";
/// All routes.
const ANY: &str = "";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nbroken";
const SILENT: &str = "silence";
const ERROR: usize = Class::Error as usize;
const SLOW: usize = Class::SlowP90 as usize;

#[tokio::test]
async fn requests_are_shared_as_the_weight_says_and_counted_where_they_were_given() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, "");
    assert!(site.weight(Some(2_000)).is_none(), "nobody is drained");
    let mut client = site.connect().await;
    const REQUESTS: usize = 1_000;
    let mut on_green = 0;
    for _ in 0..REQUESTS {
        on_green += usize::from(client.get("/").await.text() == "green");
    }
    // Six standard deviations.
    assert!(on_green.abs_diff(REQUESTS / 5) < 76, "{on_green} of {REQUESTS}");
    assert_eq!((blue.heads().len(), green.heads().len()), (REQUESTS - on_green, on_green));
    let (mut given, mut completed) = (PerColor::<u64>::default(), 0);
    until("all are counted", async || {
        for (color, counts) in site.counted(ANY).iter() {
            given[color] += counts.assigned;
            completed += counts.completed;
            assert_eq!(counts.bad, [0; 6]);
        }
        (completed == REQUESTS as u64).then_some(())
    })
    .await;
    assert_eq!((given.blue, given.green), ((REQUESTS - on_green) as u64, on_green as u64));
    let line = site.logged(|line| line["color"] == "green").await;
    assert_eq!((&line["release"], &line["generation"]), (&"2".into(), &2.into()));
}

#[tokio::test]
async fn a_user_stays_on_a_color_on_every_connection_and_after_a_restart_and_only_ever_moves_forward() {
    let (blue, green) = pair().await;
    let sticky = "[canary]\nsticky = \"cookie:session\"\n";
    let mut on_green: Vec<String> = Vec::new();
    // Another process, with the same decision.
    for (run, weight) in [1_000, 1_000, 5_000].into_iter().enumerate() {
        let mut site = Site::start(blue.address, green.address, sticky);
        let _ = site.weight(Some(weight));
        let mut now = Vec::new();
        for user in 0..60 {
            let cookie = format!("Cookie: session=user-{user}\r\n");
            let first = site.get("/", &cookie).await.text().to_owned();
            let second = site.get("/", &cookie).await.text().to_owned();
            assert_eq!(first, second, "user {user}, by whichever worker");
            now.extend((first == "green").then_some(cookie));
        }
        match run {
            0 => assert!((1..30).contains(&now.len()), "{}", now.len()),
            1 => assert_eq!(now, on_green, "the same users"),
            _ => {
                assert!(on_green.iter().all(|user| now.contains(user)) && now.len() > on_green.len());
            }
        }
        on_green = now;
    }
}

#[tokio::test]
async fn who_has_no_cookie_goes_by_the_address_that_trusted_proxies_tell() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, "[canary]\nsticky = \"cookie:session\"\n");
    let _ = site.weight(Some(5_000));
    let mut colors = Vec::new();
    for client in 0..20 {
        let field = format!("X-Forwarded-For: 203.0.113.{client}\r\n");
        let first = site.get("/", &field).await.text().to_owned();
        assert_eq!(first, site.get("/", &field).await.text());
        colors.push(first);
    }
    assert!(colors.iter().any(|color| color == "green") && colors.iter().any(|color| color == "blue"));
}

#[tokio::test]
async fn an_abort_moves_everybody_at_once_and_waits_for_what_is_under_way() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, STICKY);
    let _ = site.weight(Some(9_999));
    let mut late = site.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it is under way", async || (green.heads().len() == 1).then_some(())).await;
    assert!(site.weight(Some(5_000)).is_none(), "a step drains nobody");
    assert!(site.weight(Some(1)).is_none(), "nor does one back");
    let drain = site.weight(None).expect("green gets nothing any more");
    assert_eq!(drain.color, Color::Green);
    let mut client = site.connect().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.text(), "blue");
    }
    let over = drain.drained();
    tokio::pin!(over);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut over).await.is_err(), "one is under way");
    green.open_gate();
    assert_eq!(late.answer().await.text(), "green");
    drop(late);
    soon("no lease is left", over).await;
}

#[tokio::test]
async fn what_is_left_of_an_aborted_canary_can_be_ended() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, STICKY);
    let _ = site.weight(Some(9_999));
    let mut late = site.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it is under way", async || (green.heads().len() == 1).then_some(())).await;
    let drain = site.weight(None).expect("green gets nothing any more");
    drain.end();
    assert_eq!(late.answer().await.status, 504);
    soon("nothing is left", drain.drained()).await;
    let counts = site.counted("~other").green;
    assert_eq!((counts.assigned, counts.completed), (1, 0), "that it was ended says nothing of the release");
}

#[tokio::test]
async fn a_switch_is_a_weight_of_everything_and_drains_the_stable_color() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, "");
    let _ = site.weight(Some(5_000));
    site.generation += 1;
    let mut switched = decision(site.generation, Some(10_000));
    switched.active = Color::Green;
    switched.release = Release::new("2");
    let drain = site.publisher.publish(&site.config, &switched).expect("blue gets nothing any more");
    assert_eq!(drain.color, Color::Blue);
    soon("nothing was under way", drain.drained()).await;
    assert_eq!(site.get("/", "").await.text(), "green");
    // And a hold-back: blue gets some again.
    site.generation += 1;
    switched.generation = Generation(site.generation);
    switched.deployment.as_mut().expect("it is there").weight = Weight::HALF;
    assert!(site.publisher.publish(&site.config, &switched).is_none());
    until("blue serves, too", async || (site.get("/", "").await.text() == "blue").then_some(())).await;
}

#[tokio::test]
async fn what_the_candidate_fails_at_is_answered_by_the_other_color_and_counted() {
    for (answer, attempts) in [(BROKEN, "[retry]\nattempts = 0\n"), ("", "[retry]\nattempts = 0\n")] {
        let (blue, green) = (Application::start("blue").await, failing(answer).await);
        let shield =
            format!("{attempts}[canary]\nshield = true\nshield_budget = \"100%\"\nsticky = \"header:x-user\"\n");
        let mut site = Site::start(blue.address, green, &shield);
        let _ = site.weight(Some(9_999));
        let answer = site.get("/bad", "X-User: 1\r\n").await;
        assert_eq!((answer.status, answer.text()), (200, "blue"));
        assert_eq!(answer.header("x-cutover-shielded"), Some("true"));
        let counts = site.counted("~other");
        assert_eq!((counts.green.assigned, counts.green.completed, counts.green.bad[ERROR]), (1, 1, 1));
        assert_eq!(counts.blue, Counts::default(), "blue was not given it");
        let line = site.logged(|line| line["shielded"] == true).await;
        assert_eq!((&line["color"], &line["status"]), (&"blue".into(), &200.into()));
        let good = site.get("/", "X-User: 1\r\n").await;
        assert_eq!((good.text(), good.header("x-cutover-shielded")), ("fine", None));
        // A write may have done its work.
        let mut client = site.connect().await;
        client.send("POST /bad HTTP/1.1\r\nHost: a\r\nX-User: 1\r\nContent-Length: 0\r\n\r\n").await;
        let refused = client.answer().await;
        assert!(refused.status >= 500 && refused.header("x-cutover-shielded").is_none(), "{}", refused.status);
        until("nothing is in flight", async || {
            let reading = site.publisher.meters().read();
            let of = |color| reading.iter().find(|(of, _, _)| *of == color).map(|(_, _, reading)| reading.clone());
            let (blue, green) = (of(Color::Blue).expect("there"), of(Color::Green).expect("there"));
            assert_eq!((blue.shielded, green.shielded), (0, 1));
            (blue.in_flight.total() + green.in_flight.total() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_candidate_that_does_not_answer_or_is_not_there_is_shielded_from_too() {
    let nowhere = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        listener.local_addr().expect("bound")
    };
    for green in [failing(SILENT).await, nowhere] {
        let blue = Application::start("blue").await;
        let shield =
            "[canary]\nshield = true\nsticky = \"header:x-user\"\n[upstream.default]\nresponse_timeout = \"200ms\"\n";
        let mut site = Site::start(blue.address, green, shield);
        let _ = site.weight(Some(9_999));
        let mut client = site.connect().await;
        client.send("GET /bad HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "blue"));
        // Nothing of the failure is left on the connection.
        client.send("GET /bad HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        let counts = site.counted("~other");
        assert_eq!((counts.green.assigned, counts.green.bad[ERROR], counts.green.overall[ERROR]), (2, 2, 1));
    }
}

#[tokio::test]
async fn a_shield_holds_as_far_as_its_budget() {
    let (blue, green) = (Application::start("blue").await, failing(BROKEN).await);
    let shield = "[canary]\nshield = true\nshield_budget = \"10%\"\nsticky = \"header:x-user\"\n";
    let mut site = Site::start(blue.address, green, shield);
    let _ = site.weight(Some(9_999));
    let mut client = site.connect().await;
    let mut saved = 0;
    for _ in 0..100 {
        client.send("GET /bad HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n\r\n").await;
        saved += u32::from(client.answer().await.status == 200);
    }
    // A tenth, and a reserve for those with few requests.
    assert!((10..=20).contains(&saved), "{saved} of 100");
    let counts = site.completed("~other", Color::Green, 100).await;
    assert_eq!((counts.assigned, counts.bad[ERROR], counts.overall[ERROR]), (100, 100, 1), "one user is one event");
}

#[tokio::test]
async fn what_hangs_is_counted_as_slow_while_it_hangs() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, "");
    let _ = site.weight(Some(5_000));
    let routes = Arc::clone(site.publisher.routes());
    let thresholds = Thresholds { stable: [20_000; 3], candidate: [20_000; 3] };
    for (route, _) in routes.iter() {
        routes.set_thresholds(route, Color::Green, Some(thresholds));
    }
    let mut late = site.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut sums = Counts::default();
    until("it is slow", async || {
        site.counted(ANY).iter().for_each(|(_, counts)| sums.add(counts));
        (sums.bad[SLOW] == 1).then_some(())
    })
    .await;
    assert_eq!(sums.completed, 0, "and not over");
    blue.open_gate();
    green.open_gate();
    late.answer().await;
    until("it is over", async || {
        site.counted(ANY).iter().for_each(|(_, counts)| sums.add(counts));
        (sums.completed == 1).then_some(())
    })
    .await;
    assert_eq!(sums.bad[SLOW], 1, "once");
}

#[tokio::test]
async fn tunnels_and_those_who_leave_are_what_they_are() {
    let (blue, green) = pair().await;
    let mut site = Site::start(blue.address, green.address, "");
    let _ = site.weight(Some(5_000));
    let mut tunnel = site.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    let mut leaving = TcpStream::connect(site.plane.local_addr()).await.expect("a connection");
    leaving.write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    until("it is under way", async || (green.heads().len() + blue.heads().len() == 2).then_some(())).await;
    // A client that leaves at once says nothing.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    drop(leaving);
    let mut sums = Counts::default();
    until("both are over", async || {
        site.counted(ANY).iter().for_each(|(_, counts)| sums.add(counts));
        (sums.completed == 2).then_some(())
    })
    .await;
    assert_eq!((sums.bad[ERROR], sums.bad[Class::Abort as usize]), (0, 1));
    let timed: u64 = site
        .publisher
        .routes()
        .iter()
        .flat_map(|(route, _)| Color::ALL.map(|color| site.publisher.routes().latencies(route, color).count()))
        .sum();
    assert_eq!(timed, 0, "neither took a time that says anything");
}

/// The cookie that an answer sets, as a client sends it back.
fn cookie_of(answer: &Answer) -> Option<String> {
    let set = answer.header("set-cookie")?;
    Some(format!("Cookie: other=1; {}\r\n", set.split(';').next().expect("a pair")))
}

#[tokio::test]
async fn a_new_visitor_keeps_the_color_of_the_first_answer() {
    let (blue, green) = pair().await;
    let config = "[canary]\nsticky = \"cookie\"\ncookie_name = \"visitor\"\ncookie_max_age = \"2days\"\n";
    let mut site = Site::start(blue.address, green.address, config);
    assert_eq!(site.get("/", "").await.header("set-cookie"), None, "one color serves");
    let _ = site.weight(Some(5_000));
    let mut seen = [0, 0];
    for _ in 0..60 {
        let first = site.get("/", "").await;
        let cookie = cookie_of(&first).expect("a cookie");
        let set = first.header("set-cookie").expect("a cookie");
        assert!(
            set.starts_with("visitor=") && set.ends_with("; Path=/; Max-Age=172800; HttpOnly; SameSite=Lax"),
            "{set}"
        );
        assert_eq!(first.header("cache-control"), Some("private"));
        for _ in 0..3 {
            let next = site.get("/", &cookie).await;
            assert_eq!((next.text(), next.header("set-cookie")), (first.text(), None));
        }
        seen[usize::from(first.text() == "green")] += 1;
    }
    assert!(seen.iter().all(|visitors| *visitors > 10), "{seen:?}");
    let made_up = site.get("/", "Cookie: visitor=me\r\n").await;
    assert!(cookie_of(&made_up).is_some(), "a value that is none of ours is replaced");
    let shared = site.get("/cached", "").await;
    assert_eq!(shared.header("set-cookie"), None, "everybody would get it");
    assert!(shared.header("cache-control").is_some_and(|control| control.contains("public")));
    let secure = site.get("/", "X-Forwarded-Proto: https\r\n").await;
    assert!(secure.header("set-cookie").is_some_and(|set| set.ends_with("; Secure")), "{secure:?}");
    let _ = site.weight(None);
    assert_eq!(site.get("/", "").await.header("set-cookie"), None, "one color serves");
}
