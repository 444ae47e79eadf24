//! A client's stream as a side of an exchange.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use crate::wire::head::{Head, Version};
use crate::wire::http1::body::{Encoder, Framing};
use crate::wire::http1::connection::{BodyError, Piece};
use crate::wire::http2::frame::{self, Code};
use crate::wire::http2::server::{Closed, Core, RESET, STREAM_WINDOW};

/// A stream, which occupies its place until it is dropped.
#[derive(Debug)]
pub(crate) struct ServerStream {
    core: Rc<RefCell<Core>>,
    place: usize,
    encoder: Encoder,
    piece: Vec<u8>,
    used: usize,
    read: bool,
    trailers: Head,
    ended: bool,
    /// Bytes charged for the response's head, and for body bytes held by the endpoint's side.
    head: usize,
    held: usize,
}

impl ServerStream {
    pub(crate) fn new(core: Rc<RefCell<Core>>, place: usize) -> ServerStream {
        let mut stream = ServerStream {
            core,
            place,
            encoder: Encoder::Heads,
            piece: Vec::new(),
            used: 0,
            read: false,
            trailers: Head::default(),
            ended: false,
            head: 0,
            held: 0,
        };
        stream.take_in();
        stream
    }

    fn take_in(&mut self) {
        let mut core = self.core.borrow_mut();
        let stream = &mut core.streams[self.place];
        self.piece.clear();
        self.used = 0;
        std::mem::swap(&mut self.piece, &mut stream.incoming);
        if self.piece.is_empty() {
            // A stream that waits holds no buffer.
            stream.incoming = Vec::new();
            if stream.received && !stream.reset {
                self.trailers = std::mem::take(&mut stream.trailers);
                self.read = true;
            }
        }
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.used < self.piece.len()
    }

    pub(crate) fn is_read(&self) -> bool {
        self.read
    }

    fn is_reset(&self) -> bool {
        self.core.borrow().streams[self.place].reset
    }

    /// Resolves when the client resets the stream; its place is woken then.
    pub(crate) fn poll_left(&self) -> Poll<()> {
        if self.is_reset() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.core.borrow().output.bytes().len()
    }

    pub(crate) fn poll_body(&mut self) -> Poll<Result<Piece<'_>, BodyError>> {
        if !self.has_unread() && !self.read {
            self.take_in();
        }
        if self.has_unread() {
            return Poll::Ready(Ok(Piece::Data(&self.piece[self.used..])));
        }
        match self.read {
            true => Poll::Ready(Ok(Piece::End)),
            false if self.is_reset() => Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset).into())),
            false => Poll::Pending,
        }
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.used += n;
        debug_assert!(self.used <= self.piece.len());
        self.core.borrow_mut().consumed(self.place, n);
        if !self.has_unread() {
            self.take_in();
        }
    }

    pub(crate) fn trailers(&self) -> &Head {
        &self.trailers
    }

    pub(crate) fn interim(&mut self, head: &Head) -> bool {
        let before = self.encoder == Encoder::Heads;
        let mut core = self.core.borrow_mut();
        if before && !core.streams[self.place].reset {
            let id = core.ids[self.place];
            core.write_answer(id, head, false);
            core.limits.useful();
        }
        before
    }

    pub(crate) fn takes_interim(&self) -> bool {
        self.encoder == Encoder::Heads
    }

    pub(crate) fn begin_answer(&mut self, head: &Head, framing: Framing) {
        if self.encoder != Encoder::Heads {
            debug_assert!(false, "a request has one final answer");
            return;
        }
        self.encoder = match framing {
            // A body from HTTP/2 may have trailers even if its head has a length.
            Framing::Length(_) if head.version == Version::Http2 => Encoder::UntilEnd,
            _ => Encoder::new(framing),
        };
        let mut core = self.core.borrow_mut();
        if !core.streams[self.place].reset {
            self.ended = framing == Framing::None;
            let id = core.ids[self.place];
            core.write_answer(id, head, self.ended);
            core.limits.useful();
            if self.ended {
                core.limits.answered();
            }
            self.head = head.memory();
            core.charge_response(self.place, self.head + self.held);
        }
    }

    pub(crate) fn charge_response(&mut self, bytes: usize) {
        if self.held != bytes {
            self.held = bytes;
            self.core.borrow_mut().charge_response(self.place, self.head + bytes);
        }
    }

    /// More may be read from the endpoint. If not, this stream is woken when it may.
    pub(crate) fn takes_response(&self) -> bool {
        self.core.borrow_mut().takes_response(self.place)
    }

    pub(crate) fn window(&self) -> usize {
        self.core.borrow().window(self.place)
    }

    /// Bytes of the body that can be sent now; 0: this stream is woken when some can.
    pub(crate) fn room(&self) -> usize {
        self.core.borrow_mut().room(self.place)
    }

    pub(crate) fn become_tunnel(&mut self) {
        self.encoder = Encoder::UntilEnd;
    }

    pub(crate) fn poll_send(&mut self, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut core = self.core.borrow_mut();
        if core.streams[self.place].reset || self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let left = match self.encoder {
            Encoder::Length(left) => Some(left),
            _ => None,
        };
        let data = left.map_or(data, |left| &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))]);
        let n = core.write_data(self.place, data, left == Some(data.len() as u64));
        if n == 0 {
            return Poll::Pending;
        }
        if let Encoder::Length(left) = &mut self.encoder {
            *left -= n as u64;
            self.ended = *left == 0;
            if self.ended {
                core.limits.answered();
            }
        }
        Poll::Ready(Ok(n))
    }

    pub(crate) fn finish(&mut self, trailers: &Head) {
        let mut core = self.core.borrow_mut();
        let open = matches!(self.encoder, Encoder::Chunked { .. } | Encoder::UntilEnd);
        if open && !self.ended && !core.streams[self.place].reset {
            let id = core.ids[self.place];
            core.write_end(id, trailers);
            core.limits.answered();
            self.ended = true;
        }
        self.encoder = Encoder::Over;
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        let unread = self.piece.len() - self.used;
        self.core.borrow_mut().release(self.place, self.ended, unread);
    }
}

impl Core {
    /// Frees the place. An incomplete answer is reset, so that it does not look complete.
    fn release(&mut self, place: usize, ended: bool, unread: usize) {
        let stream = std::mem::take(&mut self.streams[place]);
        let id = std::mem::replace(&mut self.ids[place], 0);
        self.open -= 1;
        self.account.release_request(stream.charged);
        self.account.release_window((stream.window - STREAM_WINDOW) as usize);
        self.change_response(stream.response, 0);
        if id != RESET && !self.over {
            if ended && stream.received {
                self.remember(id, Closed::Whole);
            } else {
                // An answer before the end of the request asks for no more of it (RFC 9113, 8.1).
                let code = if ended { Code::NoError } else { Code::Internal };
                frame::write_reset(id, code, self.output.tail());
                self.remember(id, Closed::ByUs);
            }
        }
        self.taken(unread + stream.incoming.len());
    }
}
