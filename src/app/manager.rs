//! The service manager is told how things stand: a line of status, and signs of life while everything makes progress.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::control::handle::{ControllerHandle, Phase, Request, Status};
use crate::sys::progress::Progress;
use crate::sys::service;

/// From look to look where no watchdog wants more.
const LOOK: Duration = Duration::from_secs(10);

/// Runs as long as the proxy.
pub(super) async fn keep_told(handle: ControllerHandle, progress: Progress) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = service::watchdog();
    let every = watchdog.map_or(LOOK, |watchdog| LOOK.min(watchdog / 3));
    let mut look = interval(every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = handle.news.subscribe();
    let (mut line, mut turns) = (String::new(), progress.turns());
    loop {
        let looks = tokio::select! {
            _ = look.tick() => true,
            heard = news.recv() => match heard {
                Ok(_) | Err(RecvError::Lagged(_)) => false,
                Err(RecvError::Closed) => return,
            },
        };
        // The controller proves its progress by an answer.
        let Ok(Ok(status)) = timeout(every, handle.ask(Request::Status)).await else { continue };
        let now = self::line(&status);
        if line != now {
            service::status(&now);
            line = now;
        }
        if looks && watchdog.is_some() {
            let before = std::mem::replace(&mut turns, progress.turns());
            match before.iter().zip(&turns).position(|(before, now)| before == now) {
                None => service::alive(),
                Some(worker) => tracing::error!(worker, "Worker without progress; watchdog not notified"),
            }
        }
    }
}

fn line(status: &Status) -> String {
    let decision = &status.view.decision;
    let phase = match status.view.phase {
        Phase::Steady => "steady".to_owned(),
        Phase::Canary { .. } => "canary".to_owned(),
        Phase::Baking { .. } => "baking".to_owned(),
        Phase::Gating { to } => format!("gating {to}"),
        Phase::Holding { to } => format!("holding requests for {to}"),
        Phase::Committing { to } => format!("committing {to}"),
    };
    let headline = status.headline.first().map(|finding| format!(" · {finding}")).unwrap_or_default();
    format!("{} {}, {phase}{headline}", decision.active, decision.release)
}
