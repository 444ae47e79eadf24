use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::EndpointAddress;

fn policy(path: Option<&str>) -> HealthConfig {
    HealthConfig {
        path: path.map(str::to_owned),
        host: None,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        rise: 2,
        fall: 3,
        expect: (200, 299),
        release_header: None,
    }
}

/// An endpoint that answers each connection with these bytes and closes, and its count of connections.
async fn answering(bytes: &'static [u8]) -> (Arc<Endpoint>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    (Arc::new(Endpoint::new(EndpointAddress::Ip(address), 1)), asked)
}

async fn found(bytes: &'static [u8]) -> (bool, String) {
    let (endpoint, _) = answering(bytes).await;
    let found = probe(&endpoint, &Rules::default(), &policy(Some("/healthz"))).await;
    (found.passed, found.detail)
}

#[tokio::test]
async fn an_answer_that_ends_the_connection_in_the_same_breath_counts() {
    for _ in 0..200 {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(found(answer).await, (true, "200".to_owned()));
    }
}

#[tokio::test]
async fn a_status_outside_what_is_expected_fails_and_is_named() {
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(found(answer).await, (false, "503".to_owned()));
}

#[tokio::test]
async fn a_redirection_fails_and_says_where_to() {
    let answer = b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(found(answer).await, (false, "302 to /login".to_owned()));
}

#[tokio::test]
async fn what_is_not_http_is_told_from_what_says_nothing() {
    assert_eq!(found(b"SSH-2.0-OpenSSH_9.2\r\n").await, (false, "the answer is not HTTP".to_owned()));
    assert_eq!(found(b"").await, (false, "closed without an answer".to_owned()));
}

#[tokio::test]
async fn without_a_path_a_connection_is_enough() {
    let (endpoint, _) = answering(b"").await;
    let found = probe(&endpoint, &Rules::default(), &policy(None)).await;
    assert!(found.passed, "{found:?}");
}

#[tokio::test]
async fn an_application_does_not_see_a_check_that_only_connects() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a listener");
    let endpoint = Endpoint::new(EndpointAddress::Ip(listener.local_addr().expect("bound")), 1);
    let mut unseen = false;
    // A process that is stopped in the middle of a check shows its connection.
    for _ in 0..50 {
        let found = probe(&endpoint, &Rules::default(), &policy(None)).await;
        assert!(found.passed, "{found:?}");
        unseen |= listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    }
    assert!(unseen);
}

#[tokio::test]
async fn nobody_there_is_a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let found = probe(&Endpoint::new(EndpointAddress::Ip(address), 1), &Rules::default(), &policy(None)).await;
    assert_eq!((found.passed, found.detail.as_str()), (false, "connection refused"));
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = Endpoint::new(EndpointAddress::Ip(listener.local_addr().expect("bound")), 1);
    let policy = HealthConfig { timeout: Duration::from_millis(50), ..policy(Some("/")) };
    let found = probe(&endpoint, &Rules::default(), &policy).await;
    assert_eq!((found.passed, found.detail.as_str()), (false, "no answer within 50ms"));
}

#[test]
fn probes_of_many_endpoints_begin_at_a_few_moments_about_an_interval_later() {
    let (interval, now) = (Duration::from_secs(2), Instant::now());
    let mut moments = std::collections::HashSet::new();
    for _ in 0..1000 {
        let due = next_probe(now, interval);
        assert!((1_900..=2_120).contains(&(due - now).as_millis()), "{:?}", due - now);
        moments.insert(due);
    }
    assert!(moments.len() <= 12, "{}", moments.len());
    let short = next_probe(now, Duration::from_millis(50)) - now;
    assert!((47..=54).contains(&short.as_millis()), "{short:?}");
}
