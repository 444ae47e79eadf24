//! One HTTP/2 stream to an endpoint (RFC 9113), as a side of an exchange, and translation between versions. The `h2`
//! crate does frames, windows and limits. Streams of clients are in [`server`](crate::wire::http2::server).

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri};

use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::body::{Encoder, Framing, is_trailer};
use crate::wire::http1::connection::{BodyError, HeadError, Piece};
use crate::wire::http1::parse::{AnswerLimits, Refused};
use crate::wire::http2::ending::LargeHead;
use crate::wire::http2::pulse::Pulse;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    Unwritable,
    /// The endpoint does not offer extended CONNECT (RFC 8441, 3).
    NoTunnel,
}

enum Role {
    Free(SendRequest<Bytes>, &'static str),
    Asking(ResponseFuture),
    /// Not sent, or not processed: another connection may retry it.
    Untouched,
    Open,
}

pub(crate) struct Stream {
    role: Role,
    send: Option<SendStream<Bytes>>,
    encoder: Encoder,
    recv: Option<RecvStream>,
    piece: Bytes,
    missing: u64,
    read: bool,
    trailers: Head,
    /// The connection's; `None`: it serves one request only.
    pulse: Option<Arc<Pulse>>,
    large: Option<LargeHead>,
    limits: AnswerLimits,
}

impl Stream {
    fn new(role: Role, pulse: Option<Arc<Pulse>>, limits: AnswerLimits) -> Stream {
        Stream {
            role,
            pulse,
            limits,
            large: None,
            send: None,
            encoder: Encoder::Over,
            recv: None,
            piece: Bytes::new(),
            missing: 0,
            read: true,
            trailers: Head::default(),
        }
    }

    pub(crate) fn free(
        sender: SendRequest<Bytes>,
        scheme: &'static str,
        pulse: Option<Arc<Pulse>>,
        limits: AnswerLimits,
    ) -> Stream {
        Stream::new(Role::Free(sender, scheme), pulse, limits)
    }

    fn receive(&mut self, body: RecvStream) {
        self.read = body.is_end_stream();
        self.recv = Some(body);
    }

    pub(crate) fn is_bodiless(&self) -> bool {
        self.read && self.piece.is_empty()
    }

    pub(crate) fn is_read(&self) -> bool {
        self.read && self.piece.is_empty()
    }

    pub(crate) fn has_written(&self) -> bool {
        !matches!(self.role, Role::Untouched | Role::Free(..))
    }

    /// The connection broke because of requests on it, which says nothing about the endpoint.
    pub(crate) fn is_excused(&self) -> bool {
        self.pulse.as_ref().is_some_and(|pulse| pulse.ending.is_excused())
    }

    /// The same, reported by the endpoint.
    pub(crate) fn is_told(&self) -> bool {
        self.pulse.as_ref().is_some_and(|pulse| pulse.ending.is_told())
    }

    /// Waits for room for a request. `tunnel`: for an extended CONNECT. False: the connection takes none any more.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, tunnel: bool) -> Poll<bool> {
        match &mut self.role {
            Role::Free(sender, _) => {
                if let Some(pulse) = &self.pulse
                    && !ready!(pulse.poll_fresh(cx, tunnel))
                {
                    return Poll::Ready(false);
                }
                sender.poll_ready(cx).map(|ready| ready.is_ok())
            }
            Role::Asking(_) | Role::Untouched | Role::Open => Poll::Ready(true),
        }
    }

    /// Begins a request. An error is not the endpoint's fault, so a retry elsewhere is useless.
    pub(crate) fn begin_request(&mut self, head: &Head, framing: Framing) -> Result<(), Unsent> {
        let Role::Free(sender, scheme) = &mut self.role else { return Ok(()) };
        if head.extended_connect && !sender.is_extended_connect_protocol_enabled() {
            return Err(Unsent::NoTunnel);
        }
        let request = to_request(head, scheme).ok_or(Unsent::Unwritable)?;
        let extended = request.method() == Method::CONNECT;
        match sender.send_request(request, framing == Framing::None && !extended) {
            Ok((answer, send)) => {
                self.role = Role::Asking(answer);
                self.large =
                    self.pulse.as_ref().filter(|_| head.is_large()).map(|pulse| LargeHead::sent(&pulse.ending));
                self.send = Some(send);
                self.encoder = encoder(head, framing);
            }
            Err(_) => self.role = Role::Untouched,
        }
        Ok(())
    }

    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>, head: &mut Head) -> Poll<Result<bool, HeadError>> {
        let Role::Asking(answer) = &mut self.role else { return Poll::Ready(Ok(false)) };
        head.clear();
        head.version = Version::Http2;
        if let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
            head.set_status_line(interim.status().as_u16(), b"");
            fields(interim.headers(), head);
            return Poll::Ready(self.limits.check(head).map(|()| true).map_err(HeadError::Refused));
        }
        match ready!(std::pin::Pin::new(answer).poll(cx)) {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let reason = parts.status.canonical_reason().unwrap_or_default();
                head.set_status_line(parts.status.as_u16(), reason.as_bytes());
                fields(&parts.headers, head);
                if let Some(pulse) = &self.pulse {
                    pulse.answered();
                }
                if let Some(large) = self.large.take() {
                    large.answered();
                }
                self.limits.check(head).map_err(HeadError::Refused)?;
                if let Ok(Framing::Length(length)) = Framing::of_answer(head, false) {
                    self.missing = length;
                }
                self.receive(body);
                self.role = Role::Open;
                Poll::Ready(Ok(true))
            }
            Err(error) => {
                let untouched = error.reason() == Some(Reason::REFUSED_STREAM)
                    || (error.is_go_away() && error.reason() == Some(Reason::NO_ERROR));
                let ours = error.is_library() && error.is_reset();
                if untouched {
                    self.role = Role::Untouched;
                }
                Poll::Ready(Err(if ours {
                    HeadError::Refused(Refused::Malformed(
                        "The answer is not valid HTTP/2, or its head is far larger than max_response_header_bytes.",
                    ))
                } else {
                    HeadError::Io(other(error))
                }))
            }
        }
    }

    pub(crate) fn become_tunnel(&mut self) {
        self.encoder = Encoder::UntilEnd;
    }

    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece<'_>, BodyError>> {
        while self.piece.is_empty() {
            if self.read {
                return Poll::Ready(Ok(Piece::End));
            }
            let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(Piece::End)) };
            match ready!(recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    if let Some(pulse) = &self.pulse {
                        pulse.answered();
                    }
                    self.missing = self.missing.saturating_sub(data.len() as u64);
                    self.piece = data;
                }
                Some(Err(error)) if self.missing == 0 && is_no_error(&error) => self.read = true,
                Some(Err(error)) => return Poll::Ready(Err(BodyError::Io(other(error)))),
                None => {
                    self.trailers.clear();
                    match ready!(recv.poll_trailers(cx)) {
                        Ok(trailers) => {
                            if let Some(trailers) = trailers {
                                fields(&trailers, &mut self.trailers);
                            }
                            self.read = true;
                        }
                        Err(error) if is_no_error(&error) => self.read = true,
                        Err(error) => return Poll::Ready(Err(BodyError::Io(other(error)))),
                    }
                }
            }
        }
        Poll::Ready(Ok(Piece::Data(&self.piece)))
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.piece.advance(n);
        if let Some(recv) = &mut self.recv {
            // Fails only if the connection is gone.
            let _ = recv.flow_control().release_capacity(n);
            if self.piece.is_empty() && recv.is_end_stream() {
                self.read = true;
            }
        }
    }

    pub(crate) fn memory(&mut self) -> usize {
        match &mut self.recv {
            // The present piece is part of it until it is used.
            Some(recv) if !self.piece.is_empty() => recv.flow_control().used_capacity(),
            _ => 0,
        }
    }

    pub(crate) fn trailers(&self) -> &Head {
        &self.trailers
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.piece.is_empty()
    }

    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let mut room = send.capacity();
        if room < data.len() {
            send.reserve_capacity(data.len());
            room = send.capacity();
        }
        while room == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(capacity)) => room = capacity,
                Some(Err(error)) => return Poll::Ready(Err(other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let n = room.min(data.len());
        let mut last = false;
        if let Encoder::Length(left) = &mut self.encoder {
            *left = left.saturating_sub(n as u64);
            last = *left == 0;
        }
        send.send_data(Bytes::copy_from_slice(&data[..n]), last).map_err(other)?;
        if last {
            self.encoder = Encoder::Over;
        }
        Poll::Ready(Ok(n))
    }

    pub(crate) fn finish(&mut self, trailers: &Head) {
        let Some(send) = &mut self.send else { return };
        if matches!(self.encoder, Encoder::Chunked { .. } | Encoder::UntilEnd) {
            let mut map = HeaderMap::new();
            for (_, name, value) in trailers.fields().filter(|(kind, name, _)| is_trailer(*kind, name)) {
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                    map.append(name, value);
                }
            }
            // Fails if the stream is gone and needs no end.
            let _ = if map.is_empty() { send.send_data(Bytes::new(), true) } else { send.send_trailers(map) };
        }
        self.encoder = Encoder::Over;
    }

    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(drop),
            None => Poll::Pending,
        }
    }
}

/// A body from HTTP/2 may have trailers even if its head has a length.
fn encoder(head: &Head, framing: Framing) -> Encoder {
    match framing {
        Framing::Length(_) if head.version == Version::Http2 => Encoder::UntilEnd,
        _ => Encoder::new(framing),
    }
}

/// The endpoint answered in full, and wants no more of the request (RFC 9113, 8.1).
fn is_no_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// The endpoint reset the stream for the load of its whole connection, which says nothing about this request.
pub(crate) fn is_flood(error: &io::Error) -> bool {
    reset(error) == Some(Reason::ENHANCE_YOUR_CALM)
}

pub(crate) fn is_reset(error: &io::Error) -> bool {
    reset(error).is_some_and(|reason| reason != Reason::REFUSED_STREAM)
}

fn reset(error: &io::Error) -> Option<Reason> {
    let error = error.get_ref()?.downcast_ref::<h2::Error>()?;
    error.reason().filter(|_| error.is_reset() && error.is_remote())
}

fn other(error: h2::Error) -> io::Error {
    if error.is_remote() {
        return io::Error::new(io::ErrorKind::ConnectionReset, error);
    }
    error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}

fn fields(map: &HeaderMap, head: &mut Head) {
    for (name, value) in map {
        head.push(name.as_str().as_bytes(), value.as_bytes().trim_ascii());
    }
}

/// Fields that framing and pseudo-headers replace in HTTP/2.
fn is_pseudo(name: Name) -> bool {
    matches!(name, Name::Host | Name::Connection | Name::TransferEncoding | Name::KeepAlive | Name::Upgrade)
}

/// `None`: a field can't be written, or the map is full.
fn to_map(head: &Head, map: &mut HeaderMap) -> Option<()> {
    map.try_reserve(head.len()).ok()?;
    for (_, name, value) in head.fields().filter(|(kind, _, _)| !is_pseudo(*kind)) {
        map.try_append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    Some(())
}

fn to_request(head: &Head, scheme: &str) -> Option<Request<()>> {
    let mut parts = http::uri::Parts::default();
    // A request without a host has no `:authority` (RFC 9113, 8.3.1). The `http` crate has no scheme without one; `h2`
    // then writes `http`.
    if let Some(host) = head.get(Name::Host).filter(|host| !host.is_empty()) {
        parts.scheme = Scheme::try_from(scheme).ok();
        parts.authority = Some(Authority::try_from(host).ok()?);
    }
    parts.path_and_query = Some(PathAndQuery::try_from(head.target_bytes()).ok()?);
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.method_mut() = Method::from_bytes(head.method_bytes()).ok()?;
    if head.extended_connect {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(head.text(Name::Upgrade)?));
    }
    to_map(head, request.headers_mut())?;
    if head.extended_connect {
        // Has a meaning in HTTP/1.1 only.
        request.headers_mut().remove(http::header::SEC_WEBSOCKET_KEY);
    }
    Some(request)
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}
