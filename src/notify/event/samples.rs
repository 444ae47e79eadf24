//! One realistic notice of every kind, for `notify test` and for tests of the formats.

use std::time::{Duration, SystemTime};

use crate::config::ServiceConfig;
use crate::domain::color::Color;
use crate::domain::deployment::{Deployment, DeploymentId, Mode, OnInsufficient, Plan, Stage};
use crate::domain::gate::{GateReport, Probed};
use crate::domain::notice::NoticeEvent;
use crate::domain::release::Release;
use crate::domain::split::Weight;
use crate::domain::transition::InFlight;
use crate::domain::transition::{Asked, Decision, Drained, Generation, Kind, Origin, Previous, Transition, Trigger};
use crate::domain::verdict::{Class, Finding, Judgement, Sample, Verdict};
use crate::notify::event::{Exposure, Moment, Notice, Rates, Stated, Target, Teller, WayBack};
use crate::notify::id::EventId;

/// Every kind in the order of [`NoticeEvent::ALL`], marked as a test.
#[must_use]
pub(crate) fn samples(service: &ServiceConfig, now: SystemTime) -> Vec<Notice> {
    let teller = Teller::new(service.clone());
    NoticeEvent::ALL
        .into_iter()
        .filter_map(|event| sample(&teller, event, now))
        .map(|notice| marked(notice, now))
        .collect()
}

/// Marks a test for people and programs; its id belongs to no transition.
fn marked(mut notice: Notice, now: SystemTime) -> Notice {
    notice.id = EventId::by_chance(now);
    notice.headline = format!("[test] {}", notice.headline);
    notice.sentence = format!("This is a test. {}", notice.sentence);
    notice.data.insert("event_id".to_owned(), notice.id.as_str().into());
    notice.data.insert("test".to_owned(), true.into());
    notice
}

fn sample(teller: &Teller, event: NoticeEvent, now: SystemTime) -> Option<Notice> {
    let moment = Moment {
        served_since: now.checked_sub(Duration::from_secs(38)),
        exposure: Some(Exposure { requests: 1_910, errors: 212 }),
        before: Some(Rates { requests: 51.2, errors: 11.6 }),
        up: Some((3, 3)),
        way_back: Some(WayBack { to: Ok((Color::Blue, Release::new("2.13.0"))), safe: "yes", why: None }),
        headline: None,
    };
    let rolled_back = Moment {
        way_back: Some(WayBack {
            to: Err("Nothing to roll back to: blue was itself reached by a rollback; to go to green (2.14.0): `cutover rollback --to green`".to_owned()),
            safe: "unknown",
            why: None,
        }),
        ..moment.clone()
    };
    let target = Target {
        color: Color::Blue,
        active: true,
        upstream: "default".to_owned(),
        endpoint: "10.0.0.1:8080".to_owned(),
        detail: "503".to_owned(),
        up: (2, 3),
        headline: None,
    };
    let stated = Stated {
        color: Color::Blue,
        upstream: "default".to_owned(),
        endpoint: "10.0.0.1:8080".to_owned(),
        label: Release::new("2.14.0"),
        says: "2.13.0".to_owned(),
    };
    let why = "green is not healthy: 1 of 3 endpoints failed (default 10.0.1.1:8080: connection refused)";
    let refusal = Some(("unhealthy".to_owned(), why.to_owned()));
    let plain = |transition: Transition| teller.transition(&transition, &Moment::default());
    let asked = |kind| Some(Asked { kind, to: Some((Color::Green, Release::new("2.14.0"))) });
    match event {
        NoticeEvent::Started => teller.transition(&transition(Kind::Start, now), &Moment::default()),
        NoticeEvent::Promoted => teller.transition(&transition(Kind::Switch, now), &moment),
        NoticeEvent::RolledBack => teller.transition(&transition(Kind::Rollback, now), &rolled_back),
        NoticeEvent::Aborted => {
            let mut aborted = transition(Kind::Rollback, now);
            aborted.decision.since = now - Duration::from_secs(86_400);
            teller.transition(&aborted, &Moment { served_since: None, exposure: None, ..moment.clone() })
        }
        NoticeEvent::CanaryStarted => plain(canary(Kind::Canary, now)),
        NoticeEvent::Step => plain(canary(Kind::Advance, now)),
        NoticeEvent::Held => plain(canary(Kind::CanaryHold, now)),
        NoticeEvent::Resumed => plain(canary(Kind::CanaryResume, now)),
        NoticeEvent::Suspect => plain(canary(Kind::Suspect, now)),
        NoticeEvent::WouldRollBack => plain(canary(Kind::WouldRollBack, now)),
        NoticeEvent::BaselineUnhealthy => plain(canary(Kind::BaselineUnhealthy, now)),
        NoticeEvent::BothUnhealthy => plain(canary(Kind::BothUnhealthy, now)),
        NoticeEvent::Recovered => plain(canary(Kind::Recovered, now)),
        NoticeEvent::Refused => {
            plain(Transition { refusal, asked: asked(Kind::Switch), ..transition(Kind::Refused, now) })
        }
        NoticeEvent::RollbackBlocked => {
            plain(Transition { refusal, asked: asked(Kind::Rollback), ..transition(Kind::Refused, now) })
        }
        NoticeEvent::Unchanged => plain(transition(Kind::Seen, now)),
        NoticeEvent::Drained => {
            let drained = Some(Drained {
                color: Color::Green,
                took: Duration::from_secs(30),
                ended: InFlight { tunnels: 3, ..InFlight::default() },
                timed_out: true,
            });
            plain(Transition { drained, ..transition(Kind::Drained, now) })
        }
        NoticeEvent::Done => plain(transition(Kind::KnownGood, now)),
        NoticeEvent::BarrierPassed => plain(transition(Kind::Barrier, now)),
        NoticeEvent::FreezeSet => plain(transition(Kind::Freeze, now)),
        NoticeEvent::FreezeCleared => plain(transition(Kind::Unfreeze, now)),
        NoticeEvent::HoldSet => plain(transition(Kind::Hold, now)),
        NoticeEvent::HoldCleared => plain(transition(Kind::HoldEnd, now)),
        NoticeEvent::MaintenanceSet => plain({
            let mut on = transition(Kind::Maintenance, now);
            on.decision.maintenance = true;
            on
        }),
        NoticeEvent::MaintenanceCleared => plain(transition(Kind::Maintenance, now)),
        NoticeEvent::TargetUnhealthy => Some(teller.target(now, false, &target)),
        NoticeEvent::TargetHealthy => {
            Some(teller.target(now, true, &Target { detail: "200".to_owned(), up: (3, 3), ..target }))
        }
        NoticeEvent::WrongRelease => Some(teller.stated(now, true, &stated)),
        NoticeEvent::RightRelease => Some(teller.stated(now, false, &stated)),
        NoticeEvent::NotifyFailed => {
            Some(teller.notify_failed(now, "ops", "timed out after 10 s", 4, Duration::from_secs(120)))
        }
    }
}

/// A canary of green at 5 %, with /checkout slower than on blue.
pub(super) fn canary(kind: Kind, now: SystemTime) -> Transition {
    let mut line = transition(kind, now);
    let sample = |requests, bad, millis| Sample::new(requests, bad, Some(Duration::from_millis(millis)));
    let judgement = Judgement {
        verdict: Verdict::Fail,
        evidence: 18_400,
        limit: 1_000,
        hold: 1,
        withdraws: false,
        veto: None,
        findings: vec![Finding {
            class: Class::SlowP90,
            route: Some("/checkout".to_owned()),
            event: None,
            candidate: sample(61, 40, 912),
            stable: sample(1_180, 118, 301),
            evidence: 3_900_000,
        }],
        needs: None,
        baseline_unhealthy: kind == Kind::BaselineUnhealthy,
        without_control: false,
        exposed: 1_910,
        harmed: 2,
        misses_files: false,
    };
    let why = match kind {
        Kind::Canary | Kind::CanaryHold | Kind::CanaryResume => "release 2.14.0".to_owned(),
        Kind::Advance => "it is shown to be no worse".to_owned(),
        Kind::BothUnhealthy => "212 of 1,910 requests were bad after the rollback".to_owned(),
        Kind::Recovered => "2 of 1,910 requests were bad after the rollback".to_owned(),
        _ => judgement.to_string(),
    };
    line.origin.reason = Some(why);
    line.judgement = (!matches!(kind, Kind::Canary | Kind::CanaryResume)).then_some(judgement);
    let weight = |basis_points| Weight::new(basis_points).unwrap_or_default();
    let plan = Plan {
        steps: [500, 2_500, 5_000].map(weight).to_vec(),
        dwell: Duration::from_secs(30),
        max_step: Duration::from_secs(1_800),
        on_insufficient: OnInsufficient::Hold,
        holdback: Weight::NONE,
        bake: Duration::from_secs(900),
    };
    let candidate = (Color::Green, Release::new("2.14.0"));
    let (stable, stage) = (Release::new("2.13.0"), (Stage::Step(0), weight(500)));
    let mode = if kind == Kind::WouldRollBack { Mode::Observe } else { Mode::Enforce };
    line.decision.deployment = (!matches!(kind, Kind::BothUnhealthy | Kind::Recovered))
        .then(|| Deployment { mode, ..Deployment::new(DeploymentId(7), candidate, stable, stage, plan, now) });
    line
}

fn transition(kind: Kind, now: SystemTime) -> Transition {
    let probed = |endpoint: &str, passed: bool, detail: &str| Probed {
        upstream: "default".to_owned(),
        endpoint: endpoint.to_owned(),
        passed,
        detail: detail.to_owned(),
        at: now,
        took: Duration::from_millis(2),
    };
    let (blue, green) = (Release::new("2.13.0"), Release::new("2.14.0"));
    let forward = matches!(kind, Kind::Switch | Kind::KnownGood | Kind::Barrier);
    let (active, release) = if forward { (Color::Green, green.clone()) } else { (Color::Blue, blue.clone()) };
    let left = if forward { (Color::Blue, blue.clone()) } else { (Color::Green, green) };
    let moves = matches!(kind, Kind::Switch | Kind::Rollback);
    let origin = Origin {
        key: None,
        trigger: match kind {
            Kind::Start => Trigger::Start,
            Kind::Seen | Kind::Release => Trigger::File,
            Kind::Drained
            | Kind::KnownGood
            | Kind::Advance
            | Kind::Suspect
            | Kind::WouldRollBack
            | Kind::BaselineUnhealthy
            | Kind::BothUnhealthy
            | Kind::Recovered => Trigger::Automatic,
            Kind::Barrier => Trigger::Traffic,
            _ => Trigger::Api,
        },
        actor: "deploy".to_owned(),
        source: "10.0.0.9:50412".to_owned(),
        reason: match kind {
            Kind::Switch => Some("release 2.14.0".to_owned()),
            Kind::Rollback => Some("errors in <checkout> & cart".to_owned()),
            Kind::Barrier => Some("orders: the first write of 2.14.0".to_owned()),
            Kind::Freeze => Some("migration of orders".to_owned()),
            _ => None,
        },
    };
    let decision = Decision {
        generation: Generation(7),
        previous: forward.then_some(Previous { color: Color::Blue, release: blue, until: now, known_good: Some(now) }),
        ..Decision::first(active, release.clone(), now)
    };
    Transition {
        from: moves.then_some(left),
        gate: moves.then(|| GateReport {
            color: active,
            rounds: 1,
            endpoints: vec![probed("10.0.0.1:8080", true, "200"), probed("10.0.0.2:8080", true, "200")],
            checks: Vec::new(),
        }),
        took: Duration::from_micros(1_530),
        ..Transition::new(kind, now, origin, decision)
    }
}
