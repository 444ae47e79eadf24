//! One HTTP/1.1 connection (RFC 9112), seen from either end: heads and bodies in, heads and bodies out.
//!
//! Bodies are handed on from the block they were read into; small pieces go out together with the head before them,
//! large ones by a vectored write beside it. What is waited for is the caller's business: there is no timer in here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::sys::buffered;
use crate::wire::head::Head;
use crate::wire::http1::body::{Decoder, Encoder, Framing, Malformed, Step, is_trailer, write_chunk_size};
use crate::wire::http1::parse::{self, AnswerLimits, Refused};
use crate::wire::socket::Socket;
use crate::wire::socket::buffer::{Input, Output, TINY};

/// A piece up to this is copied behind what waits to be written; a larger one is written from where it is.
const COPIED: usize = 4 << 10;
/// So much may wait to be written before a piece has to wait, too.
const WAITING: usize = 16 << 10;

/// What comes of a body.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Data(&'a [u8]),
    /// It is over; there may be trailers.
    End,
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the connection ended in the middle of the body")]
    Incomplete,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadError {
    Refused(Refused),
    /// The connection ended, or broke, in the middle.
    Incomplete,
    Io(io::Error),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire<I = Socket> {
    pub(crate) io: I,
    input: Input,
    output: Output,
    decoder: Decoder,
    encoder: Encoder,
    trailers: Head,
    /// So much of the input was looked through for the end of a head.
    looked: usize,
    /// Bytes to read at once, at most.
    most: usize,
    /// Empty lines before the next head, in bytes.
    skipped: usize,
    ended: bool,
    written: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Wire<I> {
    pub(crate) fn new(io: I) -> Wire<I> {
        Wire {
            io,
            input: Input::default(),
            output: Output::default(),
            decoder: Decoder::new(Framing::None),
            encoder: Encoder::Over,
            trailers: Head::default(),
            looked: 0,
            most: usize::MAX,
            skipped: 0,
            ended: false,
            written: false,
        }
    }

    /// What was read and is not used yet.
    pub(crate) fn unread(&self) -> &[u8] {
        self.input.bytes()
    }

    /// The other end has sent its last byte.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// So much waits to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.output.bytes().len()
    }

    /// Begins a request: its head goes out with what follows.
    pub(crate) fn begin_request(&mut self, head: &Head, framing: Framing) {
        // Nothing of it was written.
        self.written = false;
        self.most = usize::MAX;
        let out = self.output.tail();
        out.extend_from_slice(head.method_bytes());
        out.push(b' ');
        out.extend_from_slice(head.target_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        head.write_fields(out);
        out.extend_from_slice(b"\r\n");
        self.announce_body(framing);
    }

    /// Writes an interim answer. False: the final one has begun, and nothing is written.
    pub(crate) fn interim(&mut self, head: &Head) -> bool {
        let before = self.encoder == Encoder::Heads;
        if before {
            self.write_answer_head(head);
        }
        before
    }

    /// Begins the final answer: its head goes out with what follows. A request has one.
    pub(crate) fn begin_answer(&mut self, head: &Head, framing: Framing) {
        if self.encoder != Encoder::Heads {
            debug_assert!(false, "a request has one final answer");
            return;
        }
        self.write_answer_head(head);
        self.announce_body(framing);
    }

    fn write_answer_head(&mut self, head: &Head) {
        let out = self.output.tail();
        out.extend_from_slice(b"HTTP/1.1 ");
        let status = head.status;
        out.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + (digit % 10) as u8));
        out.push(b' ');
        out.extend_from_slice(head.reason());
        out.extend_from_slice(b"\r\n");
        head.write_fields(out);
        out.extend_from_slice(b"\r\n");
    }

    /// No final answer has begun, so that an interim one can be written.
    pub(crate) fn takes_interim(&self) -> bool {
        self.encoder == Encoder::Heads
    }

    /// Something of the message was written.
    pub(crate) fn has_written(&self) -> bool {
        self.written
    }

    /// Reads a request's head. False: the connection ended where one would have begun.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        max: usize,
    ) -> Poll<Result<bool, HeadError>> {
        let read = ready!(self.poll_head(cx, head, max, true, parse::request));
        if matches!(read, Ok(true)) {
            self.encoder = Encoder::Heads;
            // An answer before the framing is known ends the connection.
            self.decoder = Decoder::unknown();
        }
        Poll::Ready(read)
    }

    /// Reads an answer's head; the same.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: AnswerLimits,
    ) -> Poll<Result<bool, HeadError>> {
        self.poll_head(cx, head, limits.bytes, false, |input, head| parse::answer_within(input, head, limits.fields))
    }

    /// The line for which an answer's head was refused.
    pub(crate) fn refused_line(&self) -> &[u8] {
        parse::refused_line(self.input.bytes())
    }

    /// `bounded`: a large head is refused while the process holds as many bytes as it may.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        max: usize,
        bounded: bool,
        parse: impl Fn(&[u8], &mut Head) -> Result<Option<usize>, Refused>,
    ) -> Poll<Result<bool, HeadError>> {
        loop {
            self.skip_empty_lines();
            let bytes = self.input.bytes();
            // A head that comes in many pieces is not read anew with each of them.
            if !bytes.is_empty() && (self.looked == 0 || parse::has_empty_line(bytes, self.looked)) {
                match parse(bytes, head) {
                    Ok(Some(length)) if length > max => return Poll::Ready(Err(HeadError::Refused(Refused::TooLarge))),
                    Ok(Some(length)) => {
                        self.input.consume(length);
                        (self.looked, self.skipped) = (0, 0);
                        return Poll::Ready(Ok(true));
                    }
                    Ok(None) => {}
                    Err(refused) => return Poll::Ready(Err(HeadError::Refused(refused))),
                }
            }
            self.looked = bytes.len();
            if bytes.len() + self.skipped >= max {
                return Poll::Ready(Err(HeadError::Refused(Refused::TooLarge)));
            }
            if bounded && bytes.len() > TINY && buffered::is_full() {
                return Poll::Ready(Err(HeadError::Refused(Refused::NoMemory)));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.input.is_empty() => return Poll::Ready(Ok(false)),
                Ok(0) => return Poll::Ready(Err(HeadError::Incomplete)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(HeadError::Io(error))),
            }
        }
    }

    /// Drops the empty lines that may stand before a head (RFC 9112, 2.2), so that none is parsed twice.
    fn skip_empty_lines(&mut self) {
        while self.input.bytes().starts_with(b"\r\n") {
            self.input.consume(2);
            self.skipped += 2;
            self.looked = 0;
        }
    }

    /// Waits until something is to be read: true, or the connection has ended: false.
    pub(crate) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.input.is_empty() {
            return Poll::Ready(true);
        }
        self.forget_trailers();
        Poll::Ready(ready!(self.poll_fill(cx)).is_ok_and(|read| read > 0))
    }

    /// Reads more, whatever is there already. False: nothing more comes.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(ready!(self.poll_fill(cx)).is_ok_and(|read| read > 0))
    }

    /// Watches for the other end leaving while nothing is expected of it; what it sends instead is kept.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            return Poll::Ready(());
        }
        if !self.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// The same for a request that is held: what it sends is read into the one block that it may occupy, so that its
    /// leaving is seen behind the beginning of a body, too.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ended {
            if self.input.is_full() {
                return Poll::Pending;
            }
            if !matches!(ready!(self.input.poll_fill(cx, &mut self.io, 0)), Ok(1..)) {
                self.ended = true;
            }
        }
        Poll::Ready(())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = ready!(self.input.poll_fill_up_to(cx, &mut self.io, self.decoder.hint(), self.most));
        if !matches!(read, Ok(1..)) {
            self.ended = true;
            self.input.release();
        }
        Poll::Ready(read)
    }

    /// The body that comes next.
    pub(crate) fn expect_body(&mut self, framing: Framing) {
        self.decoder = Decoder::new(framing);
        self.most = usize::MAX;
        self.forget_trailers();
    }

    /// Few messages have trailers; the others have no room for them.
    fn forget_trailers(&mut self) {
        if self.trailers.size() > 0 {
            self.trailers = Head::default();
        }
    }

    /// The body that goes out next.
    pub(crate) fn announce_body(&mut self, framing: Framing) {
        self.encoder = Encoder::new(framing);
    }

    /// The whole body came.
    pub(crate) fn is_read(&self) -> bool {
        self.decoder.is_over()
    }

    /// The next piece of the body; what of it was used is told by [`Wire::consume`].
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece<'_>, BodyError>> {
        loop {
            match self.decoder.step(self.input.bytes(), &mut self.trailers) {
                Ok(Step::Data(n)) => return Poll::Ready(Ok(Piece::Data(&self.input.bytes()[..n]))),
                Ok(Step::Skip(n)) => self.input.consume(n),
                Ok(Step::End) => {
                    self.input.release();
                    return Poll::Ready(Ok(Piece::End));
                }
                Ok(Step::More) => match ready!(self.poll_fill(cx)) {
                    Ok(0) if self.decoder.is_until_end() => self.decoder = Decoder::new(Framing::None),
                    Ok(0) => return Poll::Ready(Err(BodyError::Incomplete)),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
                Err(malformed) => return Poll::Ready(Err(malformed.into())),
            }
        }
    }

    /// So many bytes of the last piece were used.
    pub(crate) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.decoder.consumed(n);
    }

    /// What was read will not be used soon.
    pub(crate) fn compact(&mut self) {
        self.input.compact();
    }

    /// Reads no more of this message at once.
    pub(crate) fn read_at_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Bytes of memory for what was read and not used.
    pub(crate) fn held(&self) -> usize {
        self.input.held()
    }

    /// What is left of a body whose length is known.
    pub(crate) fn length_left(&self) -> u64 {
        self.decoder.length_left().unwrap_or(0)
    }

    /// What came behind the body.
    pub(crate) fn trailers(&self) -> &Head {
        &self.trailers
    }

    /// Takes a piece of the body, or as much of it as goes.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let in_chunk = matches!(self.encoder, Encoder::Chunked { left: 1.. });
        if !in_chunk && data.len() <= COPIED {
            if self.output.bytes().len() >= WAITING {
                ready!(self.poll_flush(cx))?;
            }
            self.copy(data);
            return Poll::Ready(Ok(data.len()));
        }
        let data = match &mut self.encoder {
            Encoder::Chunked { left } => {
                if *left == 0 {
                    write_chunk_size(data.len(), self.output.tail());
                    *left = data.len() as u64;
                }
                &data[..data.len().min(usize::try_from(*left).unwrap_or(usize::MAX))]
            }
            Encoder::Length(_) | Encoder::UntilEnd | Encoder::Over | Encoder::Heads => data,
        };
        loop {
            let waiting = self.output.bytes();
            let written = if waiting.is_empty() {
                ready!(Pin::new(&mut self.io).poll_write(cx, data))?
            } else {
                let both = [io::IoSlice::new(waiting), io::IoSlice::new(data)];
                ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &both))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = true;
            let before = waiting.len();
            self.output.written(written.min(before));
            let sent = written.saturating_sub(before);
            if sent > 0 {
                self.sent(sent);
                return Poll::Ready(Ok(sent));
            }
        }
    }

    fn copy(&mut self, data: &[u8]) {
        let out = self.output.tail();
        match &mut self.encoder {
            Encoder::Chunked { .. } => {
                write_chunk_size(data.len(), out);
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
            Encoder::Length(_) | Encoder::UntilEnd | Encoder::Over | Encoder::Heads => {
                out.extend_from_slice(data);
                self.sent(data.len());
            }
        }
    }

    fn sent(&mut self, n: usize) {
        match &mut self.encoder {
            Encoder::Length(left) => *left = left.saturating_sub(n as u64),
            Encoder::Chunked { left } => {
                *left -= n as u64;
                if *left == 0 {
                    self.output.tail().extend_from_slice(b"\r\n");
                }
            }
            Encoder::UntilEnd | Encoder::Over | Encoder::Heads => {}
        }
    }

    /// The body is over. What has to be flushed is in the output.
    pub(crate) fn finish(&mut self, trailers: &Head) {
        if let Encoder::Chunked { .. } = self.encoder {
            let out = self.output.tail();
            out.extend_from_slice(b"0\r\n");
            for (_, name, value) in trailers.fields().filter(|(kind, name, _)| is_trailer(*kind, name)) {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"\r\n");
        }
        self.encoder = Encoder::Over;
    }

    /// Writes what waits.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, self.output.bytes()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = true;
            self.output.written(written);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Tells the other end that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Wire {
    /// The stream as it was before anything was read.
    pub(crate) fn into_socket(self) -> Socket {
        match self.input.bytes() {
            [] => self.io,
            read => self.io.rewound(read),
        }
    }

    /// Takes what the first bytes say that are no HTTP.
    pub(crate) fn skip(&mut self, n: usize) {
        self.input.consume(n);
    }
}

#[cfg(test)]
mod tests;
