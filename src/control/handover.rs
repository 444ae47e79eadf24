//! The controller's part of an upgrade: it stops deciding, gives the ledger away, and ends, or goes on as if nothing
//! had happened.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::control::Controller;
use crate::control::handle::{HandedOver, Request};
use crate::control::inbox::Incoming;
use crate::domain::rollout::{OrderState, Phase, Refusal};

/// How long the disk may take to write what was handed to it.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// How long requests are still answered that this process got instead of the new one.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

impl Controller {
    /// Waits until another process has taken over (true) or has failed to. Requests wait meanwhile.
    pub(super) async fn hand_over(&mut self, answer: oneshot::Sender<Result<HandedOver, String>>) -> bool {
        if self.unfinished().is_none() {
            // Evidence since the last tick is recorded and judged; the verdict may begin a move.
            self.analyze_tick();
        }
        if let Some(why) = self.unfinished() {
            let _ = answer.send(Err(why));
            return false;
        }
        let evidence = self.flush_evidence();
        let written = async {
            let _ = evidence.await;
            self.records.ledger().park().await
        };
        let parked = tokio::time::timeout(DISK_PATIENCE, written).await;
        let parked = parked.unwrap_or_else(|_| Err("the disk of the ledger does not answer".to_owned()));
        let (done, given) = oneshot::channel();
        let generation = self.rollout.view().decision.generation;
        let before = self.predecessors.channels();
        let handed = parked.map(|ledger| HandedOver { ledger, generation, before, done });
        let failed = handed.is_err();
        if answer.send(handed).is_err() || failed || given.await.is_err() {
            return false;
        }
        // Only the new process reads their reports from now on.
        self.predecessors.forget();
        true
    }

    /// Answers those whose requests were on their way here, for a moment.
    pub(super) async fn answer_last(&mut self, stop: &mut (impl Future<Output = ()> + Unpin)) {
        let mut moment = std::pin::pin!(tokio::time::sleep(LAST_ANSWERS));
        loop {
            tokio::select! {
                () = &mut *stop => return,
                () = &mut moment => return,
                incoming = self.inbox.next() => if let Incoming::Request(request) = incoming {
                    self.last_answer(request);
                }
            }
        }
    }

    /// Why this is no moment to hand over: what only this process knows would be lost.
    fn unfinished(&self) -> Option<String> {
        let view = self.rollout.view();
        let moves = view.moving.is_some()
            || matches!(view.phase, Phase::Gating { .. } | Phase::Holding { .. } | Phase::Committing { .. })
            || matches!(view.order, OrderState::Pending);
        if moves {
            return Some(match view.moving {
                Some(moving) => format!("{moving}; to cancel it: `cutover rollback`"),
                None => "a move is in progress; wait for it: `cutover wait`".to_owned(),
            });
        }
        if view.hold.is_some() {
            return Some("requests are held; send them on first: `cutover unpause`".to_owned());
        }
        if !self.replies.is_empty() || !self.orders.is_empty() || !self.staging.is_empty() {
            return Some("a command is being carried out; wait for it: `cutover wait`".to_owned());
        }
        if !self.records.is_settled() || self.file.written_back().is_some() {
            return Some("a decision is being written down; wait for it: `cutover wait`".to_owned());
        }
        if let (false, Some((_, trouble))) = (view.durable, self.records.trouble()) {
            return Some(format!("the decision in force is not on disk ({trouble}); see `cutover status`"));
        }
        (!view.durable).then(|| "the decision in force is not on disk; see `cutover status`".to_owned())
    }

    /// Nothing is carried out any more; what only asks is answered from memory.
    fn last_answer(&mut self, request: Request) {
        let refusal = || Refusal::Earlier {
            code: "in_progress",
            sentence: "an upgrade has just put another process in charge, and nothing was moved; \
                       give the same command again"
                .to_owned(),
        };
        match request {
            Request::Command(_, _, _, answer) => drop(answer.send(Err(refusal()))),
            Request::Stage(_, answer) => drop(answer.send(Err(refusal()))),
            Request::Reload(answer) => drop(answer.send(Err(refusal()))),
            // No answer says that the process stops.
            Request::Verify(_) | Request::NotifyTest(..) | Request::HandOver(_) => {}
            request => self.request(request),
        }
    }
}
