//! Connections and requests that end at the proxy: `cutover_refused_total{reason}`. Each worker counts in its own
//! [`Refusals`].

use crate::telemetry::exposition::Page;
use crate::telemetry::meter::Count;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Invalid or ambiguous HTTP: 400, RST_STREAM.
    Malformed,
    /// 414
    TargetTooLong,
    /// 431
    HeadTooLarge,
    /// 408: a head that did not arrive in time.
    SlowHead,
    IncompleteHead,
    /// 408: a request body that stopped.
    SlowBody,
    /// 413 by `max_body`
    BodyTooLarge,
    /// 501: valid HTTP that the proxy does not support.
    NotImplemented,
    /// 308 by `listen.https_redirect`
    HttpsRedirect,
    /// 503 of the readiness path.
    NotReady,
    Maintenance,
    /// 404: no route for the host and path.
    NoRoute,
    /// 503: no endpoint is up.
    NoEndpoint,
    /// 503: no endpoint of the previewed release is up.
    NoPreview,
    /// 503 by `max_in_flight`
    MaxInFlight,
    /// 503: the queue of held requests is full.
    HoldFull,
    /// 503: held for too long.
    HoldExpired,
    /// 503: the process stops.
    Stopping,
    ProxyHeader,
    TlsHandshake,
    ClientCertificate,
    /// A connection error of HTTP/2: GOAWAY with an error code.
    Http2Protocol,
    /// GOAWAY with ENHANCE_YOUR_CALM
    Http2Flood,
    /// RST_STREAM with REFUSED_STREAM: more streams than announced.
    Http2Streams,
    /// An idle connection closed for a new one, by `listen.max_connections` or for lack of descriptors.
    MaxConnections,
    MaxConnectionsPerClient,
    /// 503: no descriptor is left for a connection to the endpoint.
    Descriptors,
    /// 503: no local port is left for a connection to the endpoint.
    Ports,
    /// 503: `listen.max_buffered`, or the kernel has no memory for a socket.
    Memory,
}

impl Refusal {
    /// In the order of [`Refusals`].
    pub(crate) const ALL: [(Refusal, &'static str); 29] = [
        (Refusal::Malformed, "malformed"),
        (Refusal::TargetTooLong, "target_too_long"),
        (Refusal::HeadTooLarge, "head_too_large"),
        (Refusal::SlowHead, "slow_head"),
        (Refusal::IncompleteHead, "incomplete_head"),
        (Refusal::SlowBody, "slow_body"),
        (Refusal::BodyTooLarge, "body_too_large"),
        (Refusal::NotImplemented, "not_implemented"),
        (Refusal::HttpsRedirect, "https_redirect"),
        (Refusal::NotReady, "not_ready"),
        (Refusal::Maintenance, "maintenance"),
        (Refusal::NoRoute, "no_route"),
        (Refusal::NoEndpoint, "no_endpoint"),
        (Refusal::NoPreview, "no_preview"),
        (Refusal::MaxInFlight, "max_in_flight"),
        (Refusal::HoldFull, "hold_full"),
        (Refusal::HoldExpired, "hold_expired"),
        (Refusal::Stopping, "stopping"),
        (Refusal::ProxyHeader, "proxy_header"),
        (Refusal::TlsHandshake, "tls_handshake"),
        (Refusal::ClientCertificate, "client_certificate"),
        (Refusal::Http2Protocol, "http2_protocol"),
        (Refusal::Http2Flood, "http2_flood"),
        (Refusal::Http2Streams, "http2_streams"),
        (Refusal::MaxConnections, "max_connections"),
        (Refusal::MaxConnectionsPerClient, "max_connections_per_client"),
        (Refusal::Descriptors, "descriptors"),
        (Refusal::Ports, "ports"),
        (Refusal::Memory, "memory"),
    ];

    /// Also `refused` in the access log.
    #[must_use]
    pub(crate) fn label(self) -> &'static str {
        Refusal::ALL[self as usize].1
    }
}

/// Padded so that two workers never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Refusals([Count; Refusal::ALL.len()]);

/// Sums over all workers, in the order of [`Refusal::ALL`].
pub(crate) type Refused = [u64; Refusal::ALL.len()];

impl Refusals {
    /// Only for the worker that owns the counts.
    pub(crate) fn add(&self, refusal: Refusal) {
        self.0[refusal as usize].add(1);
    }

    pub(crate) fn sum(workers: &[Refusals]) -> Refused {
        std::array::from_fn(|reason| workers.iter().map(|worker| worker.0[reason].get()).sum())
    }
}

pub(super) fn render(page: &mut Page, refused: &Refused) {
    let help = "Connections and requests that ended at the proxy, by reason.";
    let mut total = page.counter("cutover_refused_total", help);
    for ((_, label), count) in Refusal::ALL.iter().zip(refused) {
        total.sample(&[("reason", label)], *count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_label() {
        for (place, (refusal, label)) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, place, "{label}");
            assert_eq!(refusal.label(), *label);
            assert!(Refusal::ALL[..place].iter().all(|(_, other)| other != label), "{label}");
        }
    }

    #[test]
    fn workers_are_added() {
        let workers = [Refusals::default(), Refusals::default()];
        workers[0].add(Refusal::Memory);
        workers[1].add(Refusal::Memory);
        workers[1].add(Refusal::Malformed);
        let sum = Refusals::sum(&workers);
        assert_eq!((sum[Refusal::Memory as usize], sum[Refusal::Malformed as usize], sum.iter().sum()), (2, 1, 3_u64));
    }
}
