//! TLS with clients and with endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::DnType;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::application::{Application, pair};
use crate::certificates::{Authority, Pair, replace};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup, command};
use crate::switch::Load;
use crate::{soon, until};

/// A proxy with https, and whom its clients trust.
struct Secure {
    proxy: Proxy,
    authority: Arc<Authority>,
    site: Pair,
    https: SocketAddr,
}

impl Secure {
    /// With a certificate for `site.test` and 127.0.0.1, and further keys in [tls].
    async fn start(blue: &Application, green: &Application, tls: &str) -> Secure {
        Secure::start_with(Setup::new(blue, green), tls, |_, _| {}).await
    }

    /// `files` writes what is named beside the certificate of the site.
    async fn start_with(mut setup: Setup, tls: &str, files: impl FnOnce(&Authority, &std::path::Path)) -> Secure {
        let authority = Authority::new();
        let site = authority.issue(&["site.test", "127.0.0.1"]);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        site.write(path, "site");
        replace(&path.join("ca.pem"), &authority.pem());
        files(&authority, path);
        setup.listen.push_str("\nhttps = \"127.0.0.1:0\"\n");
        let dir_text = path.display().to_string();
        let mut section = tls.replace("DIR", &dir_text);
        if !section.contains("certificates") {
            let certificates =
                format!("certificates = [{{ cert = \"{dir_text}/site.pem\", key = \"{dir_text}/site.key\" }}]\n");
            section.insert_str(0, &certificates);
        }
        setup.more = format!("[tls]\n{section}\n{}", setup.more);
        let text = setup.text(path);
        let proxy = Proxy::start_in(dir, &text).await;
        let https = https_of(&proxy.status().await);
        Secure { proxy, authority: Arc::new(authority), site, https }
    }

    async fn connect(&self, name: &str, alpn: &[&str]) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.authority.connect(self.https, name, alpn, None).await.expect("a handshake")
    }

    async fn http1(&self) -> Connection {
        self.authority.http1(self.https, "site.test").await
    }

    /// An HTTP/1.1 connection of one that shows this; `None`: it is turned away.
    async fn answer_for(&self, shown: Option<&Pair>, request: &str) -> Option<crate::client::Answer> {
        let stream = self.authority.connect(self.https, "site.test", &["http/1.1"], shown).await.ok()?;
        let mut client = Connection::over(stream);
        client.try_send(request).await.ok()?;
        client.try_answer(false).await
    }
}

fn https_of(status: &Value) -> SocketAddr {
    status["https_address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

/// A field of a head, all its values.
fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).collect()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

#[tokio::test]
async fn what_is_spoken_is_agreed_on_in_the_handshake() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "").await;
    let http1 = secure.connect("site.test", &["http/1.1"]).await;
    assert_eq!(http1.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(secure.site.was_shown(&http1));
    assert_eq!(Connection::over(http1).get("/").await.text(), "blue");
    // One that offers nothing gets what all can.
    assert_eq!(Connection::over(secure.connect("site.test", &[]).await).get("/").await.text(), "blue");

    let http2 = secure.connect("site.test", &["h2", "http/1.1"]).await;
    assert_eq!(http2.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = crate::http2::Client::over(http2).await;
    assert_eq!(client.get("/").await.text(), "blue");
    secure.proxy.switch("green").await;
    assert_eq!(client.get("/").await.text(), "green");
}

#[tokio::test]
async fn the_endpoint_hears_of_tls_and_of_the_port() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "").await;
    let port = secure.https.port().to_string();
    let forged = "GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\n\r\n";
    secure.answer_for(None, forged).await.expect("an answer");
    let head = blue.last_head();
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&head, "x-forwarded-port"), [port.as_str()]);
    crate::http2::Client::over(secure.connect("site.test", &["h2"]).await).await.get("/").await;
    let head = blue.last_head();
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&head, "x-forwarded-port"), [port]);
    assert_eq!(values(&head, "x-forwarded-host"), ["test"]);
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (blue, green) = pair().await;
    let mut others = None;
    let tls = "certificates = [{ cert = \"DIR/site.pem\", key = \"DIR/site.key\" }, \
               { cert = \"DIR/a.pem\", key = \"DIR/a.key\" }, { cert = \"DIR/b.pem\", key = \"DIR/b.key\" }]";
    let secure = Secure::start_with(Setup::new(&blue, &green), tls, |authority, dir| {
        let (a, b) = (authority.issue(&["a.test"]), authority.issue(&["*.b.test"]));
        a.write(dir, "a");
        b.write(dir, "b");
        others = Some((a, b));
    })
    .await;
    let (a, b) = others.expect("written");
    let site = &secure.site;
    for (name, expected) in [("site.test", site), ("a.test", &a), ("A.TEST", &a), ("x.b.test", &b), ("127.0.0.1", site)]
    {
        assert!(expected.was_shown(&secure.connect(name, &[]).await), "{name}");
    }
    // One that is for nobody: the client says no to the first one.
    for name in ["other.test", "b.test", "x.y.b.test"] {
        let error = secure.authority.connect(secure.https, name, &[], None).await.expect_err(name).to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
    let status = secure.proxy.status().await;
    let names: Vec<&str> = status["certificates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|certificate| certificate["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["site.test", "a.test", "*.b.test"]);
}

#[tokio::test]
async fn the_subject_of_a_client_certificate_arrives_and_nobody_can_forge_it() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "client_ca = \"DIR/ca.pem\"").await;
    let plain = secure.authority.issue_to(&[], &[(DnType::OrganizationName, "Ops"), (DnType::CommonName, "ann")]);
    let nasty = secure.authority.issue_to(&[], &[(DnType::CommonName, "a\r\nX-Evil: 1,ü")]);
    let forged =
        "X-Client-Cert-Subject: CN=root\r\nx-client-cert-subject: CN=root\r\nX_Client_Cert_Subject: CN=root\r\n";
    for fields in ["", forged, "Connection: x-client-cert-subject\r\n", "Connection: close, X-Client-Cert-Subject\r\n"]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        secure.answer_for(Some(&plain), &request).await.expect("an answer");
        let head = blue.last_head();
        assert_eq!(values(&head, "x-client-cert-subject"), ["CN=ann,O=Ops"], "{fields}");
        assert!(!head.contains("root"), "{head}");
    }
    secure.answer_for(Some(&nasty), GET).await.expect("an answer");
    let head = blue.last_head();
    assert_eq!(values(&head, "x-client-cert-subject"), ["CN=a\\0d\\0aX-Evil: 1\\,\\c3\\bc"]);
    assert!(values(&head, "x-evil").is_empty(), "{head}");

    // Over http nobody has shown anything.
    let mut client = secure.proxy.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{forged}\r\n")).await;
    assert_eq!(client.answer().await.status, 200);
    let head = blue.last_head().to_ascii_lowercase();
    assert!(!head.contains("client-cert") && !head.contains("client_cert"), "{head}");
    // Nor behind a body.
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Client-Cert-Subject: CN=root\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.trailers, []);

    let asked = blue.heads().len();
    assert!(secure.answer_for(None, GET).await.is_none(), "one is required");
    let stranger = Authority::new().issue_to(&[], &[(DnType::CommonName, "ann")]);
    assert!(secure.answer_for(Some(&stranger), GET).await.is_none(), "of another authority");
    assert_eq!(blue.heads().len(), asked);
}

#[tokio::test]
async fn a_client_certificate_may_be_asked_for_without_being_required() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "client_ca = \"DIR/ca.pem\"\nclient_auth = \"request\"").await;
    let forged = "GET / HTTP/1.1\r\nHost: a\r\nX-Client-Cert-Subject: CN=root\r\n\r\n";
    assert_eq!(secure.answer_for(None, forged).await.expect("an answer").status, 200);
    assert!(values(&blue.last_head(), "x-client-cert-subject").is_empty());
    let ann = secure.authority.issue_to(&[], &[(DnType::CommonName, "ann")]);
    assert_eq!(secure.answer_for(Some(&ann), GET).await.expect("an answer").status, 200);
    assert_eq!(values(&blue.last_head(), "x-client-cert-subject"), ["CN=ann"]);
    let stranger = Authority::new().issue_to(&[], &[(DnType::CommonName, "ann")]);
    assert!(secure.answer_for(Some(&stranger), GET).await.is_none(), "of another authority");
}

#[tokio::test]
async fn replaced_certificates_are_shown_without_an_edit_and_a_bad_pair_changes_nothing() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "").await;
    let Secure { proxy, authority, site, .. } = &secure;
    let mut open = secure.http1().await;
    assert_eq!(open.get("/").await.text(), "blue");

    let shows = async |pair: &Pair| {
        until("new connections see it", async || pair.was_shown(&secure.connect("site.test", &[]).await).then_some(()))
            .await;
    };
    shows(site).await;
    let renewed = authority.issue(&["site.test"]);
    renewed.write(proxy.dir.path(), "site");
    shows(&renewed).await;
    assert_eq!(open.get("/").await.text(), "blue", "those that are open go on");

    // A certificate to which the key does not fit.
    let next = authority.issue(&["site.test"]);
    replace(&proxy.dir.path().join("site.pem"), &next.cert);
    let status = proxy.until("it is told", |status| !status["certificate_errors"].is_null()).await;
    let errors = status["certificate_errors"].to_string();
    assert!(errors.contains("site.key") && errors.contains("is not the key of"), "{errors}");
    assert!(renewed.was_shown(&secure.connect("site.test", &[]).await), "the old one stays");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_tls_last_reload_successful 0\n"), "{}", metrics.text());
    let checked = proxy.cli(&["check"]).await;
    assert_ne!(checked.status.code(), Some(0));
    // A switch does not mind.
    proxy.switch("green").await;
    assert_eq!(secure.http1().await.get("/").await.text(), "green");

    replace(&proxy.dir.path().join("site.key"), &next.key);
    shows(&next).await;
    proxy.until("it is repaired", |status| status["certificate_errors"].is_null()).await;
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_tls_last_reload_successful 1\n"), "{}", metrics.text());
}

#[tokio::test]
async fn check_names_a_bad_certificate_with_its_place() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    authority.issue(&["site.test"]).write(dir.path(), "site");
    replace(&dir.path().join("site.key"), &authority.issue(&["site.test"]).key);
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "https = \"127.0.0.1:0\"".to_owned();
    let path = dir.path().display();
    setup.more = format!("[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n");
    let text = setup.text(dir.path());
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, &text).expect("a file");
    let line = 1 + text.lines().position(|line| line.starts_with("certificates")).expect("it is there");
    let mut check = command(&["check", "--config"]);
    let output = soon("it ends", check.arg(&file).output()).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("cutover.toml:{line}:")) && said.contains("is not the key of"), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    // A start serves HTTP, and names it as well.
    let proxy = Proxy::start_in(dir, &text).await;
    assert_eq!(proxy.color().await, "blue");
    assert!(proxy.until_logged("Unusable file").await.contains("is not the key of"));
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_in_time_is_closed() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "handshake_timeout = \"100ms\"").await;
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut slow = TcpStream::connect(secure.https).await.expect("it accepts");
        tokio::io::AsyncWriteExt::write_all(&mut slow, sent).await.expect("it reads");
        assert_eq!(soon("it is closed", slow.read(&mut [0; 64])).await.unwrap_or(0), 0);
    }
    // What is no TLS is told so, and nothing of it gets any further.
    let mut plain = Connection::tcp(secure.https).await;
    plain.send(GET).await;
    assert!(!String::from_utf8_lossy(&plain.rest().await).contains("HTTP/1.1 200"));
    assert_eq!(blue.heads().len(), 0);
    assert_eq!(secure.http1().await.get("/").await.text(), "blue");
}

#[tokio::test]
async fn clients_that_come_without_tls_are_sent_to_https() {
    let (blue, green) = pair().await;
    for (redirect, port) in [("443", ""), ("8443", ":8443")] {
        let mut setup = Setup::new(&blue, &green);
        setup.listen = format!("https_redirect = {redirect}");
        let secure = Secure::start_with(setup, "", |_, _| {}).await;
        let mut client = secure.proxy.connect().await;
        client.send("GET /a/b?c=d&e HTTP/1.1\r\nHost: site.test:8080\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 308);
        assert_eq!(answer.header("location"), Some(format!("https://site.test{port}/a/b?c=d&e").as_str()));
        // The connection goes on.
        client.send("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n").await;
        assert_eq!(client.answer().await.header("location"), Some(format!("https://[::1]{port}/").as_str()));
        client.send("GET http://other.test:80/a?b HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        assert_eq!(client.answer().await.header("location"), Some(format!("https://other.test{port}/a?b").as_str()));
        assert_eq!(client.get("/.cutover/ready").await.text(), "ready\n");
        // A body goes nowhere.
        client.send("POST /echo HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(client.answer().await.status, 308);
        let mut http2 = crate::http2::Client::connect(secure.proxy.http).await;
        let answer = http2.get("/x").await;
        assert_eq!((answer.status, answer.header("location")), (308, Some(format!("https://test{port}/x").as_str())));
        assert_eq!(blue.heads().len(), 0);
        assert_eq!(secure.http1().await.get("/").await.status, 200, "who is there already stays");
        assert_eq!(blue.heads().len(), 1);
        blue.forget();
    }
}

#[tokio::test]
async fn a_redirect_is_not_for_those_who_came_over_tls_to_a_trusted_balancer() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "https_redirect = 443\ntrusted_proxies = [\"127.0.0.1\"]".to_owned();
    let secure = Secure::start_with(setup, "", |_, _| {}).await;
    let mut client = secure.proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "blue");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 308);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_under_load_over_tls_lose_nothing() {
    let (blue, green) = pair().await;
    let secure = Secure::start(&blue, &green, "").await;
    let (https, authority) = (secure.https, Arc::clone(&secure.authority));
    let load = Load::start_by(8, move || {
        let authority = Arc::clone(&authority);
        async move { authority.http1(https, "site.test").await }
    });
    let mut http2 = crate::http2::Client::over(secure.connect("site.test", &["h2"]).await).await;
    for round in 0..10 {
        load.moving();
        let answer = secure.proxy.post("/admin/switch", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        load.moved();
        for _ in 0..10 {
            assert_eq!(http2.get("/").await.text(), if round % 2 == 0 { "green" } else { "blue" });
        }
    }
    load.end().await;
}

/// Both colors behind TLS, and the keys of the upstream's section.
async fn behind_tls(names: &[&str], client: bool) -> (Authority, Application, Application, Setup) {
    let authority = Authority::new();
    let (blue, green) = pair().await;
    let config = authority.server(&authority.issue(names), &[], client);
    let mut setup = Setup::new(&blue, &green);
    let (at_blue, at_green) = (blue.also_over_tls(Arc::clone(&config)).await, green.also_over_tls(config).await);
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"{at_blue}\"]");
    setup.green = format!("release = \"2.0\"\nendpoints = [\"{at_green}\"]");
    (authority, blue, green, setup)
}

async fn start_in(setup: &Setup, authority: &Authority, upstream_tls: &str) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    replace(&dir.path().join("ca.pem"), &authority.pem());
    let proxy = authority.issue_to(&[], &[(DnType::CommonName, "cutover")]);
    proxy.write(dir.path(), "proxy");
    let keys = upstream_tls.replace("DIR", &dir.path().display().to_string());
    let text = setup.text(dir.path()) + &format!("\n[upstream.default.tls]\n{keys}\n");
    Proxy::start_in(dir, &text).await
}

fn endpoint(status: &Value) -> (String, String) {
    let endpoint = &status["blue"]["endpoints"][0];
    (endpoint["health"].as_str().expect("text").to_owned(), endpoint["detail"].as_str().expect("text").to_owned())
}

#[tokio::test]
async fn endpoints_are_asked_over_tls_and_so_are_they_probed() {
    let (authority, blue, _green, setup) = behind_tls(&["app.internal"], false).await;
    let proxy = start_in(&setup, &authority, "ca = \"DIR/ca.pem\"\nserver_name = \"app.internal\"").await;
    let status = proxy.until("it is known", |status| endpoint(status).0 == "up").await;
    assert_eq!(endpoint(&status).1, "200");
    assert_eq!(proxy.color().await, "blue");
    proxy.switch("green").await;
    let mut client = proxy.connect().await;
    assert_eq!(client.get("/").await.text(), "green");
    let body = "x".repeat(300_000);
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(client.answer().await.text(), body);
    client.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 101);
    client.send("hello").await;
    assert_eq!(client.exactly(5).await.expect("an answer"), b"HELLO");
    assert!(blue.probes() > 0);
}

#[tokio::test]
async fn the_address_of_an_endpoint_is_the_name_that_is_checked_where_none_is_given() {
    let (authority, _blue, _green, setup) = behind_tls(&["127.0.0.1"], false).await;
    let proxy = start_in(&setup, &authority, "ca = \"DIR/ca.pem\"").await;
    proxy.until("it is known", |status| endpoint(status).0 == "up").await;
    assert_eq!(proxy.color().await, "blue");
}

/// An endpoint that is not trusted: down, with these words, and nothing but that is told to clients.
async fn not_trusted(proxy: &Proxy, words: &str) {
    let status = proxy.until("it is known", |status| endpoint(status).0 == "down").await;
    assert!(endpoint(&status).1.contains(words), "{}", endpoint(&status).1);
    let answer = proxy.get("/").await;
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    let reason = answer.header("proxy-status").expect("a reason");
    assert!(reason.starts_with("cutover; error="), "{reason}");
    let said = format!("{:?} {}", answer.headers, answer.text());
    for secret in ["127.0.0.1", ".internal", "issuer", "certificate is"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    let answer = proxy.post("/admin/switch", json!({})).await;
    assert_eq!(answer.status, 409, "the gate holds: {}", answer.text());
}

#[tokio::test]
async fn an_endpoint_with_a_certificate_for_another_name_is_down_and_says_why() {
    let (authority, blue, _green, setup) = behind_tls(&["app.internal"], false).await;
    let proxy = start_in(&setup, &authority, "ca = \"DIR/ca.pem\"\nserver_name = \"other.internal\"").await;
    not_trusted(&proxy, "its certificate is not valid for other.internal: only for app.internal").await;
    assert_eq!((blue.probes(), blue.heads().len()), (0, 0), "nothing was sent");
}

#[tokio::test]
async fn an_endpoint_of_an_unknown_authority_is_down_and_says_why() {
    let (_, blue, _green, setup) = behind_tls(&["app.internal"], false).await;
    let proxy = start_in(&setup, &Authority::new(), "ca = \"DIR/ca.pem\"\nserver_name = \"app.internal\"").await;
    not_trusted(&proxy, "its certificate is from an unknown issuer; `ca` names whom to believe").await;
    assert_eq!((blue.probes(), blue.heads().len()), (0, 0), "nothing was sent");
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_is_down() {
    let authority = Authority::new();
    let (blue, green) = pair().await;
    let setup = Setup::new(&blue, &green);
    let proxy = start_in(&setup, &authority, "ca = \"DIR/ca.pem\"").await;
    proxy.until("it is known", |status| endpoint(status).0 == "down").await;
    assert_eq!(blue.heads().len(), 0);
}

#[tokio::test]
async fn endpoints_that_want_a_certificate_are_shown_one() {
    let (authority, _blue, _green, setup) = behind_tls(&["app.internal"], true).await;
    let name = "ca = \"DIR/ca.pem\"\nserver_name = \"app.internal\"\n";
    let with = format!("{name}client_cert = \"DIR/proxy.pem\"\nclient_key = \"DIR/proxy.key\"");
    let proxy = start_in(&setup, &authority, &with).await;
    proxy.until("it is known", |status| endpoint(status).0 == "up").await;
    assert_eq!(proxy.color().await, "blue");
    let without = start_in(&setup, &authority, name).await;
    without.until("it is known", |status| endpoint(status).0 == "down").await;
    assert!(matches!(without.get("/").await.status, 502 | 503));
}

#[tokio::test]
async fn what_endpoints_are_shown_is_replaced_without_an_edit_and_a_bad_pair_changes_nothing() {
    let (authority, blue, _green, setup) = behind_tls(&["app.internal"], true).await;
    let keys = "ca = \"DIR/ca.pem\"\nserver_name = \"app.internal\"\n\
                client_cert = \"DIR/proxy.pem\"\nclient_key = \"DIR/proxy.key\"";
    let proxy = start_in(&setup, &authority, keys).await;
    proxy.until("it is known", |status| endpoint(status).0 == "up").await;
    // As by somebody who renews it too late, or by another authority.
    Authority::new().issue_to(&[], &[(DnType::CommonName, "cutover")]).write(proxy.dir.path(), "proxy");
    proxy.until("it is refused", |status| endpoint(status).0 == "down").await;
    let pair = authority.issue_to(&[], &[(DnType::CommonName, "cutover")]);
    pair.write(proxy.dir.path(), "proxy");
    proxy.until("it is known", |status| endpoint(status).0 == "up").await;
    replace(&proxy.dir.path().join("proxy.key"), "half of it");
    proxy
        .until("it is told", |status| status["certificate_errors"].as_array().is_some_and(|told| told.len() == 1))
        .await;
    let probes = blue.probes();
    until("the old one is shown", async || (blue.probes() > probes + 3).then_some(())).await;
    assert_eq!(endpoint(&proxy.status().await).0, "up");
    pair.write(proxy.dir.path(), "proxy");
    proxy.until("all is well", |status| status["certificate_errors"].as_array().is_none_or(Vec::is_empty)).await;
}

#[tokio::test]
async fn a_certificate_that_goes_bad_while_the_endpoint_serves_is_told_as_such() {
    // Health is a connect to begin with, and so says nothing of it.
    let (authority, _blue, _green, setup) = behind_tls(&["app.internal"], false).await;
    let proxy = start_in(&setup, &authority, "ca = \"DIR/ca.pem\"\nserver_name = \"app.internal\"").await;
    proxy.until("it is known", |status| endpoint(status).0 == "up").await;
    let wrong = proxy.text().replace("server_name = \"app.internal\"", "server_name = \"other.internal\"");
    proxy.replace_file(&wrong);
    let status = proxy.until("it is known", |status| endpoint(status).0 == "down").await;
    assert!(endpoint(&status).1.contains("is not valid for other.internal"), "{}", endpoint(&status).1);
}
