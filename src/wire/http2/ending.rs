//! The end of an endpoint's HTTP/2 connection, and whether it says anything about the requests on it.
//!
//! A connection carries requests of many clients. An endpoint may close it for the flood of one (GOAWAY with
//! ENHANCE_YOUR_CALM) or for one oversized head, and every other request fails with it. The `h2` crate tells a stream
//! only that its connection broke, so incoming frame heads are followed here.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::http2::frame::{self, Code, FrameHead, kind};

/// A large head still explains the end of a connection for this long after its client has left.
const LINGERS: Duration = Duration::from_secs(5);
/// Last stream and error code in the payload of GOAWAY.
const GOAWAY: usize = 8;

/// The end of a connection, shared by its socket and its streams.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    large: AtomicU32,
    /// Time when the last of them was abandoned.
    given_up: Mutex<Option<Instant>>,
    excused: AtomicBool,
    told: AtomicBool,
}

impl Ending {
    /// The connection ended because of requests on it, which says nothing about the endpoint.
    pub(crate) fn is_excused(&self) -> bool {
        self.excused.load(Relaxed)
    }

    /// The endpoint sent GOAWAY with an error.
    pub(crate) fn is_told(&self) -> bool {
        self.is_excused() && self.told.load(Relaxed)
    }

    fn goaway(&self, code: u32) {
        if code == Code::EnhanceYourCalm as u32 {
            self.excused.store(true, Relaxed);
        }
        if code != Code::NoError as u32 {
            self.told.store(true, Relaxed);
            self.broke();
        }
    }

    pub(crate) fn broke(&self) {
        let given_up = || *self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if self.large.load(Relaxed) > 0 || given_up().is_some_and(|at| at.elapsed() < LINGERS) {
            self.excused.store(true, Relaxed);
        }
    }
}

#[derive(Debug)]
pub(crate) struct LargeHead {
    ending: Arc<Ending>,
    answered: bool,
}

impl LargeHead {
    pub(crate) fn sent(ending: &Arc<Ending>) -> LargeHead {
        ending.large.fetch_add(1, Relaxed);
        LargeHead { ending: Arc::clone(ending), answered: false }
    }

    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for LargeHead {
    fn drop(&mut self) {
        self.ending.large.fetch_sub(1, Relaxed);
        if !self.answered {
            *self.ending.given_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Head of the present frame, with the payload of GOAWAY.
    head: [u8; frame::HEAD + GOAWAY],
    have: usize,
    skip: usize,
}

impl Walk {
    pub(crate) fn pass(&mut self, mut bytes: &[u8], ending: &Ending) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = &bytes[n..];
                continue;
            }
            let wanted = self.wanted();
            let n = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + n].copy_from_slice(&bytes[..n]);
            self.have += n;
            bytes = &bytes[n..];
            if self.have == self.wanted()
                && let Some(frame) = FrameHead::read(&self.head)
            {
                let taken = self.have - frame::HEAD;
                if taken == GOAWAY {
                    let [.., a, b, c, d] = self.head;
                    ending.goaway(u32::from_be_bytes([a, b, c, d]));
                }
                self.skip = frame.length - taken;
                self.have = 0;
            }
        }
    }

    fn wanted(&self) -> usize {
        match FrameHead::read(&self.head[..self.have]) {
            Some(frame) if frame.kind == kind::GOAWAY && frame.length >= GOAWAY => frame::HEAD + GOAWAY,
            _ => frame::HEAD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bytes: &[u8], piece: usize) -> (bool, bool) {
        let (ending, mut walk) = (Ending::default(), Walk::default());
        bytes.chunks(piece).for_each(|bytes| walk.pass(bytes, &ending));
        (ending.is_excused(), ending.is_told())
    }

    fn goaway(code: Code) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::write_settings(&[], &mut bytes);
        frame::write_head(40, kind::DATA, 0, 1, &mut bytes);
        let start = bytes.len();
        frame::write_goaway(0, Code::EnhanceYourCalm, &mut bytes);
        bytes.resize(start + 40, 0);
        frame::write_ping(0, b"12345678", &mut bytes);
        frame::write_goaway(7, code, &mut bytes);
        bytes
    }

    #[test]
    fn a_goaway_is_found_however_it_is_cut() {
        for piece in [1, 2, 3, 8, 9, 10, 17, 1000] {
            assert_eq!(after(&goaway(Code::EnhanceYourCalm), piece), (true, true), "{piece}");
            assert_eq!(after(&goaway(Code::Protocol), piece), (false, false), "{piece}");
            assert_eq!(after(&goaway(Code::NoError), piece), (false, false), "{piece}");
        }
    }

    #[test]
    fn a_large_head_excuses_an_end_until_it_is_answered_and_a_while_after_it_is_given_up() {
        let ending = Arc::new(Ending::default());
        LargeHead::sent(&ending).answered();
        ending.broke();
        assert!(!ending.is_excused(), "answered");
        let waits = LargeHead::sent(&ending);
        ending.broke();
        assert!(ending.is_excused() && !ending.is_told());
        drop(waits);
        let ending = Arc::new(Ending::default());
        drop(LargeHead::sent(&ending));
        ending.goaway(Code::Internal as u32);
        assert!(ending.is_excused() && ending.is_told(), "given up just now");
        let ending = Ending { given_up: Mutex::new(Instant::now().checked_sub(LINGERS)), ..Ending::default() };
        ending.broke();
        assert!(!ending.is_excused(), "given up long ago");
    }
}
