//! The one durable file, `ledger.jsonl`: one line a transition, each with the whole decision after it.
//!
//! History and state are the same file: the state is its last valid line. `Ledger::commit` hands a transition to the
//! one writer, first in, first out; its answer comes when `fdatasync` returned.
//! Promised interface (the ledger's author may refine it):
//!   pub struct Recovered { pub transitions: Vec<(u64 /*sequence*/, Transition)>, pub warnings: Vec<String> }
//!   pub fn open(dir: &Path) -> Result<(Ledger, Recovered), LedgerError>   // takes the lock on the directory
//!   impl Ledger { pub fn commit(&self, transition: Transition, done: impl FnOnce(Result<u64, String>) + Send + 'static); }
//!   // dropping the Ledger finishes the queue and joins the writer
