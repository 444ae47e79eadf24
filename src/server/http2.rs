//! One HTTP/2 connection of a client (RFC 9113), and its streams.
//!
//! The connection's task reads, polls every stream that was woken, and then writes the output of all of them at once.
//! [`crate::wire::http2::server`] enforces the limits against abusive clients, except the one with a deadline, which is
//! here: a field block has to be complete within `header_timeout`.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use tokio::task::coop::unconstrained;

use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase};
use crate::proxy::refused;
use crate::proxy::request::respond::After;
use crate::proxy::request::serve::{IncomingRequest, forward, given_up};
use crate::proxy::request::tunnel::ENDING;
use crate::server::client::ClientConnection;
use crate::server::lingering_close::{GOODBYE as READ_ON, linger};
use crate::telemetry::refused::Refusal;
use crate::wire::head::Head;
use crate::wire::http2::frame::{Code, FrameHead, kind};
use crate::wire::http2::server::limits::Flood;
use crate::wire::http2::server::places::Bells;
use crate::wire::http2::server::stream::ServerStream;
use crate::wire::http2::server::{Core, Received, Settings};
use crate::wire::side::Side;
use crate::wire::socket::Socket;
use crate::wire::socket::buffer::Input;

/// Time for an idle client to read GOAWAY.
const GOODBYE: Duration = Duration::from_secs(1);
/// The same after its streams were cut off: as long as a tunnel gets to end, plus time to write.
const PARTING: Duration = Duration::from_secs(ENDING.as_secs() + 1);

/// Reads of a connection, or polls of its streams, before other connections have their turn.
const AT_ONCE: usize = 8;

const KEPT_IDLE: usize = 8;

enum Task {
    Asked(Head),
    Served { slot: Rc<DeadlineSlot>, serving: Pin<Box<dyn Future<Output = After>>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Gone,
    /// All output was written; the client may have sent more.
    Said,
}

struct Connection {
    client: Rc<ClientConnection>,
    io: Socket,
    input: Input,
    core: Rc<RefCell<Core>>,
    bells: Arc<Bells>,
    tasks: Vec<Option<Task>>,
    wakers: Vec<Waker>,
    open: usize,
    turn: usize,
    /// The socket may hold written bytes back.
    unflushed: bool,
    closing: bool,
    head_by: Option<Instant>,
}

pub(crate) async fn serve_http2(client: ClientConnection, io: Socket) {
    let settings = client.worker().live.with(|snapshot| Settings {
        max_head: snapshot.edge.max_header_bytes,
        max_streams: snapshot.edge.max_concurrent_streams,
    });
    // Detecting the version may have started the deadline.
    if client.slot().phase() != Phase::Head {
        client.head_began();
    }
    let mut connection = Connection {
        core: Rc::new(RefCell::new(Core::new(settings, client.worker().now()))),
        client: Rc::new(client),
        io,
        input: Input::default(),
        bells: Arc::default(),
        tasks: Vec::new(),
        wakers: Vec::new(),
        open: 0,
        turn: 0,
        unflushed: false,
        closing: false,
        head_by: None,
    };
    // Tokio's budget is meant for one exchange in a task, and this task has many; `AT_ONCE` bounds it instead.
    let end = unconstrained(std::future::poll_fn(|cx| connection.poll(cx))).await;
    connection.abandon();
    match end {
        End::Gone => {}
        End::Said => linger(connection.client.slot(), &mut connection.io, &READ_ON).await,
    }
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.bells.register(cx);
        self.core.borrow_mut().tick(self.client.worker().now());
        let mut turns = 0;
        loop {
            if self.poll_read(cx) {
                return Poll::Ready(End::Gone);
            }
            self.serve_streams();
            self.report_refused();
            self.end_over();
            let stalled = self.core.borrow().is_stalled();
            let written = self.poll_write(cx);
            if matches!(written, Poll::Ready(Err(_))) {
                return Poll::Ready(End::Gone);
            }
            if written.is_ready() && self.core.borrow().is_finished() {
                return Poll::Ready(End::Said);
            }
            let mut core = self.core.borrow_mut();
            // Streams that waited for room in the output have it now.
            let again = written.is_ready() && (core.wake_for_room() || stalled) || core.has_woken();
            drop(core);
            if !again {
                break;
            }
            turns += 1;
            if turns == AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.check_time(cx)
    }

    /// True: the client is gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut reads = 0;
        while !self.core.borrow().is_stalled() && !self.core.borrow().is_over() {
            match self.input.poll_fill(cx, &mut self.io, 0) {
                Poll::Ready(Ok(1..)) => self.take_frames(),
                Poll::Ready(_) => {
                    if self.is_in_head() {
                        let client = &self.client;
                        refused::head(client.worker(), client.peer(), Refusal::IncompleteHead, 499);
                    }
                    return true;
                }
                Poll::Pending => return false,
            }
            reads += 1;
            if reads == AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
        }
        false
    }

    fn take_frames(&mut self) {
        let worker = self.client.worker();
        let mut head = worker.take_head();
        loop {
            let (used, event) = self.core.borrow_mut().read(self.input.bytes(), &mut head);
            self.input.consume(used);
            let Received::Request(place) = event else { break };
            while self.tasks.len() <= place {
                self.wakers.push(self.bells.of(self.tasks.len()));
                self.tasks.push(None);
            }
            self.tasks[place] = Some(Task::Asked(std::mem::replace(&mut head, worker.take_head())));
            self.open += 1;
        }
        worker.give_head(head);
    }

    fn serve_streams(&mut self) {
        let mut woken = self.core.borrow_mut().take_woken();
        woken.add_all(self.bells.take());
        // The start rotates, because the first stream finds the most room.
        let (later, sooner) = woken.split(self.turn);
        let mut in_turn = later.chain(sooner).peekable();
        self.turn = in_turn.peek().map_or(0, |place| place + 1);
        for place in in_turn {
            self.serve_stream(place);
        }
    }

    fn serve_stream(&mut self, place: usize) {
        let Some(Some(task)) = self.tasks.get_mut(place) else { return };
        let (reset, cut) = {
            let core = self.core.borrow();
            (core.is_reset(place), core.cut(place))
        };
        if let Task::Asked(head) = task {
            let stream = ServerStream::new(Rc::clone(&self.core), place);
            let head = std::mem::take(head);
            let (client, slot) = (Rc::clone(&self.client.client), self.client.worker().slots.add(Phase::Request, None));
            let request =
                IncomingRequest { client, slot: Rc::clone(&slot), side: Side::Served(Box::new(stream)), head };
            if reset {
                if let Some(cut) = cut {
                    slot.set_cut(cut);
                }
                self.client.worker().give_head(given_up(request));
                self.client.worker().slots.remove(&slot);
                return self.over(place);
            }
            *task = Task::Served { slot, serving: Box::pin(serve(request)) };
        }
        let Task::Served { slot, serving } = task else { return };
        let mut cx = Context::from_waker(&self.wakers[place]);
        slot.register(&cx);
        if let Some(cut) = cut {
            slot.set_cut(cut);
        }
        match serving.as_mut().poll(&mut cx) {
            Poll::Ready(_) => self.over(place),
            Poll::Pending if reset => self.over(place),
            Poll::Pending => {}
        }
    }

    fn over(&mut self, place: usize) {
        if let Some(Task::Served { slot, .. }) = self.tasks[place].take() {
            self.client.worker().slots.remove(&slot);
        }
        self.open -= 1;
    }

    fn abandon(&mut self) {
        self.core.borrow_mut().abandon();
        for place in 0..self.tasks.len() {
            self.serve_stream(place);
        }
    }

    fn end_over(&mut self) {
        let (over, flood, code) = {
            let core = self.core.borrow();
            (core.is_over(), core.flood(), core.code())
        };
        if over && self.client.slot().phase() != Phase::Ending {
            let (refusal, error) = match flood {
                Some(Flood::SlowHead) => (Refusal::SlowHead, Flood::SlowHead.as_str()),
                Some(flood) => (Refusal::Http2Flood, flood.as_str()),
                None if code == Code::EnhanceYourCalm => (Refusal::Http2Flood, "a field block without end"),
                None => (Refusal::Http2Protocol, code.as_str()),
            };
            refused::connection(self.client.worker(), self.client.peer(), refusal, &error);
            self.client.enter(Phase::Ending, GOODBYE);
            self.abandon();
        }
    }

    fn report_refused(&self) {
        let refused = self.core.borrow_mut().take_refused();
        for (count, refusal, status) in [
            (refused.too_large, Refusal::HeadTooLarge, 431),
            (refused.malformed, Refusal::Malformed, 400),
            (refused.streams, Refusal::Http2Streams, 503),
            (refused.memory, Refusal::Memory, 503),
        ] {
            match refusal {
                Refusal::Http2Streams | Refusal::Memory => {
                    refused::burst(self.client.worker(), self.client.peer(), refusal, status, u64::from(count));
                }
                _ => (0..count).for_each(|_| refused::head(self.client.worker(), self.client.peer(), refusal, status)),
            }
        }
    }

    /// A field block, or a frame other than DATA, has begun and is incomplete.
    fn is_in_head(&self) -> bool {
        let core = self.core.borrow();
        // A client that doesn't read is not read from, so its frame may be incomplete for our reasons.
        let reads = !core.is_stalled() && !core.is_over();
        let input = self.input.bytes();
        let partial = || !input.is_empty() && FrameHead::read(input).is_none_or(|frame| frame.kind != kind::DATA);
        reads && (core.is_in_block() || partial())
    }

    /// Keeps the deadline of an incomplete field block in the slot. True: it has passed.
    fn keep_head_deadline(&mut self) -> bool {
        let client = Rc::clone(&self.client);
        if !self.is_in_head() {
            if self.head_by.take().is_some() && matches!(client.slot().phase(), Phase::Idle | Phase::Request) {
                match self.open {
                    0 if self.closing => client.enter(Phase::Idle, GOODBYE),
                    0 => client.idle(),
                    _ => client.slot().extend(None),
                }
            }
            return false;
        }
        let now = client.worker().now();
        let by = *self.head_by.get_or_insert(now + client.header_timeout());
        let keeps_deadline = self.closing && self.open == 0;
        if matches!(client.slot().phase(), Phase::Idle | Phase::Request) && !keeps_deadline {
            client.slot().extend(Some(by));
            client.worker().slots.due_at(Some(by));
        }
        now >= by
    }

    fn shrink(&mut self) {
        if self.tasks.capacity() > KEPT_IDLE {
            self.tasks = Vec::new();
            self.wakers = Vec::new();
            self.client.worker().freed.set(true);
        }
        self.core.borrow_mut().shrink();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut core = self.core.borrow_mut();
        let output = core.output();
        while !output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, output.bytes()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.written(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn check_time(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let client = Rc::clone(&self.client);
        let open = self.open;
        match (open, client.slot().phase()) {
            (0, Phase::Head) if self.core.borrow().has_begun() => client.idle(),
            (0, Phase::Request) if self.closing => client.enter(Phase::Idle, GOODBYE),
            (0, Phase::Request) => {
                client.idle();
                self.shrink();
            }
            (1.., Phase::Idle | Phase::Head) => client.slot().enter(Phase::Request, None),
            (0, Phase::Ending) if self.core.borrow_mut().output().is_empty() => return Poll::Ready(End::Said),
            _ => {}
        }
        if self.keep_head_deadline() {
            self.core.borrow_mut().end_flood(Flood::SlowHead);
            cx.waker().wake_by_ref();
        }
        match client.slot().take_fired() {
            // The last frames of the streams are still written.
            Some(Fired::Cut) if open > 0 => {
                self.close(cx);
                client.enter(Phase::Ending, PARTING);
            }
            Some(Fired::Cut) => return Poll::Ready(End::Gone),
            Some(Fired::Deadline) if client.slot().phase() == Phase::Head => {
                refused::connection(client.worker(), client.peer(), Refusal::SlowHead, &"no complete preface");
                return Poll::Ready(End::Gone);
            }
            Some(Fired::Deadline) if client.slot().phase() == Phase::Ending => return Poll::Ready(End::Gone),
            Some(Fired::Deadline) if self.closing && open == 0 => return Poll::Ready(End::Gone),
            Some(Fired::Deadline | Fired::Closing) if !self.closing && (client.slot().is_parting() || open == 0) => {
                self.close(cx);
                if open == 0 {
                    client.enter(Phase::Idle, GOODBYE);
                }
            }
            _ => {}
        }
        Poll::Pending
    }

    /// Sends GOAWAY: in-flight streams finish, new ones are refused.
    fn close(&mut self, cx: &Context<'_>) {
        self.closing = true;
        self.core.borrow_mut().leave();
        cx.waker().wake_by_ref();
    }
}

/// Serves a request. Dropping its side resets an incomplete answer.
async fn serve(request: IncomingRequest) -> After {
    let client = Rc::clone(&request.client);
    let finished = forward(request).await;
    client.worker.give_head(finished.head);
    finished.after
}
