//! Repeated refusals: a script that asks again and again gets one ledger line per interval, with a count.

use std::time::{Duration, Instant};

use crate::domain::rollout::Refusal;
use crate::domain::transition::{Asked, Origin, Trigger};

/// Pause before the same refusal is written again. It doubles with each line,
const AGAIN: Duration = Duration::from_secs(60);
/// up to this.
const AGAIN_AT_MOST: Duration = Duration::from_secs(3_600);
/// Distinct refusals; the oldest is forgotten first.
const KINDS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<Refused>);

/// A written refusal. Port and reason may differ between its repetitions.
#[derive(Debug)]
struct Refused {
    asked: Asked,
    trigger: Trigger,
    actor: String,
    code: &'static str,
    last_attempt: Instant,
    next_line: Instant,
    pause: Duration,
    untold: u32,
}

impl Refusals {
    /// `None`: the same refusal was written a short time ago.
    pub(super) fn sentence(
        &mut self,
        now: Instant,
        asked: &Asked,
        origin: &Origin,
        refusal: &Refusal,
    ) -> Option<String> {
        let code = refusal.code();
        self.0.retain(|known| now < known.last_attempt + AGAIN_AT_MOST);
        let sentence = match refusal {
            // The answer to the client is in the second person.
            Refusal::GivenUp { active } => {
                format!(
                    "called off by {}, who asked for it, before any traffic moved; {active} keeps serving",
                    origin.actor
                )
            }
            refusal => refusal.to_string(),
        };
        let same = |known: &&mut Refused| {
            (&known.asked, known.trigger, &known.actor, known.code) == (asked, origin.trigger, &origin.actor, code)
        };
        let Some(known) = self.0.iter_mut().find(same) else {
            if self.0.len() == KINDS {
                self.0.remove(0);
            }
            self.0.push(Refused {
                asked: asked.clone(),
                trigger: origin.trigger,
                actor: origin.actor.clone(),
                code,
                last_attempt: now,
                next_line: now + AGAIN,
                pause: AGAIN,
                untold: 0,
            });
            return Some(sentence);
        };
        known.last_attempt = now;
        if now < known.next_line {
            known.untold += 1;
            return None;
        }
        known.pause = (known.pause * 2).min(AGAIN_AT_MOST);
        known.next_line = now + known.pause;
        match std::mem::take(&mut known.untold) {
            0 => Some(sentence),
            untold => Some(format!("{sentence} (and {untold} more times since the last line about it)")),
        }
    }
}
