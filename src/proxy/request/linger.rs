//! Old files after a switch: a file that the chosen color does not have is asked once of the other color.
//!
//! Pages of an old release stay open in browsers and load files that only their release has. So a GET or HEAD below
//! `linger.paths` that is answered with 404 or 410 goes to the other color before a byte went to the client. Its 200,
//! 206 or 304 is the response; otherwise the first response goes out as it came.
//!
//! A second request is no evidence about either release, takes no retry and ejects no endpoint. The budget bounds what
//! strangers can cost the other color by asking for files that do not exist.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::proxy::clock;
use crate::proxy::deadlines::Fired;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::headers;
use crate::proxy::pool::{Endpoint, Rules};
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::upload::Upload;
use crate::proxy::snapshot::admission::Admission;
use crate::proxy::upstream::connections::UpstreamConnection;
use crate::telemetry::meter::Lingered;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::Piece;
use crate::wire::side::Side;

/// The time for the head of the other color's response; a client waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
const UNWANTED: usize = 64 << 10;
const FIELD: (&[u8], &[u8]) = (b"x-cutover-lingered", b"true");

/// Each request for a file earns a part of a second request.
pub(super) fn is_for_file(exchange: &Exchange, upload: &Upload) -> bool {
    let head = &exchange.head;
    let plain = upload.framing == Framing::None && !head.has(Name::Upgrade) && !head.extended_connect;
    if !plain || exchange.report.is_shielded() || !(head.is_method("GET") || head.is_method("HEAD")) {
        return false;
    }
    let worker = &exchange.client.worker;
    worker.live.with(|snapshot| {
        let Some(linger) = snapshot.linger.as_ref().filter(|linger| linger.paths.find(head.path()).is_some()) else {
            return false;
        };
        worker.asks.borrow_mut().at(linger.percent).deposit(clock::millis(worker.now()));
        true
    })
}

/// Replaces `upstream` and `answer` if the other color has the file.
pub(super) async fn ask(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut UpstreamConnection,
    answer: &mut Head,
) {
    let client = Rc::clone(&exchange.client);
    let worker = &client.worker;
    let (color, host) = (exchange.admission().pool.color, exchange.head.text(Name::Host).unwrap_or_default());
    let path = exchange.head.path();
    let other = worker.live.with(|snapshot| {
        let other = snapshot.admit_lingering(color, worker.index, host, path)?;
        let percent = snapshot.linger.as_ref()?.percent;
        Some((other, percent))
    });
    let Some((other, percent)) = other else { return };
    let now = clock::millis(worker.now());
    let Some(index) = other.pool.pick(worker.index, worker.draw(), now, &[]) else { return };
    if !worker.asks.borrow_mut().at(percent).withdraw(now) {
        exchange.excuse(Lingered::OverBudget);
        return;
    }
    let load = Load::new(&other, index, worker.index);
    // The release has answered.
    exchange.wait_for_client(true);
    exchange.begin_attempt_at(&other, index);
    let asked = clock::within(PATIENCE, request(exchange, side, &other.pool.endpoints[index], &other)).await;
    exchange.wait_for_client(false);
    let asked = asked.flatten();
    match &asked {
        Some((_, head)) => exchange.attempt_answered(head.status),
        None => exchange.attempt_broke(ErrorKind::UpstreamClosed),
    }
    let to_head = exchange.head.is_method("HEAD");
    match asked {
        Some((found, head)) if matches!(head.status, 200 | 206 | 304) => {
            let (first, first_head) = (std::mem::replace(upstream, found), std::mem::replace(answer, head));
            let endpoint = Arc::clone(exchange.target().0);
            give_back(exchange, &endpoint, first, &first_head, to_head);
            load.hand_over();
            exchange.take_response_of(other, index);
        }
        Some((found, head)) => {
            let missing = matches!(head.status, 404 | 410);
            give_back(exchange, &other.pool.endpoints[index], found, &head, to_head);
            if missing {
                // Neither color has it: the client's mistake.
                exchange.admission().meter.lingered(Lingered::NotFound);
            } else {
                exchange.excuse(Lingered::Failed);
            }
        }
        None => exchange.excuse(Lingered::Failed),
    }
    exchange.extend_deadline(false);
}

async fn request(
    exchange: &Exchange,
    side: &mut Side,
    endpoint: &Arc<Endpoint>,
    other: &Admission,
) -> Option<(UpstreamConnection, Head)> {
    let (connections, rules) = (&exchange.client.worker.connections, other.pool.rules());
    let mut pooled = connections.take(endpoint, rules);
    loop {
        let mut upstream = match pooled.take() {
            Some(pooled) => pooled,
            None => connections.make(endpoint, rules, other.timeouts.connect_timeout).await.ok()?,
        };
        let mut head = Head::default();
        match head_of(exchange, side, &mut upstream, &mut head, rules).await {
            Ok(()) => return Some((upstream, head)),
            // The endpoint had closed it while it was idle.
            Err(Broken::Connection) if upstream.reused => {}
            Err(_) => return None,
        }
    }
}

enum Broken {
    Connection,
    /// The client left, or a drain or the process ends the request.
    Exchange,
}

async fn head_of(
    exchange: &Exchange,
    side: &mut Side,
    upstream: &mut UpstreamConnection,
    head: &mut Head,
    rules: &Rules,
) -> Result<(), Broken> {
    let is_over = |side: &mut Side, cx: &mut Context<'_>| {
        matches!(exchange.slot().fired(), Some(Fired::Ended | Fired::Cut)) || side.poll_left(cx).is_ready()
    };
    let ready = poll_fn(|cx| match is_over(side, cx) {
        true => Poll::Ready(Err(Broken::Exchange)),
        false => upstream.side.poll_ready(cx, false).map(Ok),
    });
    if !ready.await? {
        return Err(Broken::Connection);
    }
    upstream.side.begin_request(&exchange.head, Framing::None).map_err(|_| Broken::Exchange)?;
    poll_fn(|cx| {
        if is_over(side, cx) {
            return Poll::Ready(Err(Broken::Exchange));
        }
        let _ = upstream.side.poll_flush(cx);
        upstream.side.read_for(side);
        loop {
            match ready!(upstream.side.poll_answer(cx, head, rules.limits())) {
                // Interim responses belong to a response that may not be used.
                Ok(true) if head.status < 200 && head.status != 101 => {}
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) | Err(_) => return Poll::Ready(Err(Broken::Connection)),
            }
        }
    })
    .await
}

fn give_back(
    exchange: &Exchange,
    endpoint: &Arc<Endpoint>,
    mut upstream: UpstreamConnection,
    head: &Head,
    to_head: bool,
) {
    let framing = match upstream.side.is_bodiless() {
        true => Ok(Framing::None),
        false => Framing::of_answer(head, to_head),
    };
    let Ok(framing) = framing else { return };
    if !headers::keeps_alive(head) || framing == Framing::UntilEnd && head.version != Version::Http2 {
        return;
    }
    upstream.side.expect_body(framing);
    let mut read = 0;
    while read < UNWANTED {
        match upstream.side.poll_body(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Piece::Data(data))) => {
                let n = data.len();
                upstream.side.consume(n);
                read += n;
            }
            Poll::Ready(Ok(Piece::End)) => {
                let keep_until = exchange.now() + exchange.admission().timeouts.idle_timeout;
                return exchange.client.worker.connections.put(endpoint, upstream, keep_until);
            }
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

/// The load of a second request on an endpoint, until its future ends.
struct Load {
    admission: Arc<Admission>,
    endpoint: usize,
    worker: usize,
    kept: bool,
}

impl Load {
    fn new(admission: &Arc<Admission>, endpoint: usize, worker: usize) -> Load {
        admission.pool.endpoints[endpoint].load(worker).add(1);
        Load { admission: Arc::clone(admission), endpoint, worker, kept: false }
    }

    /// The exchange releases it.
    fn hand_over(mut self) {
        self.kept = true;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if !self.kept {
            self.admission.pool.endpoints[self.endpoint].load(self.worker).sub(1);
        }
    }
}

pub(super) fn mark(answer: &mut Head) {
    let (name, value) = FIELD;
    answer.push(name, value);
}
