//! The PROXY protocol: who the client is, where a balancer stands in front.

use std::net::{Ipv4Addr, SocketAddr};

use rcgen::DnType;
use tokio::net::TcpSocket;

use crate::application::{Application, pair};
use crate::certificates::{Authority, replace};
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};
use crate::until;

async fn start(listen: &str) -> (Application, Application, Proxy) {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = listen.to_owned();
    let proxy = setup.start().await;
    (blue, green, proxy)
}

const LISTED: &str = "proxy_protocol = [\"127.0.0.1\"]";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, addresses].concat()
}

/// From 203.0.113.7:4711.
fn v2_of_somebody() -> Vec<u8> {
    v2(1, 0x11, &[203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x67, 0, 80])
}

async fn sent(proxy: &Proxy, bytes: &[u8]) -> Option<Answer> {
    let mut client = proxy.connect().await;
    let _ = client.try_send(bytes).await;
    client.try_answer(false).await
}

fn forwarded(application: &Application) -> String {
    let head = application.last_head().to_ascii_lowercase();
    let field = head.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    field.expect("it is always there").to_owned()
}

async fn until_logged(proxy: &Proxy, text: &str) {
    until(&format!("the access log says {text}"), async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        log.contains(text).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_listed_peer_says_who_the_client_is() {
    let (blue, _green, proxy) = start(LISTED).await;
    let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
    let with_more = [&[203, 0, 113, 8, 127, 0, 0, 1, 0x12, 0x67, 0, 80][..], &[4, 0, 3, 1, 2, 3]].concat();
    let rows = [
        (b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 80\r\n".to_vec(), "203.0.113.9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN 203.0.113.7 127.0.0.1 4711 80\r\n".to_vec(), "127.0.0.1"),
        (v2_of_somebody(), "203.0.113.7"),
        (v2(1, 0x11, &with_more), "203.0.113.8"),
        (v2(1, 0x21, &v6), "2001:db8::9"),
        (v2(0, 0, &[]), "127.0.0.1"),
        (v2(0, 0x11, &[203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x67, 0, 80]), "127.0.0.1"),
        (v2(1, 0, &[]), "127.0.0.1"),
    ];
    for (header, expected) in rows {
        let shown = String::from_utf8_lossy(&header).into_owned();
        let forged = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n";
        let mut client = proxy.connect().await;
        client.send([&header[..], forged].concat()).await;
        assert_eq!(client.answer().await.text(), "blue", "{shown}");
        assert_eq!(forwarded(&blue), expected, "{shown}");
        // It counts for the whole connection.
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "blue", "{shown}");
        assert_eq!(forwarded(&blue), expected, "{shown}");
    }
    until_logged(&proxy, "\"203.0.113.7\"").await;
    until_logged(&proxy, "\"2001:db8::9\"").await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let (blue, _green, proxy) = start(LISTED).await;
    for header in [b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n".to_vec(), v2_of_somebody()] {
        let mut client = proxy.connect().await;
        for byte in [&header[..], GET].concat() {
            client.send([byte]).await;
        }
        assert_eq!(client.answer().await.text(), "blue");
        assert_eq!(forwarded(&blue), "203.0.113.7");
    }
}

#[tokio::test]
async fn a_listed_peer_without_a_header_is_closed_without_an_answer() {
    let (blue, _green, proxy) = start(LISTED).await;
    let rows: [&[u8]; 9] = [
        GET,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4711\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 203.0.113.777 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP5 203.0.113.7 127.0.0.1 4711 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x01\x02\x03\x04GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for bytes in rows {
        let mut client = proxy.connect().await;
        let _ = client.try_send(bytes).await;
        assert!(client.ended().await, "{}", String::from_utf8_lossy(bytes));
    }
    let mut endless = proxy.connect().await;
    let _ = endless.try_send([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 4000]].concat()).await;
    assert!(endless.ended().await);
    assert_eq!(blue.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn from_everybody_else_such_a_header_is_not_understood() {
    let (blue, _green, proxy) = start("proxy_protocol = [\"127.0.0.2\"]").await;
    for header in [b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n".to_vec(), v2_of_somebody()] {
        let answer = sent(&proxy, &[&header[..], GET].concat()).await;
        assert_eq!(answer.expect("an answer").status, 400);
    }
    assert_eq!(blue.heads(), Vec::<String>::new());
    assert_eq!(proxy.color().await, "blue", "they speak HTTP");
    assert_eq!(forwarded(&blue), "127.0.0.1");

    // The balancer itself.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))).expect("an address");
    let mut balancer = Connection::over(socket.connect(proxy.http).await.expect("it accepts"));
    balancer.send([&v2_of_somebody()[..], GET].concat()).await;
    assert_eq!(balancer.answer().await.text(), "blue");
    assert_eq!(forwarded(&blue), "203.0.113.7");
}

#[tokio::test]
async fn a_header_that_does_not_come_in_time_is_closed() {
    let (blue, _green, proxy) = start(&format!("{LISTED}\nheader_timeout = \"100ms\"")).await;
    for begun in [&b""[..], b"PROXY TCP4 203.0.113.7", &SIGNATURE[..7], &v2_of_somebody()[..20]] {
        let mut client = proxy.connect().await;
        client.send(begun).await;
        assert!(client.ended().await);
    }
    // What comes behind it has its own time.
    let mut client = proxy.connect().await;
    client.send([&v2_of_somebody()[..], b"GET / HT"].concat()).await;
    assert_eq!(client.answer().await.status, 408);
    assert_eq!(blue.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn it_stands_before_http2_and_before_tls() {
    let (blue, green) = pair().await;
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    authority.issue(&["site.test"]).write(dir.path(), "site");
    replace(&dir.path().join("ca.pem"), &authority.pem());
    let mut setup = Setup::new(&blue, &green);
    setup.listen = format!("{LISTED}\nhttps = \"127.0.0.1:0\"");
    setup.more = format!(
        "[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n\
         client_ca = \"{path}/ca.pem\"\nclient_auth = \"request\"\n"
    );
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let https: SocketAddr = proxy.status().await["https_address"].as_str().expect("text").parse().expect("an address");

    let ahead = async |address: SocketAddr| {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it accepts");
        tokio::io::AsyncWriteExt::write_all(&mut stream, &v2_of_somebody()).await.expect("it reads");
        stream
    };
    let mut client = crate::http2::Client::over(ahead(proxy.http).await).await;
    assert_eq!(client.get("/").await.text(), "blue");
    assert_eq!(forwarded(&blue), "203.0.113.7");

    let ann = authority.issue_to(&[], &[(DnType::CommonName, "ann")]);
    for alpn in ["http/1.1", "h2"] {
        let tls = authority.handshake(ahead(https).await, "site.test", &[alpn], Some(&ann)).await.expect("a handshake");
        let answer = match alpn {
            "h2" => crate::http2::Client::over(tls).await.get("/").await,
            _ => Connection::over(tls).get("/").await,
        };
        assert_eq!(answer.text(), "blue");
        assert_eq!(forwarded(&blue), "203.0.113.7");
        assert!(blue.last_head().to_ascii_lowercase().contains("x-client-cert-subject: cn=ann\r\n"));
    }

    let plain = authority.connect(https, "site.test", &[], None).await;
    assert!(plain.is_err(), "without the header there is no handshake");
}
