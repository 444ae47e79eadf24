//! A line of the ledger: `{"crc":"89abcdef","entry":{…}}`, the CRC-32 (ISO-HDLC, as in gzip) over the bytes of the
//! entry. Readable by eyes and `jq`; the domain's types are not what is written, so that either can change.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::domain::color::Color;
use crate::domain::gate::{GateReport, Probed};
use crate::domain::release::Release;
use crate::domain::transition::{Decision, FileOrder, Generation, Kind, Origin, Previous, Transition, Trigger};

mod lineage;

/// The version that this program writes, and the newest it reads.
pub(super) const VERSION: u32 = 1;

const BEFORE_CRC: &str = "{\"crc\":\"";
const BEFORE_ENTRY: &str = "\",\"entry\":";

/// Why a line is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Not whole, or not what was written.
    Damaged,
    /// Whole, and of a newer version.
    Newer(u32),
}

/// Writes a line, with its line end.
pub(super) fn write(sequence: u64, transition: &Transition) -> String {
    let entry = serde_json::to_string(&Entry::from(sequence, transition)).expect("an entry has string keys only");
    format!("{BEFORE_CRC}{:08x}{BEFORE_ENTRY}{entry}}}\n", crc32fast::hash(entry.as_bytes()))
}

/// Reads a line, without its line end.
pub(super) fn read(line: &[u8]) -> Result<(u64, Transition), Unreadable> {
    let whole = (|| {
        let rest = line.strip_prefix(BEFORE_CRC.as_bytes())?;
        let (crc, rest) = rest.split_at_checked(8)?;
        let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
        let entry = rest.strip_prefix(BEFORE_ENTRY.as_bytes())?.strip_suffix(b"}")?;
        (crc32fast::hash(entry) == crc).then_some(entry)
    })();
    let entry = whole.ok_or(Unreadable::Damaged)?;
    let version: Version = serde_json::from_slice(entry).map_err(|_| Unreadable::Damaged)?;
    if version.v > VERSION {
        return Err(Unreadable::Newer(version.v));
    }
    let entry: Entry = serde_json::from_slice(entry).map_err(|_| Unreadable::Damaged)?;
    entry.into_transition().ok_or(Unreadable::Damaged)
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    v: u32,
    seq: u64,
    kind: String,
    at: String,
    trigger: String,
    actor: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Standing>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<Gate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<(String, String)>,
    took_us: u64,
    decision: Decided,
}

#[derive(Serialize, Deserialize)]
struct Standing {
    color: String,
    release: String,
}

#[derive(Serialize, Deserialize)]
struct Decided {
    generation: u64,
    active: String,
    release: String,
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Left>,
    seen: Standing,
    #[serde(default, skip_serializing_if = "lineage::Written::is_empty")]
    lineage: lineage::Written,
}

#[derive(Serialize, Deserialize)]
struct Left {
    color: String,
    release: String,
    until: String,
}

#[derive(Serialize, Deserialize)]
struct Gate {
    color: String,
    rounds: u32,
    endpoints: Vec<Answer>,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    upstream: String,
    endpoint: String,
    passed: bool,
    detail: String,
    at: String,
    took_us: u64,
}

impl Entry {
    fn from(seq: u64, transition: &Transition) -> Entry {
        let decision = &transition.decision;
        Entry {
            v: VERSION,
            seq,
            kind: kind_name(transition.kind).to_owned(),
            at: time(transition.at),
            trigger: trigger_name(transition.origin.trigger).to_owned(),
            actor: transition.origin.actor.clone(),
            source: transition.origin.source.clone(),
            reason: transition.origin.reason.clone(),
            from: transition.from.as_ref().map(|(color, release)| standing(*color, release)),
            forced: transition.forced,
            gate: transition.gate.as_ref().map(|gate| Gate {
                color: gate.color.to_string(),
                rounds: gate.rounds,
                endpoints: gate.endpoints.iter().map(answer).collect(),
            }),
            refusal: transition.refusal.clone(),
            took_us: micros(transition.took),
            decision: Decided {
                generation: decision.generation.0,
                active: decision.active.to_string(),
                release: decision.release.to_string(),
                since: time(decision.since),
                previous: decision.previous.as_ref().map(|previous| Left {
                    color: previous.color.to_string(),
                    release: previous.release.to_string(),
                    until: time(previous.until),
                }),
                seen: standing(decision.seen.active, &decision.seen.release),
                lineage: lineage::Written::from(&decision.lineage),
            },
        }
    }

    fn into_transition(self) -> Option<(u64, Transition)> {
        let previous = match self.decision.previous {
            Some(left) => Some(Previous {
                color: left.color.parse().ok()?,
                release: Release::new(&left.release),
                until: parse_time(&left.until)?,
            }),
            None => None,
        };
        let from = match self.from {
            Some(from) => Some((from.color.parse().ok()?, Release::new(&from.release))),
            None => None,
        };
        let gate = match self.gate {
            Some(gate) => Some(GateReport {
                color: gate.color.parse().ok()?,
                rounds: gate.rounds,
                endpoints: gate.endpoints.into_iter().map(Answer::into_probed).collect::<Option<_>>()?,
            }),
            None => None,
        };
        let transition = Transition {
            kind: kind_from(&self.kind)?,
            at: parse_time(&self.at)?,
            origin: Origin {
                trigger: trigger_from(&self.trigger)?,
                actor: self.actor,
                source: self.source,
                reason: self.reason,
            },
            from,
            forced: self.forced,
            gate,
            refusal: self.refusal,
            took: Duration::from_micros(self.took_us),
            decision: Decision {
                generation: Generation(self.decision.generation),
                active: self.decision.active.parse().ok()?,
                release: Release::new(&self.decision.release),
                since: parse_time(&self.decision.since)?,
                previous,
                seen: FileOrder {
                    active: self.decision.seen.color.parse().ok()?,
                    release: Release::new(&self.decision.seen.release),
                },
                lineage: self.decision.lineage.into_lineage()?,
            },
        };
        Some((self.seq, transition))
    }
}

impl Answer {
    fn into_probed(self) -> Option<Probed> {
        Some(Probed {
            upstream: self.upstream,
            endpoint: self.endpoint,
            passed: self.passed,
            detail: self.detail,
            at: parse_time(&self.at)?,
            took: Duration::from_micros(self.took_us),
        })
    }
}

fn answer(probed: &Probed) -> Answer {
    Answer {
        upstream: probed.upstream.clone(),
        endpoint: probed.endpoint.clone(),
        passed: probed.passed,
        detail: probed.detail.clone(),
        at: time(probed.at),
        took_us: micros(probed.took),
    }
}

fn standing(color: Color, release: &Release) -> Standing {
    Standing { color: color.to_string(), release: release.to_string() }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_micros(at).to_string()
}

fn parse_time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Start, "start"),
    (Kind::Switch, "switch"),
    (Kind::Rollback, "rollback"),
    (Kind::Release, "release"),
    (Kind::Seen, "seen"),
    (Kind::Barrier, "barrier"),
    (Kind::Noted, "noted"),
];

fn kind_name(kind: Kind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

fn kind_from(name: &str) -> Option<Kind> {
    KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}

const TRIGGERS: [(Trigger, &str); 4] =
    [(Trigger::Api, "api"), (Trigger::File, "file"), (Trigger::Start, "start"), (Trigger::Traffic, "traffic")];

fn trigger_name(trigger: Trigger) -> &'static str {
    TRIGGERS.iter().find(|(known, _)| *known == trigger).map_or("", |(_, name)| name)
}

fn trigger_from(name: &str) -> Option<Trigger> {
    TRIGGERS.iter().find(|(_, known)| *known == name).map(|(trigger, _)| *trigger)
}
