//! The post of one notice, on a connection of its own. Errors leave out the address: knowing it is the right to post.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::config::receiver::ReceiverUrl;
use crate::http_client::{self, Stream};
use crate::notify::proxy::Proxy;
use crate::tls::client::{ClientSettings, ClientTls};

/// The bytes of an answer that are read.
const READ: usize = 16 << 10;
/// The characters of it in a message.
const TOLD: usize = 100;

/// The authorities of the system, read at the first use.
static TLS: OnceCell<ClientTls> = OnceCell::const_new();

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Delivered(u16),
    /// 410.
    Gone,
    /// Failed, or unknown.
    Failed {
        /// Without secrets.
        why: String,
        /// The receiver's `Retry-After`.
        patience: Option<Duration>,
        /// There was an answer, so another notice may succeed.
        answered: bool,
    },
}

impl Delivery {
    pub(super) fn failed(why: impl Into<String>) -> Delivery {
        Delivery::Failed { why: why.into(), patience: None, answered: false }
    }
}

pub(super) async fn post(
    url: &ReceiverUrl,
    headers: &[(&'static str, String)],
    body: String,
    timeout: Duration,
) -> Delivery {
    match tokio::time::timeout(timeout, exchange(url, headers, body)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => Delivery::failed(without(url, &why)),
        Err(_) => Delivery::failed(format!("no answer within {}", humantime::format_duration(timeout))),
    }
}

async fn exchange(url: &ReceiverUrl, headers: &[(&'static str, String)], body: String) -> Result<Delivery, String> {
    let proxy = Proxy::of(url)?;
    let stream = connect(url, proxy.as_ref()).await?;
    let broken = |_| "the receiver closed the connection without an answer".to_owned();
    // Without TLS the forward proxy routes by the absolute address.
    let forwarding = proxy.filter(|_| !url.tls);
    let target = match &forwarding {
        Some(_) => format!("http://{}{}", url.authority, url.path),
        None => url.path.clone(),
    };
    let mut request = Request::post(target)
        .header(header::HOST, url.authority.as_str())
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header(header::USER_AGENT, concat!("cutover/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if let Some(credentials) = forwarding.and_then(|proxy| proxy.credentials) {
        request = request.header(header::PROXY_AUTHORIZATION, credentials);
    }
    for (name, value) in headers {
        request = request.header(*name, value.as_str());
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let mut answer = http_client::send(stream, request).await.map_err(broken)?;
    let read = answer.beginning(READ).await;
    let head = answer.head();
    // The receiver may have it; the next attempt has the same id.
    let read = read.map_err(|_| format!("the receiver broke off in the middle of its answer ({})", head.status))?;
    Ok(judged(url, head.status, &head.headers, &read, SystemTime::now()))
}

fn judged(url: &ReceiverUrl, status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Delivery {
    if status.is_success() {
        return Delivery::Delivered(status.as_u16());
    }
    if status == StatusCode::GONE {
        return Delivery::Gone;
    }
    let said = if status.is_redirection() { " (redirects are not followed)".to_owned() } else { said(url, body) };
    let asks = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    Delivery::Failed {
        why: format!("the receiver answered {}{said}", status.as_u16()),
        patience: retry_after(headers, now).filter(|_| asks),
        answered: true,
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// The reason in the answer, such as Slack's `invalid_blocks`; empty where it could echo the request.
fn said(url: &ReceiverUrl, body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || " _-.,:'".contains(c);
    let worth = !text.is_empty() && text.len() <= TOLD && text.chars().all(plain);
    let echo = url.path.split(['/', '?', '&', '=']).any(|part| part.len() >= 4 && text.contains(part));
    if worth && !echo { format!(": {text}") } else { String::new() }
}

async fn connect(url: &ReceiverUrl, proxy: Option<&Proxy>) -> Result<Box<dyn Stream>, String> {
    let (tls, host, port) = match proxy {
        Some(proxy) => (proxy.tls, proxy.host.as_str(), proxy.port),
        None => (false, url.host.as_str(), url.port),
    };
    let of_proxy = |error: io::Error| match proxy {
        Some(_) => format!("the proxy of the environment can't be used: {}", in_words(&error)),
        None => in_words(&error),
    };
    let stream = TcpStream::connect((host, port)).await.map_err(of_proxy)?;
    stream.set_nodelay(true).map_err(of_proxy)?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    if tls {
        let authorities = TLS.get_or_try_init(authorities).await.map_err(of_proxy)?;
        stream = Box::new(authorities.connect(host, stream).await.map_err(of_proxy)?);
    }
    if !url.tls {
        return Ok(stream);
    }
    if let Some(proxy) = proxy {
        proxy.tunnel(&mut stream, url).await.map_err(|error| in_words(&error))?;
    }
    let authorities = TLS.get_or_try_init(authorities).await.map_err(|error| in_words(&error))?;
    Ok(Box::new(authorities.connect(&url.host, stream).await.map_err(|error| in_words(&error))?))
}

async fn authorities() -> io::Result<ClientTls> {
    let settings = ClientSettings { ca: None, server_name: None, client_cert: None, client_key: None, http2: false };
    let loaded = tokio::task::spawn_blocking(move || ClientTls::load(&settings)).await.map_err(io::Error::other)?;
    loaded.map_err(|errors| io::Error::other(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "the receiver closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// TLS errors name the host.
fn without(url: &ReceiverUrl, why: &str) -> String {
    why.replace(&url.host, "the receiver")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> ReceiverUrl {
        ReceiverUrl::parse("https://hooks.example.com/services/T000/B000/s3cr3t?x=token99").expect("a URL")
    }

    fn judge(status: u16, headers: &[(header::HeaderName, &str)], body: &str) -> Delivery {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_820_187);
        judged(&url(), StatusCode::from_u16(status).expect("a status"), &headers, body.as_bytes(), now)
    }

    fn failed(why: &str, patience: Option<u64>) -> Delivery {
        Delivery::Failed { why: why.to_owned(), patience: patience.map(Duration::from_secs), answered: true }
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        assert_eq!(judge(204, &[], ""), Delivery::Delivered(204));
        assert_eq!(judge(410, &[], "gone"), Delivery::Gone);
        assert_eq!(judge(400, &[], "invalid_blocks"), failed("the receiver answered 400: invalid_blocks", None));
        let to = [(header::LOCATION, "http://169.254.169.254/")];
        assert_eq!(judge(307, &to, ""), failed("the receiver answered 307 (redirects are not followed)", None));
    }

    #[test]
    fn a_receiver_may_ask_for_patience_in_seconds_or_by_a_date() {
        let after = |value| [(header::RETRY_AFTER, value)];
        assert_eq!(judge(429, &after("30"), ""), failed("the receiver answered 429", Some(30)));
        let date = "Sat, 22 Nov 2025 14:04:07 GMT";
        assert_eq!(judge(503, &after(date), ""), failed("the receiver answered 503", Some(60)));
        assert_eq!(judge(429, &after("soon"), ""), failed("the receiver answered 429", None));
        assert_eq!(judge(500, &after("30"), ""), failed("the receiver answered 500", None));
    }

    #[test]
    fn what_could_be_a_secret_is_not_told() {
        for body in ["no such token: s3cr3t", "token99", "<html>", "{\"url\":\"x\"}", &"a".repeat(101)] {
            assert_eq!(judge(404, &[], body), failed("the receiver answered 404", None), "{body}");
        }
        assert_eq!(without(&url(), "not valid for hooks.example.com"), "not valid for the receiver");
        assert_eq!(format!("{:?}", url()), "[secret]");
    }
}
