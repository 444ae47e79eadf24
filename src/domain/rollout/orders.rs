//! The file's side of the core: an order that waits for its turn, its outcome, and the write-back of `active`.

use crate::domain::rollout::{OrderState, Refusal};

#[derive(Debug)]
pub(super) struct FileOrders {
    /// The file has changed, and is looked at once no move is under way.
    waits: bool,
    last: OrderState,
    write_back: WriteBack,
    /// Write-backs under way: more than one where a move overtook another.
    writes: u32,
}

#[derive(Debug)]
enum WriteBack {
    Idle,
    /// `stale`: the file was edited meanwhile, so a failure says nothing about the next attempt.
    Writing {
        stale: bool,
    },
    /// The reason. The next change of the file or of the decision starts another attempt.
    Failed(String),
}

impl FileOrders {
    pub(super) fn new() -> FileOrders {
        FileOrders { waits: false, last: OrderState::Done, write_back: WriteBack::Idle, writes: 0 }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits
    }

    pub(super) fn wait_if(&mut self, waits: bool) {
        self.waits |= waits;
    }

    pub(super) fn take_waiting(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    pub(super) fn last(&self) -> &OrderState {
        &self.last
    }

    pub(super) fn carried_out(&mut self) {
        self.last = OrderState::Done;
    }

    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.last = OrderState::Refused(refusal);
    }

    pub(super) fn edited(&mut self) {
        self.write_back = match self.write_back {
            WriteBack::Writing { .. } => WriteBack::Writing { stale: true },
            WriteBack::Idle | WriteBack::Failed(_) => WriteBack::Idle,
        };
    }

    /// Another decision is in force, so another write-back may be needed.
    pub(super) fn overtaken(&mut self) {
        self.write_back = WriteBack::Idle;
    }

    pub(super) fn may_write_back(&self) -> bool {
        matches!(self.write_back, WriteBack::Idle)
    }

    pub(super) fn begin_write_back(&mut self) {
        self.write_back = WriteBack::Writing { stale: false };
        self.writes += 1;
    }

    pub(super) fn is_writing_back(&self) -> bool {
        self.writes > 0
    }

    pub(super) fn wrote_back(&mut self) {
        self.writes = self.writes.saturating_sub(1);
        self.waits = false;
        self.write_back = WriteBack::Idle;
    }

    pub(super) fn write_back_failed(&mut self, reason: String) {
        self.writes = self.writes.saturating_sub(1);
        let stale = matches!(self.write_back, WriteBack::Writing { stale: true });
        self.write_back = if stale { WriteBack::Idle } else { WriteBack::Failed(reason) };
    }

    pub(super) fn write_back_error(&self) -> Option<&str> {
        match &self.write_back {
            WriteBack::Failed(reason) => Some(reason),
            WriteBack::Idle | WriteBack::Writing { .. } => None,
        }
    }
}
