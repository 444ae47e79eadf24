//! Worlds in which something is wrong with the release: it must be found, or at least not be called no worse.

use super::table::{Must, Scene, lognormal, plan, scene, steps, world};
use crate::control::site::{Answer, Ask, End, Until, Users, World};
use crate::domain::analysis::{Bad, EventRule, Policy};
use crate::domain::deployment::Plan;
use crate::random::Random;

fn errors(rate: f64, weight: u16, share: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let share = if ask.candidate { share } else { 0.001 };
        let end = if random.chance(share) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { seconds: 1_800.0, ..world(rate, serve, plan(&[weight], 3_000)) }
}

/// Slower by so much, from the beginning or from when it has the traffic.
fn slower(rate: f64, times: f64, from_traffic: bool) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let slow = ask.candidate && (!from_traffic || ask.alone.is_some());
        let times = if slow { times } else { 1.0 };
        let end = if random.chance(0.001) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6) * times, end }
    };
    World { seconds: 600.0, ..world(rate, serve, steps(30)) }
}

fn hangs(rate: f64, share: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        if ask.candidate && random.chance(share) {
            return Answer { seconds: 60.0, end: End::Failed };
        }
        let end = if random.chance(0.001) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { seconds: 600.0, ..world(rate, serve, steps(30)) }
}

/// A route of this share answers 4xx to all, where `usual` of it does so anyhow.
fn refuses(rate: f64, share: f64, usual: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let refused = if ask.route == 0 && ask.candidate {
            1.0
        } else if ask.route == 0 {
            usual
        } else {
            0.005
        };
        let end = if random.chance(refused) { End::ClientError } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    let routes = if share < 1.0 { vec![("/login", share), ("/", 1.0 - share)] } else { vec![("/login", 1.0)] };
    World { routes, seconds: 600.0, ..world(rate, serve, steps(30)) }
}

/// Users stay; some of them get nothing but errors.
fn some_users(count: u64, rate: f64) -> World {
    let serve = |random: &mut Random, ask: &Ask| {
        let share = if ask.candidate && ask.user.is_multiple_of(50) { 1.0 } else { 0.001 };
        let end = if random.chance(share) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { users: Users::Stay(count), ..world(rate, serve, plan(&[500, 5_000], 30)) }
}

/// Users stay, both colors had an outage, and later the candidate fails.
fn after_an_outage(share: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let share = match ask.at {
            220.0..280.0 => 0.5,
            400.0.. if ask.candidate => share,
            _ => 0.001,
        };
        let end = if random.chance(share) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { users: Users::Stay(3_000), seconds: 700.0, ..world(600.0, serve, plan(&[500, 5_000], 600)) }
}

/// All fails for 20 s of each 10 min.
fn at_times(rate: f64) -> World {
    let serve = |random: &mut Random, ask: &Ask| {
        let bad = ask.candidate && (ask.at + 500.0).rem_euclid(600.0) < 20.0;
        let end = if bad || random.chance(0.001) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { seconds: 600.0, ..world(rate, serve, steps(30)) }
}

/// Nothing but streams, and some of the candidate's break after a while.
fn streams_break(rate: f64, share: f64, after: f64) -> World {
    let serve = move |random: &mut Random, ask: &Ask| {
        let end = match ask.candidate && random.chance(share) {
            true => End::Breaks(after),
            false if random.chance(0.003) => End::Failed,
            false => End::Stream(1_200.0),
        };
        Answer { seconds: lognormal(random, 0.03, 0.6), end }
    };
    World { seconds: 600.0, ..world(rate, serve, steps(30)) }
}

fn refused(rate: f64) -> World {
    let serve = |random: &mut Random, ask: &Ask| {
        let broken = ask.alone.is_some_and(|at| at > 30.0) && random.chance(0.3);
        let end = if broken { End::Refused } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { switch: Some(crate::domain::deployment::Mode::Enforce), seconds: 120.0, ..world(rate, serve, steps(30)) }
}

/// Exactly 1 % errors and exactly three times as many: neither is good enough to go on.
fn just_bad(weight: u16) -> World {
    let serve = |random: &mut Random, ask: &Ask| {
        let share = if ask.candidate { 0.01 } else { 0.01 / 3.0 };
        let end = if random.chance(share) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    World { seconds: 600.0, ..world(200.0, serve, plan(&[weight, 9_000], 30)) }
}

/// All is well but for orders, of which there are so many, and so many times as many on the candidate.
pub(super) fn orders(rate: f64, share: f64, times: f64, plan: Plan) -> World {
    let serve = |random: &mut Random, _: &Ask| {
        let end = if random.chance(0.001) { End::Failed } else { End::Good };
        Answer { seconds: lognormal(random, 0.08, 0.6), end }
    };
    let order = EventRule { name: "order".to_owned(), bad: Bad::Fewer, tolerated: 0.1, share: 0.05, per_request: 1 };
    let policy = Policy { events: vec![order], ..Policy::default() };
    World { policy, orders: Some([share, share * times]), seconds: 1_200.0, ..world(rate, serve, plan) }
}

pub(super) fn scenes() -> Vec<Scene> {
    let back = |median, p95| Must::Back { median, p95 };
    vec![
        scene("f00", "8 % at 5 %, 1,000/s", back(4.0, 8.0), (400, 1_000), || errors(1_000.0, 500, 0.08)),
        scene("f00", "the same, 100/s", back(18.0, 40.0), (400, 1_000), || errors(100.0, 500, 0.08)),
        scene("f00", "the same, 10/s", back(175.0, 400.0), (400, 500), || errors(10.0, 500, 0.08)),
        scene("f00", "8 % at 50 %, 300/s", back(6.0, 12.0), (60, 500), || errors(300.0, 5_000, 0.08)),
        scene("f03", "10 x slower, 1,000/s", back(60.0, 120.0), (4, 100), || slower(1_000.0, 10.0, false)),
        scene("f03", "the same: the first step", Must::Kept, (4, 100), || slower(1_000.0, 10.0, false)),
        scene("f03", "3 x slower, 1,000/s: the first step", Must::Kept, (4, 100), || slower(1_000.0, 3.0, false)),
        scene("f03", "3 x slower, 1,000/s", back(60.0, 120.0), (4, 100), || slower(1_000.0, 3.0, false)),
        scene("f03", "3 x slower, 100/s", back(65.0, 150.0), (300, 300), || slower(100.0, 3.0, false)),
        scene("f03", "3 x slower, 100/s: the first step", Must::Kept, (20, 300), || slower(100.0, 3.0, false)),
        scene("f10", "20 % hang, 1,000/s: the first step", Must::Kept, (4, 100), || hangs(1_000.0, 0.2)),
        scene("f10", "20 % hang, 100/s", back(90.0, 240.0), (20, 200), || hangs(100.0, 0.2)),
        scene("f08", "404 to all on a 5 % route, base .5 %, 300/s: it ends", Must::Ends(45.0), (20, 300), || {
            refuses(300.0, 0.05, 0.005)
        }),
        scene("f08", "the same, base 10 %", Must::Ends(120.0), (20, 300), || refuses(300.0, 0.05, 0.1)),
        scene("f08", "the same, base 30 %: the first step", Must::Kept, (20, 300), || refuses(300.0, 0.05, 0.3)),
        scene("f08", "the same, base 45 %: the first step", Must::Kept, (20, 300), || refuses(300.0, 0.05, 0.45)),
        scene("f08", "401 to all, where 40 % are, 300/s: it ends", Must::Ends(60.0), (20, 300), || {
            refuses(300.0, 1.0, 0.4)
        }),
        scene("f12", "SSE of 20 min, 8 % break after 45 s, 60/s", back(120.0, 240.0), (4, 100), || {
            streams_break(60.0, 0.08, 45.0)
        }),
        scene("f14", "10 x slower when it has the traffic, 300/s", Must::BackAfterTraffic(60.0), (10, 200), || {
            slower(300.0, 10.0, true)
        }),
        scene("f14", "30 % refused, all traffic by a switch, 300/s", back(36.0, 45.0), (20, 200), || refused(300.0)),
        scene("f15", "users stay, an outage, and then all fails", Must::BackAfter(400.0, 60.0), (3, 60), || {
            after_an_outage(1.0)
        }),
        scene("f15", "the same, and then 8 % fail", Must::BackAfter(400.0, 120.0), (3, 60), || after_an_outage(0.08)),
        scene(
            "f05",
            "2 % of 5,000 users that stay get errors only: the first step",
            Must::WrongPass(0.05),
            (8, 200),
            || some_users(5_000, 250.0),
        ),
        scene("f05", "2 % of 200 users that stay: the first step", Must::Shown, (40, 400), || some_users(200, 100.0)),
        scene("f20", "20 % fewer of 5 % orders, 1,000/s, default steps", Must::Shown, (40, 400), || {
            orders(1_000.0, 0.05, 0.8, steps(30))
        }),
        scene("f20", "half of the orders are gone, 300/s", back(200.0, 400.0), (200, 400), || {
            orders(300.0, 0.05, 0.5, steps(30))
        }),
        scene("f18", "all fails for 20 s of 10 min, 1,000/s", Must::Shown, (4, 60), || at_times(1_000.0)),
        scene(
            "f19",
            "exactly 1 % errors and exactly 3 x, 5 %: the first step",
            Must::WrongPass(0.05),
            (60, 2_000),
            || just_bad(500),
        ),
    ]
    .into_iter()
    .map(|scene| match scene.must {
        Must::Kept | Must::WrongPass(_) => Scene { until: Until::SecondStep, ..scene },
        _ => scene,
    })
    .collect()
}
