//! TLS and HTTP/2 on both sides, in any mix with HTTP/1.1.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::application::pair;
use crate::client::{Connection, Stream};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

/// A certificate with its key, in files.
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    pub(crate) fn new(dir: &Path, name: &str) -> Identity {
        let identity = Identity { cert: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) };
        identity.renew(name);
        identity
    }

    /// Another certificate in the same files.
    fn renew(&self, name: &str) {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(&self.cert, certificate.pem()).expect("a file");
        std::fs::write(&self.key, key.serialize_pem()).expect("a file");
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).expect("a certificate")
    }

    fn table(&self) -> String {
        format!("{{ cert = \"{}\", key = \"{}\" }}", self.cert.display(), self.key.display())
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client's end of TLS, showing a certificate of its own if it has one.
pub(crate) async fn secure(
    address: SocketAddr,
    trusted: &Identity,
    shown: Option<&Identity>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.certificate()).expect("a certificate");
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let mut config = match shown {
        Some(shown) => builder
            .with_client_auth_cert(vec![shown.certificate()], PrivateKeyDer::from_pem_file(&shown.key).expect("a key"))
            .expect("they fit"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// Speaks HTTP/2 on a stream.
async fn http2(stream: impl Stream + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    sender.ready().await.expect("it is open")
}

pub(crate) async fn http2_to(address: SocketAddr) -> SendRequest<Bytes> {
    http2(TcpStream::connect(address).await.expect("a connection")).await
}

fn request(path: &str) -> Request<()> {
    let uri = format!("http://test{path}");
    Request::builder().uri(uri).version(Version::HTTP_2).body(()).expect("a request")
}

async fn whole(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    (bytes, body.trailers().await.expect("its end"))
}

async fn ask(sender: &mut SendRequest<Bytes>, request: Request<()>, body: &[u8]) -> (Response<()>, Vec<u8>) {
    let (answer, mut send) = sender.send_request(request, body.is_empty()).expect("it is open");
    if !body.is_empty() {
        send.send_data(Bytes::copy_from_slice(body), true).expect("it is open");
    }
    let answer = soon("an answer", answer).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let (body, _) = soon("its body", whole(body)).await;
    (Response::from_parts(parts, ()), body)
}

pub(crate) async fn get(sender: &mut SendRequest<Bytes>, path: &str) -> (u16, String) {
    let (answer, body) = ask(sender, request(path), b"").await;
    (answer.status().as_u16(), String::from_utf8(body).expect("text"))
}

/// A proxy that speaks TLS, and where.
pub(crate) async fn with_tls(setup: &mut Setup, identity: &Identity, more: &str) -> (Proxy, SocketAddr) {
    setup.listen.push_str("https = \"127.0.0.1:0\"\n");
    setup.more.push_str(&format!("\n[tls]\ncertificates = [{}]\n{more}\n", identity.table()));
    let proxy = setup.start().await;
    let https = proxy.status().await["https_address"].as_str().and_then(|at| at.parse().ok()).expect("an address");
    (proxy, https)
}

/// An application that speaks HTTP/2 only: says its color, or sends back what it gets with a trailer.
async fn http2_application(color: &'static str, tls: Option<&Identity>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&connections);
    let acceptor = tls.map(|identity| {
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let mut config = config.with_single_cert(vec![identity.certificate()], key).expect("they fit");
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream: Box<dyn Stream> = match acceptor {
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    },
                    None => Box::new(stream),
                };
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let (parts, body) = request.into_parts();
                        let (body, trailers) = whole(body).await;
                        let mut answer = Response::new(());
                        answer.headers_mut().insert("x-color", color.parse().expect("a value"));
                        if parts.uri.path() != "/echo" {
                            let mut send = respond.send_response(answer, false).expect("it is open");
                            let _ = send.send_data(Bytes::from_static(color.as_bytes()), true);
                            return;
                        }
                        let mut send = respond.send_response(answer, false).expect("it is open");
                        let _ = send.send_data(body.into(), false);
                        let mut sum = trailers.unwrap_or_default();
                        sum.insert("x-sum", "42".parse().expect("a value"));
                        let _ = send.send_trailers(sum);
                    });
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn clients_speak_either_version_over_tls_and_the_endpoint_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "localhost");
    let (blue, green) = pair().await;
    let (proxy, https) = with_tls(&mut Setup::new(&blue, &green), &identity, "").await;

    let mut client = Connection::over(secure(https, &identity, None, "http/1.1").await.expect("TLS"));
    assert_eq!(client.get("/").await.text(), "blue");
    let seen = blue.last_head().to_ascii_lowercase();
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert!(seen.contains(&format!("x-forwarded-port: {}\r\n", https.port())), "{seen}");

    let mut second = http2(secure(https, &identity, None, "h2").await.expect("TLS")).await;
    assert_eq!(get(&mut second, "/").await, (200, "blue".to_owned()));
    let seen = blue.last_head().to_ascii_lowercase();
    assert!(seen.contains("via: 2.0 cutover\r\n") && seen.contains("host: test\r\n"), "{seen}");

    proxy.switch("green").await;
    assert_eq!(client.get("/").await.text(), "green");
    assert_eq!(get(&mut second, "/").await, (200, "green".to_owned()), "also on a connection that was there before");
}

#[tokio::test]
async fn many_streams_of_one_connection_are_served_at_once_and_switch_between_two_requests() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = http2_to(proxy.http).await;
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut asked = Vec::new();
    for _ in 0..20 {
        let mut sender = client.clone();
        let body = body.clone();
        asked.push(tokio::spawn(async move {
            let (answer, mut send) = sender.send_request(request("/echo"), false).expect("it is open");
            send.reserve_capacity(body.len());
            let mut left = Bytes::from(body.clone());
            while !left.is_empty() {
                let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.expect("open").expect("open");
                let piece = left.split_to(room.min(left.len()));
                send.send_data(piece, left.is_empty()).expect("it is open");
            }
            let answer = soon("an answer", answer).await.expect("an answer");
            whole(answer.into_body()).await.0 == body
        }));
    }
    for asked in asked {
        assert!(asked.await.expect("no panic"), "the body came back as it was");
    }
    for color in ["green", "blue", "green"] {
        proxy.switch(color).await;
        assert_eq!(get(&mut client, "/").await.1, color);
    }
}

#[tokio::test]
async fn what_http2_forbids_reaches_no_endpoint() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = http2_to(proxy.http).await;
    let mut two_hosts = request("/");
    two_hosts.headers_mut().insert("host", "other".parse().expect("a value"));
    let (answer, _) = client.send_request(two_hosts, true).expect("it is open");
    assert!(soon("an end", answer).await.is_err(), "another Host than :authority");
    let mut coded = request("/");
    coded.headers_mut().insert("content-length", "7".parse().expect("a value"));
    let (answer, _) = client.send_request(coded, true).expect("it is open");
    assert!(soon("an end", answer).await.is_err(), "a length without a body");
    let connect = Request::builder().method("CONNECT").uri("test:80").body(()).expect("a request");
    let (answer, _send) = client.send_request(connect, false).expect("it is open");
    assert_eq!(soon("an answer", answer).await.expect("an answer").status(), 400);
    assert_eq!(get(&mut client, "/").await.0, 200, "the connection goes on");
    assert_eq!(blue.heads().len(), 1, "{:?}", blue.heads());
}

#[tokio::test]
async fn a_client_that_only_opens_and_resets_streams_is_cut_off_and_others_are_served() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut other = http2_to(proxy.http).await;
    let mut flood = http2_to(proxy.http).await;
    let cut_off = async {
        loop {
            let Ok(mut ready) = flood.ready().await else { return };
            let Ok((answer, send)) = ready.send_request(request("/hangs"), false) else { return };
            // Begun, so that it costs the endpoint something, and then given up.
            drop((answer, send));
            flood = ready;
            tokio::task::yield_now().await;
        }
    };
    soon("it is cut off", cut_off).await;
    assert_eq!(get(&mut other, "/").await, (200, "blue".to_owned()));
    proxy.until("nothing is left of it", |status| status["blue"]["requests"] == 0).await;
}

#[tokio::test]
async fn a_grpc_client_gets_an_error_it_understands() {
    let (blue, green) = pair().await;
    blue.set_healthy(false);
    let proxy = Proxy::start(&blue, &green).await;
    proxy.until("blue is down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    let mut client = http2_to(proxy.http).await;
    let mut call = request("/svc/Method");
    call.headers_mut().insert("content-type", "application/grpc+proto".parse().expect("a value"));
    let (answer, body) = ask(&mut client, call, b"\0\0\0\0\0").await;
    let field = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!((answer.status().as_u16(), field("grpc-status"), body.len()), (200, Some("14"), 0));
    assert!(field("grpc-message").is_some() && field("proxy-status").is_some(), "{:?}", answer.headers());
}

#[tokio::test]
async fn an_upstream_of_http2_is_asked_over_one_connection_with_or_without_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "app.internal");
    for tls in [None, Some(&identity)] {
        let (blue, connections) = http2_application("blue", tls).await;
        let (green, _) = http2_application("green", tls).await;
        let (first, second) = pair().await;
        let mut setup = Setup::new(&first, &second);
        setup.blue = format!("release = \"1\"\nendpoints = [\"{blue}\"]");
        setup.green = format!("release = \"2\"\nendpoints = [\"{green}\"]");
        let trust = format!("tls = {{ ca = \"{}\", server_name = \"app.internal\" }}", identity.cert.display());
        let trust = if tls.is_some() { trust } else { String::new() };
        setup.more = format!("[upstream.default]\nprotocol = \"http2\"\n{trust}");
        // Without probes of their own that would be counted.
        let proxy = setup.start().await;
        let up = |status: &serde_json::Value| status["blue"]["endpoints"][0]["health"] == "up";
        proxy.until("blue is up, by a probe over HTTP/2", up).await;

        let mut old = proxy.connect().await;
        old.send("POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        old.send("5\r\nhello\r\n0\r\nX-Mine: 7\r\n\r\n").await;
        let answer = old.answer().await;
        assert_eq!((answer.status, answer.text(), answer.header("x-color")), (200, "hello", Some("blue")));
        let mut trailers = answer.trailers.clone();
        trailers.sort();
        assert_eq!(trailers, [("x-mine".to_owned(), "7".to_owned()), ("x-sum".to_owned(), "42".to_owned())]);
        assert_eq!(old.get("/").await.text(), "blue");

        let mut client = http2_to(proxy.http).await;
        let before = connections.load(Ordering::SeqCst);
        for _ in 0..30 {
            assert_eq!(get(&mut client, "/").await, (200, "blue".to_owned()));
        }
        // Two workers, and the probes in the meantime.
        let made = connections.load(Ordering::SeqCst) - before;
        assert!(made < 25, "{made} connections for 30 requests");
        proxy.switch("green").await;
        assert_eq!(get(&mut client, "/").await, (200, "green".to_owned()));
        assert_eq!(old.get("/").await.text(), "green");
    }
}

#[tokio::test]
async fn a_websocket_over_http2_becomes_an_upgrade_for_the_endpoint() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = http2_to(proxy.http).await;
    until("extended CONNECT is announced", async || client.is_extended_connect_protocol_enabled().then_some(())).await;
    let mut connect = Request::builder().method("CONNECT").uri("http://test/upgrade").body(()).expect("a request");
    connect.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, mut send) = client.send_request(connect, false).expect("it is open");
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let seen = blue.last_head().to_ascii_lowercase();
    assert!(seen.starts_with("get /upgrade http/1.1\r\n"), "{seen}");
    for line in ["upgrade: websocket\r\n", "connection: upgrade\r\n", "sec-websocket-key: "] {
        assert!(seen.contains(line), "{line} is missing in {seen}");
    }
    let mut body = answer.into_body();
    for word in ["hello", "again"] {
        send.send_data(Bytes::from(word), false).expect("it is open");
        let heard = soon("an echo", body.data()).await.expect("more").expect("data");
        let _ = body.flow_control().release_capacity(heard.len());
        assert_eq!(heard, word.to_ascii_uppercase());
    }
    proxy.until("it is a tunnel", |status| status["blue"]["tunnels"] == 1).await;
    send.send_data(Bytes::new(), true).expect("it is open");
    proxy.until("it is over", |status| status["blue"]["tunnels"] == 0).await;
    let log = proxy.dir.path().join("access.log");
    let line = until("its line is there", async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.lines().find(|line| line.contains("/upgrade")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line.await).expect("JSON");
    assert_eq!((&line["method"], &line["protocol"]), (&"CONNECT".into(), &"HTTP/2".into()), "{line}");
}

#[tokio::test]
async fn certificates_are_replaced_without_an_edit_and_a_bad_pair_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "localhost");
    let (blue, green) = pair().await;
    let (proxy, https) = with_tls(&mut Setup::new(&blue, &green), &identity, "").await;
    let mut old = Connection::over(secure(https, &identity, None, "http/1.1").await.expect("TLS"));

    let before = Identity { cert: dir.path().join("before.pem"), key: dir.path().join("before.key") };
    std::fs::copy(&identity.cert, &before.cert).expect("a copy");
    std::fs::copy(&identity.key, &before.key).expect("a copy");
    identity.renew("localhost");
    until("the new one is shown", async || secure(https, &identity, None, "http/1.1").await.ok()).await;
    assert_eq!(old.get("/").await.text(), "blue", "a connection that was there goes on");

    // The key of the one before: half of a renewal.
    let good = std::fs::read(&identity.key).expect("a key");
    std::fs::copy(&before.key, &identity.key).expect("a copy");
    let status =
        proxy.until("it is noticed", |status| !status["certificate_errors"].as_array().is_none_or(Vec::is_empty)).await;
    let said = status["certificate_errors"][0].as_str().expect("text");
    assert!(said.contains("is not the key of") && said.contains("localhost.key"), "{said}");
    secure(https, &identity, None, "http/1.1").await.expect("the one that was read before is still shown");
    assert!(proxy.admin("GET", "/metrics", "").await.text().contains("cutover_tls_last_reload_successful 0"));
    std::fs::write(&identity.key, good).expect("a file");
    proxy.until("it is well again", |status| status["certificate_errors"].is_null()).await;
}

#[tokio::test]
async fn the_subject_of_a_client_certificate_is_passed_on_and_nobody_can_make_one_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let (identity, alice) = (Identity::new(dir.path(), "localhost"), Identity::new(dir.path(), "alice"));
    let (blue, green) = pair().await;
    let authority = format!("client_ca = \"{}\"", alice.cert.display());
    let (proxy, https) = with_tls(&mut Setup::new(&blue, &green), &identity, &authority).await;

    let forged =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Client-Cert-Subject: CN=root\r\nConnection: x-client-cert-subject\r\n\r\n";
    let mut plain = proxy.connect().await;
    plain.send(forged).await;
    assert_eq!(plain.answer().await.status, 200);
    assert!(!blue.last_head().to_ascii_lowercase().contains("x-client-cert-subject"), "{}", blue.last_head());

    let mut client = Connection::over(secure(https, &identity, Some(&alice), "http/1.1").await.expect("TLS"));
    client.send(forged).await;
    assert_eq!(client.answer().await.status, 200);
    assert!(blue.last_head().contains("\r\nx-client-cert-subject: CN=alice\r\n"), "{}", blue.last_head());
    assert!(!blue.last_head().contains("root"), "{}", blue.last_head());

    let stranger = secure(https, &identity, None, "http/1.1").await;
    if let Ok(stranger) = stranger {
        let mut client = Connection::over(stranger);
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.ended().await, "nobody without a certificate is served");
    }
}

#[tokio::test]
async fn an_endpoint_with_another_name_is_not_trusted_and_the_reason_can_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "app.internal");
    let (blue, _) = http2_application("blue", Some(&identity)).await;
    let (first, green) = pair().await;
    let mut setup = Setup::new(&first, &green);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{blue}\"]");
    setup.more = format!(
        "[upstream.default]\nprotocol = \"http2\"\ntls = {{ ca = \"{}\", server_name = \"other.internal\" }}",
        identity.cert.display()
    );
    let proxy = setup.start().await;
    let down = |status: &serde_json::Value| status["blue"]["endpoints"][0]["health"] == "down";
    let status = proxy.until("it is down", down).await;
    let said = status["blue"]["endpoints"][0]["detail"].as_str().expect("text");
    assert!(said.contains("is not valid for other.internal: only for app.internal"), "{said}");
    let answer = proxy.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(!format!("{:?}{}", answer.headers, answer.text()).contains("internal"), "{answer:?}");
}

#[tokio::test]
async fn plain_clients_are_sent_to_https_but_for_the_balancer() {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "localhost");
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "https_redirect = 443\n".to_owned();
    let (proxy, https) = with_tls(&mut setup, &identity, "").await;
    let mut client = proxy.connect().await;
    client.send("GET /a?b=c HTTP/1.1\r\nHost: shop.example.com:8080\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://shop.example.com/a?b=c")));
    assert_eq!(client.get("/.cutover/ready").await.status, 200);
    assert!(blue.heads().is_empty());
    let mut secure = Connection::over(secure(https, &identity, None, "http/1.1").await.expect("TLS"));
    assert_eq!(secure.get("/").await.text(), "blue");
}

#[tokio::test]
async fn a_stop_tells_http2_clients_to_go_and_finishes_their_streams() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let stream = TcpStream::connect(proxy.http).await.expect("a connection");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let connection = tokio::spawn(connection);
    let (answer, _) = client.send_request(request("/gated"), true).expect("it is open");
    let answer = soon("a head", answer).await.expect("an answer");
    proxy.signal(rustix::process::Signal::TERM);
    proxy.until_logged("Shutting down").await;
    until("no further stream is taken", async || {
        let mut next = client.clone().ready().await.ok();
        let taken = next.as_mut().and_then(|next| next.send_request(request("/"), true).ok());
        match taken {
            None => Some(()),
            Some((answer, _)) => answer.await.is_err().then_some(()),
        }
    })
    .await;
    blue.open_gate();
    assert_eq!(soon("its body", whole(answer.into_body())).await.0, b"[done]");
    let _ = soon("the end of the connection", connection).await;
    assert!(proxy.ended().await.success());
}
