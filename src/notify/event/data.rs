//! The data of a notice about a transition, for programs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::Transition;
use crate::notify::event::FOREIGN;
use crate::notify::event::fields::{gate_in_words, quarantined};
use crate::notify::event::moment::{Moment, WayBack};
use crate::notify::words::clipped;

pub(super) fn data(transition: &Transition, moment: &Moment) -> Map<String, Value> {
    let decision = &transition.decision;
    let origin = &transition.origin;
    let standing = |color: Color, release: &Release| json!({ "color": color.as_str(), "release": release.as_str() });
    let served = moment.served_since.map(|since| transition.at.duration_since(since).unwrap_or_default());
    let exposure = served.map(|served| {
        json!({
            "seconds": served.as_secs_f64(),
            "requests": moment.exposure.map(|exposure| exposure.requests),
            "errors": moment.exposure.map(|exposure| exposure.errors),
        })
    });
    let good = decision.previous.as_ref().filter(|previous| previous.known_good.is_some());
    let known = || WayBack {
        to: good.map(|previous| (previous.color, previous.release.clone())).ok_or_else(String::new),
        safe: "unknown",
        why: None,
    };
    let WayBack { to, safe, why } = moment.way_back.clone().unwrap_or_else(known);
    let rollback = match to {
        Ok((color, release)) => json!({
            "possible": true, "color": color.as_str(), "release": release.as_str(), "safe": safe,
            "why": why.map(|why| clipped(&why, FOREIGN)),
        }),
        Err(why) => json!({ "possible": false, "why": clipped(&why, FOREIGN) }),
    };
    object(json!({
        "kind": transition.kind.name(),
        "generation": decision.generation.0,
        "from": transition.from.as_ref().map(|(color, release)| standing(*color, release)),
        "to": standing(decision.active, &decision.release),
        "trigger": origin.trigger.name(),
        "actor": origin.actor,
        "source": origin.source,
        "reason": origin.reason,
        "forced": transition.forced,
        "refusal": transition.refusal.as_ref().map(|(code, why)| json!({ "code": code, "why": clipped(why, FOREIGN) })),
        "gate": transition.gate.as_ref().map(gate_in_words),
        "took_ms": millis(transition.took),
        "exposure": exposure,
        "before": moment.before.map(|rates| json!({ "requests_per_second": rates.requests, "errors_per_second": rates.errors })),
        "now": moment.up.map(|(up, of)| json!({ "endpoints_up": up, "endpoints": of })),
        "asked": transition.asked.as_ref().map(|asked| json!({
            "kind": asked.kind.name(), "to": asked.to.as_ref().map(|(color, release)| standing(*color, release)),
        })),
        "drained": transition.drained.as_ref().map(|drained| json!({
            "color": drained.color.as_str(),
            "ended": drained.ended.total(),
            "by_kind": { "requests": drained.ended.requests, "streams": drained.ended.streams, "tunnels": drained.ended.tunnels },
        })),
        "headline": moment.headline.as_ref().map(|headline| json!({
            "level": headline.level.as_str(), "code": headline.code, "sentence": clipped(&headline.sentence, FOREIGN),
            "next": headline.next,
        })),
        "quarantined": quarantined(transition).is_some(),
        "frozen": decision.freeze.is_some(),
        "rollback": rollback,
    }))
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
