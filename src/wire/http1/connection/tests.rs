use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::wire::head::Name;

async fn request(wire: &mut Wire<DuplexStream>, max: usize) -> Result<Option<Head>, HeadError> {
    let mut head = Head::default();
    Ok(poll_fn(|cx| wire.poll_request(cx, &mut head, max)).await?.then_some(head))
}

fn coming(bytes: &str, piece: usize) -> Wire<DuplexStream> {
    let (mut theirs, ours) = duplex(1 << 16);
    let bytes = bytes.to_owned().into_bytes();
    tokio::spawn(async move {
        for piece in bytes.chunks(piece) {
            if theirs.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    Wire::new(ours)
}

async fn body(wire: &mut Wire<DuplexStream>) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    loop {
        let taken = poll_fn(|cx| {
            Poll::Ready(match ready!(wire.poll_body(cx)) {
                Ok(Piece::Data(data)) => {
                    all.extend_from_slice(data);
                    Ok(data.len())
                }
                Ok(Piece::End) => Ok(0),
                Err(error) => Err(error),
            })
        })
        .await?;
        if taken == 0 {
            return Ok(all);
        }
        wire.consume(taken);
    }
}

#[tokio::test]
async fn requests_are_read_one_after_the_other_however_they_are_cut() {
    let two = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.0\r\nhost:y \r\n\r\n";
    for piece in 1..=two.len() {
        let mut wire = coming(two, piece);
        let first = request(&mut wire, 4096).await.expect("a head").expect("a request");
        assert_eq!((first.method(), first.target(), first.text(Name::Host)), ("POST", "/a", Some("x")));
        wire.expect_body(Framing::of_request(&first, false).expect("a framing"));
        assert_eq!(body(&mut wire).await.expect("a body"), b"hello");
        let second = request(&mut wire, 4096).await.expect("a head").expect("a request");
        assert_eq!((second.method(), second.target(), second.text(Name::Host)), ("GET", "/b", Some("y")));
        assert!(request(&mut wire, 4096).await.expect("a clean end").is_none(), "by {piece}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_or_is_none_is_refused_and_half_of_one_is_told_apart() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(5000));
    for piece in [1000, 7000] {
        let refused = request(&mut coming(&long, piece), 4096).await;
        assert!(matches!(refused, Err(HeadError::Refused(Refused::TooLarge))), "{refused:?}");
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert!(matches!(request(&mut coming(&many, 9000), 4096).await, Err(HeadError::Refused(Refused::TooLarge))));
    let half = request(&mut coming("GET / HT", 3), 4096).await;
    assert!(matches!(half, Err(HeadError::Incomplete)), "{half:?}");
    for bad in [
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /#a HTTP/1.1\r\n\r\n",
        "GET /\u{e4} HTTP/1.1\r\n\r\n",
        "G\0T / HTTP/1.1\r\n\r\n",
    ] {
        let refused = request(&mut coming(bad, 100), 4096).await;
        assert!(matches!(refused, Err(HeadError::Refused(Refused::Malformed(_)))), "{bad:?}: {refused:?}");
    }
}

const HEAD: &str = "PUT / HTTP/1.1\r\n\r\n";

async fn sent(framing: Framing, pieces: &[&[u8]], narrow: usize) -> Vec<u8> {
    let (ours, mut theirs) = duplex(narrow);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.expect("a pipe");
        all
    });
    let mut wire = Wire::new(ours);
    let mut head = Head::default();
    head.set_request_line(b"PUT", b"/");
    wire.begin_request(&head, framing);
    for piece in pieces {
        let mut left = *piece;
        while !left.is_empty() {
            let n = poll_fn(|cx| wire.poll_send(cx, left)).await.expect("it is taken");
            left = &left[n..];
        }
    }
    let mut trailers = Head::default();
    trailers.push(b"x-sum", b"7");
    trailers.push(b"content-length", b"9");
    wire.finish(&trailers);
    poll_fn(|cx| wire.poll_shutdown(cx)).await.expect("it is taken");
    assert!(wire.has_written() && wire.waiting() == 0);
    drop(wire);
    reading.await.expect("no panic")
}

#[tokio::test]
async fn bodies_go_out_in_their_framing_however_little_goes_at_a_time() {
    let large = vec![b'z'; 50_000];
    let pieces: [&[u8]; 4] = [b"one", b"", &large, b"end"];
    let whole = [b"one".as_slice(), &large, b"end"].concat();
    for narrow in [7, 100, 4096, 1 << 20] {
        for framing in [Framing::Length(whole.len() as u64), Framing::UntilEnd] {
            assert!(sent(framing, &pieces, narrow).await == [HEAD.as_bytes(), &whole].concat(), "{framing:?} {narrow}");
        }
        let chunked = sent(Framing::Chunked, &pieces, narrow).await;
        let chunked = std::str::from_utf8(&chunked).expect("text").strip_prefix(HEAD).expect("the head");
        assert!(chunked.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{}", &chunked[chunked.len() - 40..]);
        let mut wire = coming(chunked, 3000);
        wire.expect_body(Framing::Chunked);
        assert!(body(&mut wire).await.expect("a body") == whole, "{narrow}");
        assert_eq!(wire.trailers().named(b"x-sum"), Some(&b"7"[..]));
    }
}

#[tokio::test]
async fn a_body_that_stops_is_not_taken_for_a_whole_one() {
    for (framing, bytes) in
        [(Framing::Length(10), "half"), (Framing::Chunked, "5\r\nhel"), (Framing::Chunked, "5\r\nhello\r\n")]
    {
        let mut wire = coming(bytes, 100);
        wire.expect_body(framing);
        assert!(matches!(body(&mut wire).await, Err(BodyError::Incomplete)), "{bytes}");
    }
    let mut wire = coming("all there is", 5);
    wire.expect_body(Framing::UntilEnd);
    assert_eq!(body(&mut wire).await.expect("the end is its end"), b"all there is");
}

#[tokio::test]
async fn nothing_counts_as_read_before_the_framing_is_known() {
    let mut wire = coming("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n", 1000);
    assert!(wire.is_read(), "nothing was asked");
    request(&mut wire, 4096).await.expect("a head").expect("a request");
    assert!(!wire.is_read());
    assert!(matches!(body(&mut wire).await, Err(BodyError::Malformed(_))));
    wire.expect_body(Framing::None);
    assert!(wire.is_read());
}

#[tokio::test]
async fn nothing_interim_is_written_behind_the_head_of_the_final_answer() {
    let answer = |status: u16| {
        let mut head = Head::default();
        head.set_status_line(status, b"x");
        head
    };
    let (ours, mut theirs) = duplex(4096);
    let mut wire = Wire::new(ours);
    assert!(!wire.interim(&answer(103)), "nothing was asked");
    for framing in [Framing::Length(2), Framing::Chunked, Framing::None] {
        theirs.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a pipe");
        request(&mut wire, 4096).await.expect("a head").expect("a request");
        assert!(wire.interim(&answer(103)) && wire.interim(&answer(100)));
        wire.begin_answer(&answer(200), framing);
        assert!(!wire.interim(&answer(100)) && !wire.takes_interim(), "{framing:?}");
        if framing != Framing::None {
            poll_fn(|cx| wire.poll_send(cx, b"ok")).await.expect("it is taken");
        }
        assert!(!wire.interim(&answer(100)), "{framing:?}: within the body");
        wire.finish(&Head::default());
        assert!(!wire.interim(&answer(100)), "{framing:?}: behind the body");
    }
    poll_fn(|cx| wire.poll_shutdown(cx)).await.expect("it is taken");
    drop(wire);
    let mut all = String::new();
    theirs.read_to_string(&mut all).await.expect("text");
    let heads: Vec<&str> = all.split("HTTP/1.1 ").filter_map(|rest| rest.get(..3)).collect();
    assert_eq!(heads, ["103", "100", "200"].repeat(3));
}

#[tokio::test]
async fn empty_lines_before_a_head_are_dropped_within_its_limit() {
    let request_line = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for piece in [1, 2, 3, 1000] {
        let mut wire = coming(&format!("{}{request_line}", "\r\n".repeat(100)), piece);
        assert_eq!(request(&mut wire, 4096).await.expect("a head").expect("a request").target(), "/", "by {piece}");
        let mut wire = coming(&format!("{}{request_line}", "\r\n".repeat(4000)), piece);
        let refused = request(&mut wire, 4096).await;
        assert!(matches!(refused, Err(HeadError::Refused(Refused::TooLarge))), "by {piece}: {refused:?}");
    }
}
