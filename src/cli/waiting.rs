//! Commands that may wait for a gate, a hold or a disk: they report the reason, and giving up cancels them.
//!
//! A command's own answer says whether it was cancelled: the proxy decides whether cancel or commit came first.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::api::{CancelAnswer, CancelBody, MovingAnswer, StatusAnswer};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::output::complain;
use crate::cli::render::{self, layout};

const GLANCE: Duration = Duration::from_millis(500);
/// A proxy that is silent for this long does not run.
const SILENCE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(5);
/// Timeout of `--detach` without `--timeout`.
const DETACHED: Duration = Duration::from_secs(90);
/// A gate outlasts `--timeout` by this, so that one clock decides.
const BEHIND: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) timeout: Option<Duration>,
    pub(crate) detach: bool,
}

impl Patience {
    pub(crate) fn gate(self) -> Option<String> {
        let timeout = self.timeout.filter(|_| !self.detach)?;
        Some(humantime::format_duration((timeout + BEHIND).min(DAY)).to_string().replace(' ', ""))
    }
}

/// Ctrl-C and the like, from the moment of listening.
#[derive(Debug)]
pub(crate) struct Interrupts {
    int: Option<Signal>,
    term: Option<Signal>,
    /// Exit code of a received one, which ends every later wait.
    came: Option<u8>,
}

impl Interrupts {
    pub(crate) fn listen() -> Interrupts {
        Interrupts { int: signal(SignalKind::interrupt()).ok(), term: signal(SignalKind::terminate()).ok(), came: None }
    }

    pub(crate) async fn next(&mut self) -> u8 {
        async fn of(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        if let Some(code) = self.came {
            return code;
        }
        let code = tokio::select! {
            () = of(&mut self.int) => 130,
            () = of(&mut self.term) => 143,
        };
        self.came = Some(code);
        code
    }
}

enum GaveUp {
    Interrupted(u8),
    TimedOut,
}

pub(crate) async fn ask<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    patience: Patience,
    interrupts: &mut Interrupts,
) -> Result<T, Failure> {
    let id = format!("cutover-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let mut answer = std::pin::pin!(client.post_as::<T>(path, body, &id));
    let limit = patience.timeout.or(patience.detach.then_some(DETACHED));
    let mut told = Told::new(limit.map(|limit| Instant::now() + limit));
    let gave_up = {
        let mut watched = std::pin::pin!(watch(client, &mut told));
        let over = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answered = &mut answer => return answered,
            code = interrupts.next() => GaveUp::Interrupted(code),
            () = over => GaveUp::TimedOut,
            failure = &mut watched => return Err(failure),
        }
    };
    told.clear();
    let after = match &gave_up {
        GaveUp::Interrupted(_) => String::new(),
        GaveUp::TimedOut => format!(" after {}", humantime::format_duration(limit.unwrap_or_default())),
    };
    let code = match gave_up {
        GaveUp::Interrupted(code) => code,
        GaveUp::TimedOut => 5,
    };
    let pending = || {
        let text = format!(
            "Stopped waiting{after}, but the command is still pending. Check: `cutover status`; cancel: `cutover rollback`"
        );
        Err(Failure::Ended("pending".to_owned(), text, code))
    };
    if patience.detach {
        return pending();
    }
    let cancelled = tokio::time::timeout(ANSWER, async {
        // A finished command is not found any more: its answer ends the attempts to cancel.
        tokio::select! {
            biased;
            answered = &mut answer => return answered,
            () = cancel(client, &id) => {}
        }
        answer.await
    });
    match cancelled.await {
        Err(_) => pending(),
        Ok(Ok(answer)) => {
            complain("Too late: the command was carried out before it could be cancelled.");
            Ok(answer)
        }
        Ok(Err(Failure::Refused(problem))) if problem.code == "cancelled" => {
            let problem = *problem;
            let waited = told.waited.as_ref().map(|waited| format!(" It waited for {waited}.")).unwrap_or_default();
            let said = problem.detail.replacen("Cancelled", &format!("Cancelled{after}"), 1);
            Err(Failure::Ended(problem.code, format!("{said}.{waited}"), code))
        }
        Ok(Err(failure)) => Err(failure),
    }
}

async fn cancel(client: &Client, id: &str) {
    let body = CancelBody { request_id: id.to_owned() };
    loop {
        match client.post::<CancelAnswer>("/admin/cancel", &body, ANSWER).await {
            Ok(CancelAnswer { found: true }) => return,
            // Not there yet, or not any more; the command's answer ends this.
            Ok(CancelAnswer { found: false }) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Reports the reason of the wait. Returns when the proxy stops answering.
async fn watch(client: &Client, told: &mut Told) -> Failure {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(GLANCE).await;
        let left = SILENCE.saturating_sub(heard.elapsed()).max(Duration::from_millis(1));
        match client.look::<StatusAnswer>("/admin/status", left).await {
            Ok(status) => {
                heard = Instant::now();
                told.tell(status.moving.as_ref());
            }
            Err(Failure::Refused(_)) => heard = Instant::now(),
            Err(failure) if heard.elapsed() >= SILENCE => {
                return match failure {
                    Failure::TimedOut(_) => client.unreachable(&"no answer in 5s"),
                    other => other,
                };
            }
            Err(_) => {}
        }
    }
}

/// Reports: a changing line on a terminal, lines now and then elsewhere.
struct Told {
    bar: ProgressBar,
    last: Option<(String, Instant)>,
    waited: Option<String>,
    until: Option<Instant>,
}

impl Told {
    fn new(until: Option<Instant>) -> Told {
        // Draws on standard error, and only on a terminal.
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        Told { bar, last: None, waited: None, until }
    }

    fn tell(&mut self, moving: Option<&MovingAnswer>) {
        let Some(moving) = moving else { return };
        let Some(waits_for) = &moving.waits_for else { return };
        let to = &moving.to;
        let waits_for = render::plain(waits_for);
        let limit = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = moving.ends_in_ms.map(Duration::from_millis).into_iter().chain(limit).min();
        let left = left.map(|left| format!(", {} s left", left.as_millis().div_ceil(1_000))).unwrap_or_default();
        self.waited = Some(format!("{to}: {waits_for}"));
        if std::io::stderr().is_terminal() {
            let (head, tail) = (format!("Waiting for {to}: "), format!("{left}; Ctrl-C cancels"));
            let room = layout::wide_errors().saturating_sub(layout::width(&head) + layout::width(&tail));
            self.bar.set_message(format!("{head}{}{tail}", layout::cut(&waits_for, room.max(1))));
            self.bar.tick();
            return;
        }
        // Checks in progress change the text each time.
        let what = if moving.checks.is_some() { moving.phase.clone() } else { waits_for.clone() };
        let due = self.last.as_ref().is_none_or(|(said, at)| *said != what || at.elapsed() >= AGAIN);
        if due {
            complain(&format!("Waiting for {to}: {waits_for}{left}"));
            self.last = Some((what, Instant::now()));
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.clear();
    }
}
