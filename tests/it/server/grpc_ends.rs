//! gRPC streams that the proxy ends: clients are told by trailers that the call can be made again, and not by a reset, which
//! they take for an error of the call.

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::Request;
use rustix::process::Signal;

use crate::http2::{Client, Endpoint, some, start_over_http2};
use crate::proxy::Proxy;
use crate::{soon, until};

fn call(path: &str) -> Request<()> {
    let request = Request::post(format!("http://test{path}")).header("content-type", "application/grpc");
    request.header("te", "trailers").body(()).expect("a request")
}

/// A call whose answer has begun; its requests may still come.
async fn begun(client: &mut Client) -> (h2::SendStream<Bytes>, h2::RecvStream) {
    let (answer, send) = client.begin(call("/call-breaks"), false).await.expect("it is taken");
    let mut body = soon("a head", answer).await.expect("a head").into_body();
    assert_eq!(some(&mut body, 4).await, b"half");
    (send, body)
}

/// The call ends with this status.
async fn ends_with(mut body: h2::RecvStream, status: &str) {
    assert!(soon("an end", body.data()).await.is_none(), "it is reset");
    let trailers = soon("trailers", body.trailers()).await.expect("a clean end").expect("trailers");
    assert_eq!(trailers["grpc-status"], status);
    assert!(trailers.contains_key("grpc-message"));
}

/// An answer of trailers alone.
async fn is_refused_with(answer: ResponseFuture, status: &str) {
    let answer = soon("an answer", answer).await.expect("no reset");
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &status.parse().expect("text")));
}

async fn site(drain: &str, upstream: &str) -> (Endpoint, Endpoint, Proxy) {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let proxy = start_over_http2(&blue, &green, |setup| {
        setup.drain = drain.to_owned();
        setup.more.push_str(upstream);
    })
    .await;
    (blue, green, proxy)
}

#[tokio::test]
async fn a_drain_ends_grpc_streams_as_unavailable() {
    let (blue, _green, proxy) = site("timeout = \"300ms\"", "").await;
    let mut client = Client::connect(proxy.http).await;
    let (_send, body) = begun(&mut client).await;
    let (unanswered, _send) = client.begin(call("/hangs"), true).await.expect("it is taken");
    until("both are there", async || (blue.asked("/hangs") == 1).then_some(())).await;
    proxy.switch("green").await;
    ends_with(body, "14").await;
    is_refused_with(unanswered, "14").await;
    assert_eq!(client.get("/").await.text(), "green", "the connection goes on");
}

#[tokio::test]
async fn a_stop_ends_grpc_streams_as_unavailable() {
    let (blue, _green, mut proxy) = site("timeout = \"300ms\"", "").await;
    let mut client = Client::connect(proxy.http).await;
    let (_send, body) = begun(&mut client).await;
    let (unanswered, _send) = client.begin(call("/hangs"), true).await.expect("it is taken");
    until("both are there", async || (blue.asked("/hangs") == 1).then_some(())).await;
    proxy.signal(Signal::TERM);
    ends_with(body, "14").await;
    is_refused_with(unanswered, "14").await;
    proxy.ended().await;
}

#[tokio::test]
async fn idle_grpc_streams_end_as_unavailable_and_late_answers_as_over_their_deadline() {
    let timeouts = "stream_idle_timeout = \"1s\"\nresponse_timeout = \"1s\"\n";
    let (_blue, _green, proxy) = site("timeout = \"20s\"", timeouts).await;
    let mut client = Client::connect(proxy.http).await;
    let (_send, body) = begun(&mut client).await;
    let (unanswered, _send) = client.begin(call("/hangs"), true).await.expect("it is taken");
    let ends = async { tokio::join!(ends_with(body, "14"), is_refused_with(unanswered, "4")) };
    ends.await;
}
