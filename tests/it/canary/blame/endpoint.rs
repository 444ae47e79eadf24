//! Ends for which an endpoint or its release is to blame, and answers for which nobody is.

use cutover::internals::domain::color::Color;
use cutover::internals::domain::verdict::Class;
use tokio::net::TcpListener;

use super::{Bench, Does, Evidence, GET, Row};

#[tokio::test]
async fn a_good_answer_blames_nobody() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 303 See Other\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    ] {
        let bench = Bench::start(Does::Say(answer)).await;
        bench.get().await.expect("an answer");
        bench.ended(Row { error: None, blame: None, evidence: Evidence::Good, ejected: false }).await;
    }
}

#[tokio::test]
async fn a_4xx_and_an_unknown_method_are_the_clients_and_never_an_error() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n",
    ] {
        let bench = Bench::start(Does::Say(answer)).await;
        bench.get().await.expect("an answer");
        let row = Row { error: None, blame: Some("client"), evidence: Evidence::ClientError, ejected: false };
        bench.ended(row).await;
    }
}

const MISSING: Does = Does::Say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
const LINGER: &str = "[linger]\npaths = [\"/case\"]\n";

#[tokio::test]
async fn a_file_that_the_other_color_has_is_no_evidence_against_either() {
    let mut bench = Bench::with(MISSING, LINGER).await;
    assert_eq!(bench.get().await, Some(200));
    let line = bench.site.logged(|line| line["path"] == "/case").await;
    assert_eq!((&line["lingered"], &line["color"]), (&true.into(), &"blue".into()), "{line}");
    let stable = bench.site.counted("")[cutover::internals::domain::color::Color::Blue];
    assert_eq!(super::evidence(&stable), Evidence::None, "{stable:?}");
    bench.ended(Row { error: None, blame: None, evidence: Evidence::None, ejected: false }).await;
}

#[tokio::test]
async fn a_file_that_the_other_color_could_not_be_asked_for_is_no_evidence() {
    let Bench { site, _blue } = Bench::with(MISSING, LINGER).await;
    let nobody = crate::application::Application::start("blue").await;
    _blue.stop().await;
    let bench = Bench { site, _blue: nobody };
    assert_eq!(bench.get().await, Some(404));
    bench.blames_client(None).await;
}

#[tokio::test]
async fn a_500_is_the_releases_and_ejects_no_endpoint() {
    let bench = Bench::start(Does::Say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(bench.get().await, Some(500));
    bench.ended(Row { error: None, blame: Some("release"), evidence: Evidence::Error, ejected: false }).await;
}

#[tokio::test]
async fn a_gateways_502_to_504_is_the_endpoints() {
    for answer in [
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
    ] {
        let bench = Bench::start(Does::Say(answer)).await;
        bench.get().await.expect("an answer");
        bench.blames_endpoint(None, true).await;
    }
}

#[tokio::test]
async fn a_grpc_status_is_charged_unless_the_client_brought_it_about() {
    let rows = [
        ("0", "", None, Evidence::Good),
        ("1", "", Some("client"), Evidence::None),
        ("3", "", Some("client"), Evidence::ClientError),
        ("4", "", Some("release"), Evidence::Error),
        ("4", "grpc-timeout: 1n\r\n", Some("client"), Evidence::None),
        ("4", "grpc-timeout: 1H\r\n", Some("release"), Evidence::Error),
        ("12", "", Some("client"), Evidence::ClientError),
        ("13", "", Some("release"), Evidence::Error),
    ];
    for (status, fields, blame, evidence) in rows {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: {status}\r\nContent-Length: 0\r\n\r\n"
        );
        let bench = Bench::start(Does::Say(answer.leak())).await;
        let mut client = bench
            .send(&format!(
                "POST /case HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n{fields}Content-Length: 0\r\n\r\n"
            ))
            .await;
        client.answer().await;
        bench.ended(Row { error: None, blame, evidence, ejected: false }).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_the_endpoints() {
    let mut gone = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        gone.push(listener.local_addr().expect("bound").to_string());
    }
    let bench = Bench::before([gone.remove(0), gone.remove(0)], "").await;
    assert_eq!(bench.get().await, Some(502));
    bench.blames_endpoint(Some("connection_refused"), true).await;
}

#[tokio::test]
async fn a_connection_that_is_not_taken_in_time_is_the_endpoints() {
    let mut full = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("bound");
        // A backlog that is full drops whoever comes.
        for _ in 0..4 {
            let connecting = tokio::net::TcpStream::connect(address);
            held.push(tokio::time::timeout(std::time::Duration::from_millis(50), connecting).await);
        }
        full.push((address.to_string(), listener));
    }
    let bench = Bench::before([full[0].0.clone(), full[1].0.clone()], "").await;
    assert_eq!(bench.get().await, Some(504));
    bench.blames_endpoint(Some("connection_timeout"), true).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_blames_nobody() {
    let names = ["first.invalid:80", "second.invalid:80"].map(str::to_owned);
    let bench = Bench::before(names, "").await;
    assert_eq!(bench.get().await, Some(502));
    bench
        .ended(Row { error: Some("dns_error"), blame: Some("nobody"), evidence: Evidence::None, ejected: false })
        .await;
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_the_endpoints() {
    let bench = Bench::start(Does::SayAndClose("")).await;
    assert_eq!(bench.get().await, Some(502));
    bench.blames_endpoint(Some("connection_terminated"), true).await;
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_the_endpoints() {
    let bench = Bench::start(Does::Say("SSH-2.0-OpenSSH_9.2\r\n\r\n")).await;
    assert_eq!(bench.get().await, Some(502));
    bench.blames_endpoint(Some("http_protocol_error"), true).await;
}

#[tokio::test]
async fn no_answer_in_time_is_the_endpoints() {
    let bench = Bench::with(Does::Hang, "response_timeout = \"200ms\"").await;
    assert_eq!(bench.get().await, Some(504));
    bench.blames_endpoint(Some("http_response_timeout"), true).await;
}

#[tokio::test]
async fn an_upload_that_is_not_taken_in_time_is_the_endpoints() {
    let bench = Bench::with(Does::Hang, "response_timeout = \"300ms\"").await;
    let mut client = bench.connect().await;
    client.send("POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
    // More than all buffers on the way hold.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(250), client.try_send(vec![b'x'; 100_000_000])).await;
    bench.blames_endpoint(Some("http_response_timeout"), true).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_off_or_stops_is_the_endpoints() {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    for does in [Does::SayAndClose(HALF), Does::Say(HALF)] {
        let bench = Bench::with(does, "idle_timeout = \"200ms\"").await;
        assert_eq!(bench.get().await, Some(200));
        // Its head was a success.
        bench.blames_endpoint(Some("http_response_incomplete"), false).await;
    }
}

#[tokio::test]
async fn an_early_error_to_a_quick_upload_is_the_releases() {
    let bench = Bench::start(Does::Say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")).await;
    let mut client = bench.send("POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    let _ = client.try_send("0123456789").await;
    assert_eq!(client.answer().await.status, 500);
    bench.ended(Row { error: None, blame: Some("release"), evidence: Evidence::Error, ejected: false }).await;
}

#[tokio::test]
async fn a_quiet_stream_blames_nobody() {
    // Only a gRPC call says at its end how it went; the others were good when they began.
    for (kind, evidence) in [
        ("text/event-stream", Evidence::Good),
        ("application/grpc", Evidence::None),
        ("multipart/x-mixed-replace; boundary=x", Evidence::Good),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\ndata: 1\n\n");
        let timeouts = "idle_timeout = \"100ms\"\nstream_idle_timeout = \"400ms\"";
        let bench = Bench::with(Does::Say(answer.leak()), timeouts).await;
        let began = std::time::Instant::now();
        let _client = bench.send(GET).await;
        let row = Row { error: Some("stream_idle"), blame: Some("nobody"), evidence, ejected: false };
        bench.ended(row).await;
        assert!(began.elapsed() >= std::time::Duration::from_millis(400), "not by the timeout of other answers");
    }
}

#[tokio::test]
async fn a_stream_is_good_when_it_begins_and_an_error_when_its_endpoint_breaks_it() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\ndata: 1\n\n";
    let mut bench = Bench::start(Does::Say(EVENTS)).await;
    let mut client = bench.send(GET).await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    let counts = bench.site.counted("")[Color::Green];
    assert_eq!((counts.completed, counts.bad[Class::Error as usize]), (1, 0), "it is under way");
    let bench = Bench::start(Does::SayAndClose(EVENTS)).await;
    assert_eq!(bench.get().await, Some(200));
    bench.blames_endpoint(Some("http_response_incomplete"), false).await;
}

#[tokio::test]
async fn a_quiet_tunnel_blames_nobody() {
    const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let timeouts = "idle_timeout = \"100ms\"\nstream_idle_timeout = \"300ms\"";
    let bench = Bench::with(Does::Say(SWITCHED), timeouts).await;
    let mut client = bench.send("GET /case HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 101);
    assert!(client.ended().await, "it is closed");
    let row = Row { error: Some("stream_idle"), blame: Some("nobody"), evidence: Evidence::Good, ejected: false };
    bench.ended(row).await;
}

#[tokio::test]
async fn an_endpoint_that_can_not_be_trusted_is_to_blame() {
    let key = rcgen::generate_simple_self_signed(vec!["elsewhere.example".to_owned()]).expect("a certificate");
    let bench_dir = tempfile::tempdir().expect("a directory");
    let ca = bench_dir.path().join("ca.pem");
    std::fs::write(&ca, key.cert.pem()).expect("a file");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key"),
        )
        .expect("a configuration");
    let application = crate::application::Application::start("green").await;
    let config = std::sync::Arc::new(config);
    let first = application.also_over_tls(std::sync::Arc::clone(&config)).await;
    let second = application.also_over_tls(config).await;
    let tls = format!("tls = {{ ca = {:?} }}", ca.display().to_string());
    let bench = Bench::before([first.to_string(), second.to_string()], &tls).await;
    assert_eq!(bench.get().await, Some(502));
    bench.blames_endpoint(Some("tls_certificate_error"), true).await;
}

#[tokio::test]
async fn an_endpoint_that_asks_for_calm_charges_nobody() {
    let server = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.ok()?;
                    let (request, mut respond) = connection.accept().await?.ok()?;
                    if request.method() == "PUT" {
                        let answer =
                            http::Response::builder().header("content-length", "100").body(()).expect("an answer");
                        let mut body = respond.send_response(answer, false).ok()?;
                        body.send_data(bytes::Bytes::from_static(b"half"), false).ok()?;
                        let _ = tokio::time::timeout(std::time::Duration::from_millis(100), connection.accept()).await;
                        body.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
                    } else {
                        respond.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
                    }
                    while let Some(Ok(_)) = connection.accept().await {}
                    Some(())
                });
            }
        });
        address.to_string()
    };
    for (method, error) in [("POST", "connection_terminated"), ("PUT", "http_response_incomplete")] {
        let bench = Bench::before([server().await, server().await], "protocol = \"http2\"").await;
        let mut client = bench.send(&format!("{method} /case HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        client.try_answer(false).await.expect("an answer");
        bench.ended(Row { error: Some(error), blame: Some("nobody"), evidence: Evidence::None, ejected: false }).await;
    }
}

#[tokio::test]
async fn an_http2_endpoint_that_resets_a_request_with_a_large_head_is_not_charged() {
    let server = async |reason: h2::Reason| {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.ok()?;
                    let (_, mut respond) = connection.accept().await?.ok()?;
                    respond.send_reset(reason);
                    while let Some(Ok(_)) = connection.accept().await {}
                    Some(())
                });
            }
        });
        address.to_string()
    };
    let (protocol, internal) = (h2::Reason::PROTOCOL_ERROR, h2::Reason::INTERNAL_ERROR);
    for (reason, length, is_large) in [(protocol, 4096, true), (internal, 4096, true), (internal, 3000, false)] {
        let endpoints = [server(reason).await, server(reason).await];
        let bench = Bench::before(endpoints, "protocol = \"http2\"").await;
        let value = "x".repeat(length);
        let mut client = bench.send(&format!("GET /case HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 502);
        let error = Some("connection_terminated");
        match is_large {
            true => bench.ended(Row { error, blame: Some("nobody"), evidence: Evidence::None, ejected: false }).await,
            false => bench.blames_endpoint(error, true).await,
        }
    }
}
