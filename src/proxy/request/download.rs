//! The response's body on its way to the client.

use std::future::poll_fn;
use std::task::{Poll, ready};

use crate::proxy::blame::Blame;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::bad_answer;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::taking::{Taking, WaitsFor};
use crate::proxy::request::upload::Upload;
use crate::proxy::upstream::connections::UpstreamConnection;
use crate::telemetry::meter::InFlightKind;
use crate::wire::copy::{Copied, CopyError, poll_copy};
use crate::wire::http1::body::Malformed;
use crate::wire::http1::connection::BodyError;
use crate::wire::http2::client::is_flood;
use crate::wire::side::Side;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    Whole,
    EndpointBroke,
    Broken,
}

pub(super) async fn pass_body(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut UpstreamConnection,
    upload: &mut Upload,
) -> Passed {
    let mut download = Copied::default();
    let mut broken = false;
    let mut taking = Taking::default();
    let passed = poll_fn(|cx| {
        if exchange.note_cut_off() {
            return Poll::Ready(Passed::Broken);
        }
        if broken {
            // Bytes before the break are written first, so that the client can tell a broken answer from none.
            let _ = ready!(side.poll_flush(cx));
            return Poll::Ready(Passed::EndpointBroke);
        }
        if let Poll::Ready(Err(kind)) = upload.poll(cx, exchange, side, &mut upstream.side) {
            exchange.broke(kind);
            if let Some(refusal) = kind.refusal() {
                exchange.report.refuse(refusal);
            }
            return Poll::Ready(Passed::Broken);
        }
        let before = download.bytes;
        let copied = poll_copy(cx, &mut upstream.side, side, &mut download);
        if copied.is_pending() && exchange.in_flight_kind() == InFlightKind::Request {
            exchange.set_in_flight_kind(InFlightKind::Stream);
        }
        if download.bytes > before {
            exchange.extend_for_body();
        }
        if copied.is_pending() {
            let waits_for = if download.waits_for_source { WaitsFor::Endpoint } else { WaitsFor::Client };
            if taking.observe(waits_for, exchange.now()) {
                exchange.wait_for_client(waits_for == WaitsFor::Client);
            }
        }
        match copied {
            Poll::Ready(Ok(())) => Poll::Ready(Passed::Whole),
            Poll::Ready(Err(CopyError::Source(error))) => {
                tracing::debug!(%error, "The endpoint broke off in its answer.");
                if let BodyError::Malformed(Malformed(rule)) = error {
                    bad_answer::tell(exchange, rule, b"");
                }
                let now = exchange.now();
                match error {
                    BodyError::Malformed(_) => exchange.broke(ErrorKind::BodyTimeout),
                    _ if upload.is_late(now) => exchange.broke(ErrorKind::RequestTimeout),
                    _ if taking.is_held_up(now) => exchange.broke(ErrorKind::ClientStalled),
                    BodyError::Io(error) if is_flood(&error) || upstream.side.is_excused() => {
                        exchange.broke_by(ErrorKind::BodyTimeout, Blame::Nobody);
                    }
                    _ => exchange.broke(ErrorKind::BodyTimeout),
                }
                broken = true;
                let _ = ready!(side.poll_flush(cx));
                Poll::Ready(Passed::EndpointBroke)
            }
            Poll::Ready(Err(CopyError::Sink(error))) => {
                tracing::debug!(%error, "The client takes no more of its answer.");
                exchange.broke(ErrorKind::ClientLeft);
                Poll::Ready(Passed::Broken)
            }
            Poll::Pending if upload.is_over() && side.poll_left(cx).is_ready() => {
                exchange.broke(ErrorKind::ClientLeft);
                Poll::Ready(Passed::Broken)
            }
            // The clock comes last: after a pause of the process, deadlines have passed but the bytes are here.
            Poll::Pending if exchange.is_overdue() => {
                exchange.broke(match exchange.silence() {
                    _ if !download.waits_for_source => ErrorKind::ClientStalled,
                    kind @ ErrorKind::StreamIdle => kind,
                    _ if upload.waits_for_client() => ErrorKind::RequestTimeout,
                    kind => kind,
                });
                Poll::Ready(Passed::Broken)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    exchange.report.set_bytes_out(download.bytes);
    passed
}
