//! One HTTP/1.1 connection (RFC 9112), from either end.
//!
//! Bodies are forwarded from the block they were read into: small pieces together with the head before them, large ones
//! by a vectored write. Timeouts belong to the caller.

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

/// Larger pieces are written from where they are instead of being copied to the output.
const COPIED: usize = 4 << 10;
/// Output beyond this makes body pieces wait.
const WAITING: usize = 16 << 10;

#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Data(&'a [u8]),
    End,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the connection ended in the middle of the body")]
    Incomplete,
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug)]
pub(crate) enum HeadError {
    Refused(Refused),
    Incomplete,
    Io(io::Error),
}

#[derive(Debug)]
pub(crate) struct Wire<I = Socket> {
    pub(crate) io: I,
    input: Input,
    output: Output,
    decoder: Decoder,
    encoder: Encoder,
    trailers: Head,
    looked: usize,
    most: usize,
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

    pub(crate) fn unread(&self) -> &[u8] {
        self.input.bytes()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn waiting(&self) -> usize {
        self.output.bytes().len()
    }

    pub(crate) fn begin_request(&mut self, head: &Head, framing: Framing) {
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

    /// Writes an interim answer. False: the final one has begun, and nothing was written.
    pub(crate) fn interim(&mut self, head: &Head) -> bool {
        let before = self.encoder == Encoder::Heads;
        if before {
            self.write_answer_head(head);
        }
        before
    }

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

    pub(crate) fn takes_interim(&self) -> bool {
        self.encoder == Encoder::Heads
    }

    pub(crate) fn has_written(&self) -> bool {
        self.written
    }

    /// False: the connection ended before a head.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        max: usize,
    ) -> Poll<Result<bool, HeadError>> {
        let read = ready!(self.poll_head(cx, head, max, true, parse::request));
        if matches!(read, Ok(true)) {
            self.encoder = Encoder::Heads;
            // Until the framing is set, an answer closes the connection: the body must not be read as a request.
            self.decoder = Decoder::unknown();
        }
        Poll::Ready(read)
    }

    /// False: the connection ended before a head.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: AnswerLimits,
    ) -> Poll<Result<bool, HeadError>> {
        self.poll_head(cx, head, limits.bytes, false, |input, head| parse::answer_within(input, head, limits.fields))
    }

    pub(crate) fn refused_line(&self) -> &[u8] {
        parse::refused_line(self.input.bytes())
    }

    /// `bounded`: a large head is refused while the process is at its memory limit.
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
            // A head that arrives in many pieces is not parsed with each of them.
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

    /// Skips empty lines before a head (RFC 9112, 2.2), so that they are not parsed again.
    fn skip_empty_lines(&mut self) {
        while self.input.bytes().starts_with(b"\r\n") {
            self.input.consume(2);
            self.skipped += 2;
            self.looked = 0;
        }
    }

    /// True: bytes are there. False: the connection ended.
    pub(crate) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.input.is_empty() {
            return Poll::Ready(true);
        }
        self.forget_trailers();
        Poll::Ready(ready!(self.poll_fill(cx)).is_ok_and(|read| read > 0))
    }

    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(ready!(self.poll_fill(cx)).is_ok_and(|read| read > 0))
    }

    /// Resolves when the other end leaves while nothing is expected of it; bytes that arrive instead are kept.
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

    /// The same for a held request. Its bytes go into the one block that it may occupy, so that leaving is noticed
    /// behind the beginning of a body.
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

    pub(crate) fn expect_body(&mut self, framing: Framing) {
        self.decoder = Decoder::new(framing);
        self.most = usize::MAX;
        self.forget_trailers();
    }

    fn forget_trailers(&mut self) {
        if self.trailers.size() > 0 {
            self.trailers = Head::default();
        }
    }

    pub(crate) fn announce_body(&mut self, framing: Framing) {
        self.encoder = Encoder::new(framing);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.decoder.is_over()
    }

    /// The next piece; the caller reports its use by [`Wire::consume`].
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

    pub(crate) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.decoder.consumed(n);
    }

    /// Moves unread bytes into a small block: they will not be used soon.
    pub(crate) fn compact(&mut self) {
        self.input.compact();
    }

    pub(crate) fn read_at_most(&mut self, most: usize) {
        self.most = most;
    }

    pub(crate) fn memory(&self) -> usize {
        self.input.memory()
    }

    pub(crate) fn length_left(&self) -> u64 {
        self.decoder.length_left().unwrap_or(0)
    }

    pub(crate) fn trailers(&self) -> &Head {
        &self.trailers
    }

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

    /// Ends the body; [`Wire::poll_flush`] writes what is left of it.
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

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Wire {
    pub(crate) fn into_socket(self) -> Socket {
        match self.input.bytes() {
            [] => self.io,
            read => self.io.rewound(read),
        }
    }

    pub(crate) fn skip(&mut self, n: usize) {
        self.input.consume(n);
    }
}

#[cfg(test)]
mod tests;
