//! One post to the collector, on a connection of its own (OTLP over HTTP).

use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::config::{CollectorUrl, TraceConfig};
use crate::http_client::{self, Stream};
use crate::tls::client::{ClientSettings, ClientTls};

/// The bytes of an answer that are read.
const READ: usize = 16 << 10;
/// The characters of it in a message.
const TOLD: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Taken {
        rejected: u64,
        reason: String,
    },
    /// The same post would fail again.
    Rejected(String),
    Failed {
        reason: String,
        patience: Option<Duration>,
    },
}

#[derive(Debug)]
pub(super) struct Poster {
    endpoint: CollectorUrl,
    settings: ClientSettings,
    timeout: Duration,
    /// Read at the first use, and again after a failure: the file may have been replaced.
    tls: Option<ClientTls>,
}

impl Poster {
    pub(super) fn of(config: &TraceConfig) -> Option<Poster> {
        let endpoint = config.endpoint.clone()?;
        let ca = config.ca.clone();
        let settings = ClientSettings { ca, server_name: None, client_cert: None, client_key: None, http2: false };
        Some(Poster { endpoint, settings, timeout: config.timeout, tls: None })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint.text
    }

    pub(super) async fn post(&mut self, body: Bytes) -> Answer {
        let timeout = self.timeout;
        let failed = |reason| Answer::Failed { reason, patience: None };
        let answer = match tokio::time::timeout(timeout, self.exchange(body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => failed(error.to_string()),
            Err(_) => failed(format!("no answer within {}", humantime::format_duration(timeout))),
        };
        if matches!(answer, Answer::Failed { .. }) {
            self.tls = None;
        }
        answer
    }

    async fn exchange(&mut self, body: Bytes) -> io::Result<Answer> {
        let url = &self.endpoint.url;
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        let stream: Box<dyn Stream> = match url.tls {
            false => Box::new(stream),
            true => {
                let tls = match self.tls.take() {
                    Some(tls) => tls,
                    None => load(self.settings.clone()).await?,
                };
                let stream = tls.connect(&url.host, stream).await?;
                self.tls = Some(tls);
                Box::new(stream)
            }
        };
        let request = Request::post(url.path.as_str())
            .header(header::HOST, url.authority.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("cutover/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let mut answer = http_client::send(stream, request).await.map_err(io::Error::other)?;
        let read = answer.beginning(READ).await.map_err(io::Error::other)?;
        Ok(judged(answer.status(), &answer.head().headers, &read, SystemTime::now()))
    }
}

async fn load(settings: ClientSettings) -> io::Result<ClientTls> {
    let loaded = tokio::task::spawn_blocking(move || ClientTls::load(&settings)).await.map_err(io::Error::other)?;
    loaded.map_err(|errors| io::Error::other(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

fn judged(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Answer {
    if status.is_success() {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let partial = &document["partialSuccess"];
        // An int64 is a string in the JSON form of OTLP; some collectors write a number.
        let rejected = &partial["rejectedSpans"];
        let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0);
        let said = shown(partial["errorMessage"].as_str().unwrap_or_default());
        return Answer::Taken { rejected, reason: format!("the collector rejected {rejected} spans{said}") };
    }
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = shown(document["message"].as_str().unwrap_or_default());
    let reason = match status.is_redirection() {
        true => format!("the collector answered {} (redirects are not followed)", status.as_u16()),
        false => format!("the collector answered {}{said}", status.as_u16()),
    };
    match status.as_u16() {
        429 | 502 | 503 | 504 => Answer::Failed { reason, patience: retry_after(headers, now) },
        _ => Answer::Rejected(reason),
    }
}

fn shown(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(TOLD).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        judged(status, &HeaderMap::new(), body.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_success_may_be_partial() {
        let rejected = |body: &str| match judge(200, body) {
            Answer::Taken { rejected, .. } => rejected,
            other => panic!("{other:?}"),
        };
        assert_eq!(rejected("{}"), 0);
        assert_eq!(rejected(""), 0);
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#), 3);
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":3}}"#), 3);
    }

    #[test]
    fn only_overload_and_gateways_are_tried_again() {
        for status in [429, 502, 503, 504] {
            assert!(matches!(judge(status, ""), Answer::Failed { .. }), "{status}");
        }
        for status in [307, 400, 401, 404, 413, 500, 501] {
            assert!(matches!(judge(status, ""), Answer::Rejected(_)), "{status}");
        }
        let said = judge(400, r#"{"code":3,"message":"no such\u0007 tenant"}"#);
        assert_eq!(said, Answer::Rejected("the collector answered 400: no such tenant".to_owned()));
    }

    #[test]
    fn an_overloaded_collector_may_ask_for_patience() {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, "7".parse().expect("a value"))]);
        let answer = judged(StatusCode::SERVICE_UNAVAILABLE, &headers, b"", SystemTime::UNIX_EPOCH);
        let asked =
            matches!(answer, Answer::Failed { patience: Some(patience), .. } if patience == Duration::from_secs(7));
        assert!(asked, "{answer:?}");
    }
}
