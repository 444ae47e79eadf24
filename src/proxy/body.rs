//! The two bodies of an exchange: the request's on its way to the endpoint, the answer's on its way to the client.
//!
//! Both stream, frame by frame, and only as fast as the other side takes it. The answer's body carries the
//! [`Exchange`], and with it the lease, to the last byte.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::client::ClientConnection;
use crate::proxy::exchange::Exchange;

/// Why a body ends before its end. Never seen by a client: the connection is cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request body is larger than the limit")]
    TooLarge,
    #[error("the body stopped: {0}")]
    Hyper(#[from] hyper::Error),
    #[error("the exchange was ended")]
    Ended,
}

/// A request's body.
pub(crate) enum RequestBody {
    Empty,
    Streaming(Incoming, Rc<Upload>),
}

/// What both sides of an upload have to know of it.
pub(crate) struct Upload {
    client: Rc<ClientConnection>,
    /// How long the endpoint may be silent after the last byte it was sent.
    response_timeout: Duration,
    limit: Option<u64>,
    bytes: Cell<u64>,
    too_large: Cell<bool>,
    client_failed: Cell<bool>,
    invalid: Cell<bool>,
    hold: RefCell<Option<Hold>>,
}

/// `Expect: 100-continue`: the client waits, and so do we, until the endpoint says 100, answers, or stays silent.
struct Hold {
    go_ahead: Arc<AtomicBool>,
    patience: Pin<Box<tokio::time::Sleep>>,
}

/// How long an endpoint that ignores `Expect` can hold back a body. Clients wait about as long (RFC 9110, 10.1.1).
const EXPECT_PATIENCE: Duration = Duration::from_secs(1);

impl Upload {
    pub(crate) fn new(client: Rc<ClientConnection>, response_timeout: Duration, limit: Option<u64>) -> Rc<Upload> {
        Rc::new(Upload {
            client,
            response_timeout,
            limit,
            bytes: Cell::new(0),
            too_large: Cell::new(false),
            client_failed: Cell::new(false),
            invalid: Cell::new(false),
            hold: RefCell::new(None),
        })
    }

    /// Holds the body back until the returned flag is set, or for a second.
    pub(crate) fn hold_back(&self) -> Arc<AtomicBool> {
        let go_ahead = Arc::new(AtomicBool::new(false));
        let patience = Box::pin(tokio::time::sleep(EXPECT_PATIENCE));
        *self.hold.borrow_mut() = Some(Hold { go_ahead: Arc::clone(&go_ahead), patience });
        go_ahead
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.too_large.get()
    }

    /// The client sent a body that is not valid: chunks that are none.
    pub(crate) fn is_invalid(&self) -> bool {
        self.invalid.get()
    }

    /// The client broke off, or sent a body that is not valid.
    pub(crate) fn client_failed(&self) -> bool {
        self.client_failed.get()
    }

    fn poll_go_ahead(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut hold = self.hold.borrow_mut();
        if let Some(held) = &mut *hold
            && !held.go_ahead.load(Ordering::Relaxed)
        {
            ready!(held.patience.as_mut().poll(cx));
        }
        *hold = None;
        Poll::Ready(())
    }

    /// Looks at a frame that passes.
    fn pass(&self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        if let Some(data) = frame.data_ref() {
            let bytes = self.bytes.get() + data.len() as u64;
            self.bytes.set(bytes);
            if self.limit.is_some_and(|limit| bytes > limit) {
                self.too_large.set(true);
                return Err(BodyError::TooLarge);
            }
            self.client.slot.extend(Some(self.client.worker.now() + self.response_timeout));
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let RequestBody::Streaming(body, upload) = self.get_mut() else { return Poll::Ready(None) };
        ready!(upload.poll_go_ahead(cx));
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(upload.pass(&frame).map(|()| frame)),
            Some(Err(error)) => {
                upload.client_failed.set(true);
                upload.invalid.set(is_invalid(&error));
                Some(Err(error.into()))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streaming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streaming(body, _) => body.size_hint(),
        }
    }
}

/// Whether a body ended because it can't be read, and not because nothing more came.
fn is_invalid(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// An answer's body.
pub(crate) enum ResponseBody {
    /// Ours, or none.
    Own(Bytes),
    /// The endpoint's.
    Streaming(Incoming, Box<Exchange>),
    /// The endpoint broke off. What came before is written first, and then the client's connection is cut, so that it
    /// can tell a broken answer from none.
    Broken(BodyError),
    /// It is over; the exchange has been reported.
    Over,
}

impl ResponseBody {
    pub(crate) fn own(bytes: Bytes) -> ResponseBody {
        ResponseBody::Own(bytes)
    }

    /// The endpoint's body; the exchange ends with it.
    pub(crate) fn streaming(body: Incoming, exchange: Box<Exchange>) -> ResponseBody {
        if body.is_end_stream() {
            exchange.complete();
            return ResponseBody::Over;
        }
        ResponseBody::Streaming(body, exchange)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (body, exchange) = match &mut *self {
            ResponseBody::Own(bytes) if bytes.is_empty() => return Poll::Ready(None),
            ResponseBody::Own(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            ResponseBody::Over => return Poll::Ready(None),
            ResponseBody::Broken(_) => {
                let broken = std::mem::replace(&mut *self, ResponseBody::Over);
                let ResponseBody::Broken(error) = broken else { return Poll::Ready(None) };
                return Poll::Ready(Some(Err(error)));
            }
            ResponseBody::Streaming(body, exchange) => (body, exchange),
        };
        if exchange.was_ended_in_body() {
            *self = ResponseBody::Over;
            return Poll::Ready(Some(Err(BodyError::Ended)));
        }
        let driving = &mut exchange.client.driver.context();
        let frame = match Pin::new(&mut *body).poll_frame(driving) {
            Poll::Ready(frame) => frame,
            // Nothing was waiting: let the endpoint's connection work, and look again. If it is over, the body says so.
            Poll::Pending => {
                exchange.client.drive();
                ready!(Pin::new(&mut *body).poll_frame(driving))
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    exchange.passed(data.len());
                }
                if body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                exchange.cut_by_endpoint();
                *self = ResponseBody::Broken(error.into());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Own(bytes) => bytes.is_empty(),
            ResponseBody::Over => true,
            ResponseBody::Broken(_) => false,
            ResponseBody::Streaming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            ResponseBody::Broken(_) => SizeHint::default(),
            ResponseBody::Over => SizeHint::with_exact(0),
            ResponseBody::Streaming(body, _) => body.size_hint(),
        }
    }
}

impl ResponseBody {
    fn end(&mut self) {
        if let ResponseBody::Streaming(_, exchange) = std::mem::replace(self, ResponseBody::Over) {
            exchange.complete();
        }
    }
}
