//! A line of the ledger: `{"crc":"89abcdef","entry":{…}}`, the CRC-32 (ISO-HDLC, as in gzip) over the bytes of the
//! entry. It is readable by eye and by `jq`. The line of a switch is on disk before the switch is visible. Written
//! types are separate from the domain's, so that either can change.
//!
//! The CRC finds accidents. Against tampering, an entry names the SHA-256 of the line before it (`prev`, FIPS 180-4):
//! a changed, removed or inserted line breaks the chain.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use self::decision::Decided;
use crate::domain::color::Color;
use crate::domain::force::Guard;
use crate::domain::gate::{GateReport, Probed};
use crate::domain::release::Release;
use crate::domain::transition::{self, Asked, Drained, Kind, Origin, Transition, Trigger};

mod checks;
mod decision;
mod deployment;
mod lineage;

/// The written version, and the newest readable one.
pub(super) const VERSION: u32 = 3;

/// The first version with `prev`.
const CHAINED: u32 = 2;

const BEFORE_CRC: &str = "{\"crc\":\"";
const BEFORE_ENTRY: &str = "\",\"entry\":";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Damaged,
    Newer(u32),
}

/// The next line's `prev`. `line` has no line end.
pub(super) fn digest(line: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) sequence: u64,
    pub(super) transition: Transition,
    /// Older versions have none, nor has the first line.
    pub(super) prev: Option<String>,
    /// Its version requires `prev` in every line but the first.
    pub(super) chained: bool,
}

pub(super) fn write(sequence: u64, transition: &Transition, prev: Option<&str>) -> String {
    let entry = Entry { prev: prev.map(str::to_owned), ..Entry::from(sequence, transition) };
    let entry = serde_json::to_string(&entry).expect("an entry has string keys only");
    format!("{BEFORE_CRC}{:08x}{BEFORE_ENTRY}{entry}}}\n", crc32fast::hash(entry.as_bytes()))
}

fn entry_of(line: &[u8]) -> Result<&[u8], Unreadable> {
    let whole = (|| {
        let rest = line.strip_prefix(BEFORE_CRC.as_bytes())?;
        let (crc, rest) = rest.split_at_checked(8)?;
        let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
        let entry = rest.strip_prefix(BEFORE_ENTRY.as_bytes())?.strip_suffix(b"}")?;
        (crc32fast::hash(entry) == crc).then_some(entry)
    })();
    whole.ok_or(Unreadable::Damaged)
}

/// The sequence number of an undamaged line; the rest is not parsed.
pub(super) fn sequence(line: &[u8]) -> Result<u64, Unreadable> {
    let entry = entry_of(line)?;
    let Numbers { v, seq } = match numbers(entry) {
        Some(numbers) => numbers,
        None => serde_json::from_slice(entry).map_err(|_| Unreadable::Damaged)?,
    };
    if v > VERSION { Err(Unreadable::Newer(v)) } else { Ok(seq) }
}

/// `{"v":3,"seq":41,`: the begin of every entry.
fn numbers(entry: &[u8]) -> Option<Numbers> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let rest = entry.strip_prefix(b"{\"v\":")?;
    let (v, rest) = rest.split_at(rest.iter().position(|byte| *byte == b',')?);
    let rest = rest.strip_prefix(b",\"seq\":")?;
    let (seq, _) = rest.split_at(rest.iter().position(|byte| *byte == b',')?);
    Some(Numbers { v: u32::try_from(number(v)?).ok()?, seq: number(seq)? })
}

pub(super) fn read(line: &[u8]) -> Result<Line, Unreadable> {
    let entry = entry_of(line)?;
    let version: Version = serde_json::from_slice(entry).map_err(|_| Unreadable::Damaged)?;
    if version.v > VERSION {
        return Err(Unreadable::Newer(version.v));
    }
    let entry: Entry = serde_json::from_slice(entry).map_err(|_| Unreadable::Damaged)?;
    entry.into_line().ok_or(Unreadable::Damaged)
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Numbers {
    v: u32,
    seq: u64,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    v: u32,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prev: Option<String>,
    kind: String,
    at: String,
    trigger: String,
    actor: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Standing>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    overrode: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<Gate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Attempt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drained: Option<DrainEnd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judgement: Option<deployment::Judged>,
    took_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_us: Option<u64>,
    decision: Decided,
}

#[derive(Serialize, Deserialize)]
struct Attempt {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Standing>,
}

#[derive(Serialize, Deserialize)]
struct DrainEnd {
    color: String,
    took_us: u64,
    ended: u64,
    /// Missing in lines of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_kind: Option<ByKind>,
    #[serde(default)]
    timed_out: bool,
}

#[derive(Serialize, Deserialize)]
struct ByKind {
    requests: u64,
    streams: u64,
    tunnels: u64,
}

#[derive(Serialize, Deserialize)]
struct Standing {
    color: String,
    release: String,
}

#[derive(Serialize, Deserialize)]
struct Gate {
    color: String,
    rounds: u32,
    endpoints: Vec<Answer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checks: Vec<checks::Checked>,
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
        Entry {
            v: VERSION,
            seq,
            prev: None,
            kind: transition.kind.name().to_owned(),
            at: time(transition.at),
            trigger: transition.origin.trigger.name().to_owned(),
            actor: transition.origin.actor.clone(),
            source: transition.origin.source.clone(),
            reason: transition.origin.reason.clone(),
            key: transition.origin.key.clone(),
            from: transition.from.as_ref().map(|(color, release)| standing(*color, release)),
            forced: transition.forced,
            overrode: transition.overrode.iter().map(Guard::to_string).collect(),
            gate: transition.gate.as_ref().map(|gate| Gate {
                color: gate.color.to_string(),
                rounds: gate.rounds,
                endpoints: gate.endpoints.iter().map(answer).collect(),
                checks: gate.checks.iter().map(checks::Checked::from).collect(),
            }),
            refusal: transition.refusal.clone(),
            asked: transition.asked.as_ref().map(|asked| Attempt {
                kind: asked.kind.name().to_owned(),
                to: asked.to.as_ref().map(|(color, release)| standing(*color, release)),
            }),
            drained: transition.drained.as_ref().map(|drained| DrainEnd {
                color: drained.color.to_string(),
                took_us: micros(drained.took),
                ended: drained.ended.total(),
                by_kind: Some(ByKind {
                    requests: drained.ended.requests,
                    streams: drained.ended.streams,
                    tunnels: drained.ended.tunnels,
                }),
                timed_out: drained.timed_out,
            }),
            judgement: transition.judgement.as_ref().map(deployment::Judged::from),
            took_us: micros(transition.took),
            held_us: transition.held.map(micros),
            decision: Decided::from(&transition.decision),
        }
    }

    fn into_line(self) -> Option<Line> {
        let gate = match self.gate {
            Some(gate) => Some(GateReport {
                color: gate.color.parse().ok()?,
                rounds: gate.rounds,
                endpoints: gate.endpoints.into_iter().map(Answer::into_probed).collect::<Option<_>>()?,
                checks: gate.checks.into_iter().map(checks::Checked::into_report).collect::<Option<_>>()?,
            }),
            None => None,
        };
        let asked = match self.asked {
            Some(asked) => {
                Some(Asked { kind: Kind::named(&asked.kind)?, to: optional(asked.to, Standing::into_pair)? })
            }
            None => None,
        };
        let drained = match self.drained {
            Some(drained) => Some(Drained {
                color: drained.color.parse().ok()?,
                took: Duration::from_micros(drained.took_us),
                ended: match drained.by_kind {
                    Some(ByKind { requests, streams, tunnels }) => transition::InFlight { requests, streams, tunnels },
                    None => transition::InFlight { requests: drained.ended, ..Default::default() },
                },
                timed_out: drained.timed_out,
            }),
            None => None,
        };
        let origin = Origin {
            trigger: Trigger::named(&self.trigger)?,
            actor: self.actor,
            source: self.source,
            reason: self.reason,
            key: self.key,
        };
        let decision = self.decision.into_decision(self.v)?;
        let transition = Transition {
            from: optional(self.from, Standing::into_pair)?,
            forced: self.forced,
            // A guard of a newer version does not make the line unreadable.
            overrode: self.overrode.iter().filter_map(|name| Guard::named(name)).collect(),
            gate,
            refusal: self.refusal,
            asked,
            drained,
            judgement: optional(self.judgement, deployment::Judged::into_judgement)?,
            took: Duration::from_micros(self.took_us),
            held: self.held_us.map(Duration::from_micros),
            ..Transition::new(Kind::named(&self.kind)?, parse_time(&self.at)?, origin, decision)
        };
        Some(Line { sequence: self.seq, transition, prev: self.prev, chained: self.v >= CHAINED })
    }
}

impl Standing {
    fn into_pair(self) -> Option<(Color, Release)> {
        Some((self.color.parse().ok()?, Release::new(&self.release)))
    }
}

/// A missing value is fine; a present one has to be valid.
fn optional<T, U>(value: Option<T>, read: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    match value {
        Some(value) => read(value).map(Some),
        None => Some(None),
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
