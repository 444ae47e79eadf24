//! Worlds in which nothing is wrong with the release: it must not be rolled back.

use super::faults::orders;
use super::table::{Must, Scene, lognormal, plan, scene, steps, world};
use crate::control::site::{Answer, Ask, Balance, End, Pauses, Until, Users, World};
use crate::random::Random;

fn good(random: &mut Random, ask: &Ask) -> Answer {
    Answer { seconds: lognormal(random, 0.08, 0.6), end: fails(random, 0.001, ask) }
}

fn fails(random: &mut Random, share: f64, _: &Ask) -> End {
    if random.chance(share) { End::Failed } else { End::Good }
}

fn pauses(lasts: f64) -> Option<Pauses> {
    Some(Pauses { lasts, between: (20.0, 60.0), fails: false })
}

fn paused(rate: f64, pools: [usize; 2], balance: Balance, lasts: f64, dwell: u64) -> World {
    let serve = |random: &mut Random, ask: &Ask| Answer {
        seconds: lognormal(random, 0.02, 0.6),
        end: fails(random, 0.001, ask),
    };
    World {
        pools,
        balance,
        pauses: pauses(lasts),
        seconds: 3.2 * dwell as f64 + 120.0,
        ..world(rate, serve, steps(dwell))
    }
}

fn clumps(size: u32) -> World {
    World { clumps: Some((0.001, size)), seconds: 900.0, ..world(400.0, fine, plan(&[500], 3_000)) }
}

/// Without errors of its own.
fn fine(random: &mut Random, _: &Ask) -> Answer {
    Answer { seconds: lognormal(random, 0.08, 0.6), end: End::Good }
}

fn away(rate: f64, pools: [usize; 2]) -> World {
    let pauses = Some(Pauses { lasts: 2.0, between: (1_200.0, 2_400.0), fails: true });
    World { pools, pauses, seconds: 1_800.0, ..world(rate, good, plan(&[500], 3_000)) }
}

fn wanders(rate: f64, deviation: f64) -> World {
    World { wanders: Some(deviation), ..world(rate, good, steps(30)) }
}

/// Slower at first, and less so as its caches fill.
fn cold(rate: f64, times: f64, seconds: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let mut answer = good(random, ask);
        if ask.candidate {
            answer.seconds *= 1.0 + (times - 1.0) * (1.0 - ask.at / seconds).max(0.0);
        }
        answer
    };
    World { seconds: 600.0, ..world(rate, serve, steps(30)) }
}

fn trouble(rate: f64, (from, to): (f64, f64), share: f64, plan: crate::domain::deployment::Plan) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let bad = (from..to).contains(&ask.at) && random.chance(share);
        if bad { Answer { seconds: 0.05, end: End::Failed } } else { good(random, ask) }
    };
    World { seconds: to + 120.0, ..world(rate, serve, plan) }
}

/// The same while the candidate has the traffic.
fn trouble_in_bake(rate: f64, (from, to): (f64, f64), share: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let bad = ask.alone.is_some_and(|at| (from..to).contains(&at)) && random.chance(share);
        if bad { Answer { seconds: 0.05, end: End::Failed } } else { good(random, ask) }
    };
    World { seconds: 150.0 + to + 60.0, ..world(rate, serve, steps(30)) }
}

fn floor() -> World {
    let serve = |random: &mut Random, ask: &Ask| {
        let share = match ask.at {
            150.0..210.0 => 0.5,
            _ if ask.candidate => 0.003,
            _ => 0.0002,
        };
        Answer { seconds: lognormal(random, 0.08, 0.6), end: fails(random, share, ask) }
    };
    World { seconds: 480.0, ..world(300.0, serve, steps(120)) }
}

fn limits(weight: u16, rate: f64, errors: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let times = if ask.candidate { 1.5 } else { 1.0 };
        Answer { seconds: lognormal(random, 0.08 * times, 0.6), end: fails(random, errors * times, ask) }
    };
    World { seconds: 600.0, ..world(rate, serve, plan(&[weight], 3_000)) }
}

fn stays(count: u64, each: f64, seconds: f64) -> World {
    World { users: Users::Stay(count), seconds, ..world(count as f64 / each, good, plan(&[500], 3_000)) }
}

fn streams(rate: f64) -> World {
    let serve = |random: &mut Random, _: &Ask| {
        if random.chance(0.003) {
            Answer { seconds: 0.01, end: End::Failed }
        } else {
            Answer { seconds: lognormal(random, 0.03, 0.6), end: End::Stream(1_200.0) }
        }
    };
    World { seconds: 600.0, ..world(rate, serve, steps(30)) }
}

pub(super) fn scenes() -> Vec<Scene> {
    let never = Must::NeverBack;
    let outside = Must::Outside;
    vec![
        scene("c00", "independent requests, 400/s, default steps", never, (8, 750), || world(400.0, good, steps(30))),
        scene("c09", "exactly 1.5 x errors (2 %) and latency, 5 %, 300/s", never, (20, 1_000), || {
            limits(500, 300.0, 0.02)
        }),
        scene("c09", "the same at 50 %", never, (10, 750), || limits(5_000, 300.0, 0.02)),
        scene("c09", "the same at 10 %, 30/s", never, (40, 2_000), || limits(1_000, 30.0, 0.02)),
        scene("c20", "exactly 10 % fewer orders, which is tolerated, 300/s, default steps", never, (4, 300), || {
            orders(300.0, 0.1, 0.9, steps(30))
        }),
        scene("c01", "pauses of 300 ms, 1:1 endpoints, 300/s, default steps", never, (40, 800), || {
            paused(300.0, [1, 1], Balance::RoundRobin, 0.3, 30)
        }),
        scene("c01", "the same, dwell 5 min", never, (4, 750), || paused(300.0, [1, 1], Balance::RoundRobin, 0.3, 300)),
        scene(
            "c01",
            "the same, 1,000/s, default steps",
            outside("one process with 98 % pauses through a bake"),
            (6, 750),
            || paused(1_000.0, [1, 1], Balance::RoundRobin, 0.3, 30),
        ),
        scene("c01", "the same, 10 endpoints against 1, 300/s", outside("endpoints of unequal load"), (6, 200), || {
            paused(300.0, [10, 1], Balance::RoundRobin, 0.3, 30)
        }),
        scene("c01", "the same, 2:2, 300/s", never, (10, 750), || paused(300.0, [2, 2], Balance::RoundRobin, 0.3, 30)),
        scene("c01", "the same, 10:10, least requests, 1,000/s", never, (2, 750), || {
            paused(1_000.0, [10, 10], Balance::LeastRequests, 0.3, 30)
        }),
        scene("c01", "the same, 10:10, round-robin, 1,000/s", never, (2, 750), || {
            paused(1_000.0, [10, 10], Balance::RoundRobin, 0.3, 30)
        }),
        scene(
            "c01",
            "pauses of 1 s, 1:1 endpoints, 100/s",
            outside("one coin for a whole second of one process"),
            (10, 400),
            || paused(100.0, [1, 1], Balance::RoundRobin, 1.0, 30),
        ),
        scene("c01", "errors .1 % in clumps of 3, 400/s, 15 min at 5 %", never, (10, 750), || clumps(3)),
        scene("c01", "in clumps of 8", never, (20, 750), || clumps(8)),
        scene("c01", "in clumps of 16", never, (10, 750), || clumps(16)),
        scene("c01", "endpoints away 2 s each 30 min, 10:1, 400/s, 30 min at 5 %", never, (4, 750), || {
            away(400.0, [10, 1])
        }),
        scene("c01", "the same, 10:10", never, (4, 750), || away(400.0, [10, 10])),
        scene("c01", "latency wanders, AR(1), sd .1, 100/s", never, (6, 750), || wanders(100.0, 0.1)),
        scene("c01", "the same, sd .2", outside("a level that wanders for 20 s is one coin"), (6, 200), || {
            wanders(100.0, 0.2)
        }),
        scene("c02", "cold caches, 2 x slower at first, 3 min, 100/s", never, (20, 750), || cold(100.0, 2.0, 180.0)),
        scene("c02", "the same, 1,000/s", outside("cold for as long as latency waits"), (2, 750), || {
            cold(1_000.0, 2.0, 180.0)
        }),
        scene("c02", "3 x slower at first, 1 min, 100/s", never, (20, 750), || cold(100.0, 3.0, 60.0)),
        scene("c06", "both away 60 s (30 %), 300/s, default steps", never, (10, 750), || {
            trouble(300.0, (40.0, 100.0), 0.3, steps(30))
        }),
        scene("c06", ".3 % against .02 %, and an outage of 60 s, 300/s, dwell 2 min", never, (20, 750), floor),
        scene("c06", "60 s of 30 % in the bake, 300/s", never, (10, 750), || trouble_in_bake(300.0, (20.0, 80.0), 0.3)),
        scene("c06", "20 s of 3 % in the bake, 300/s", never, (10, 750), || trouble_in_bake(300.0, (20.0, 40.0), 0.03)),
        scene("c06", "20 s of 3 % in the bake of a switch, all traffic, 300/s", never, (10, 750), || World {
            switch: Some(crate::domain::deployment::Mode::Enforce),
            ..trouble_in_bake(300.0, (20.0, 40.0), 0.03)
        }),
        scene("c11", "nothing but SSE of 20 min, .3 % fail at once, 60/s", never, (2, 750), || streams(60.0)),
        scene("c14", "3,000 users stay, each 5 s, 15 min at 5 %", never, (4, 750), || stays(3_000, 5.0, 900.0)),
        scene("c14", "300 users stay, each 1 s, 15 min at 5 %", never, (4, 750), || stays(300, 1.0, 900.0)),
        scene("c14", "3,000 users stay, each 5 s, default steps", never, (4, 750), || World {
            plan: steps(30),
            seconds: 240.0,
            ..stays(3_000, 5.0, 240.0)
        }),
        scene("c08", "5/s, default steps", never, (20, 750), || World {
            seconds: 900.0,
            ..world(5.0, good, steps(30))
        }),
    ]
    .into_iter()
    .map(|scene| Scene { until: Until::Back, ..scene })
    .collect()
}
