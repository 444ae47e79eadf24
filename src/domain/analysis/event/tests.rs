use super::*;
use crate::domain::analysis::rule::MOST_SHARED;
use crate::domain::analysis::{EventTick, Judge, MOST_EVENTS, Policy, RouteTick, false_alarms};
use crate::domain::verdict::{Verdict, Veto};

const SECONDS: u64 = 600;

fn order(share: f64) -> EventRule {
    EventRule { name: "order".to_owned(), bad: Bad::Fewer, tolerated: 0.1, share, per_request: 1 }
}

fn policy(rules: Vec<EventRule>) -> Policy {
    Policy { events: rules, horizon: Some(SECONDS), ..Policy::default() }
}

/// A second of 1,000 requests, a quarter of them to the candidate; `told`: events of requests `ago` seconds before.
fn second(number: u64, told: Vec<(usize, u64, Arms<u64>)>) -> Tick {
    let weight = Weight::new(2_500).expect("a share");
    let of = |(event, ago, told): (usize, u64, Arms<u64>)| {
        Some(EventTick { event, tick: number.checked_sub(ago)?, weight, told })
    };
    Tick {
        number,
        at: Duration::from_secs(number),
        weight,
        assigned: Arms { stable: 750, candidate: 250 },
        events: told.into_iter().filter_map(of).collect(),
        ..Tick::default()
    }
}

fn arms(stable: u64, candidate: u64) -> Arms<u64> {
    Arms { stable, candidate }
}

/// The second of failure and its judgement; the last judgement.
fn played(rules: Vec<EventRule>, told: impl Fn(u64) -> Vec<(usize, u64, Arms<u64>)>) -> Result<(u64, String), Verdict> {
    let mut judge = Judge::new(policy(rules));
    let mut last = Verdict::Insufficient;
    for number in 0..SECONDS {
        let judgement = judge.tick(&second(number, told(number)));
        last = judgement.verdict;
        if last == Verdict::Fail {
            return Ok((number, judgement.to_string()));
        }
    }
    Err(last)
}

#[test]
fn orders_that_are_fewer_than_is_tolerated_are_proved_and_named() {
    let (after, words) = played(vec![order(0.05)], |_| vec![(0, 0, arms(40, 10))]).expect("a quarter fewer");
    assert!((60..SECONDS).contains(&after), "{after}");
    assert!(words.contains(": order is 25 % rarer: 4.0 % against 5.3 % ("), "{words}");
    let (sooner, _) = played(vec![order(0.05)], |_| vec![(0, 0, arms(40, 4))]).expect("most are gone");
    assert!(sooner < after, "{sooner} {after}");
}

#[test]
fn as_many_as_are_tolerated_or_more_orders_are_no_reason() {
    for told in [arms(40, 12), arms(30, 10), arms(30, 60), arms(0, 0)] {
        assert!(played(vec![order(0.5)], |_| vec![(0, 0, told)]).is_err(), "{told:?}");
    }
}

#[test]
fn more_of_what_is_bad_is_proved_and_fewer_of_it_is_no_reason() {
    let failed = EventRule { name: "failed".to_owned(), bad: Bad::More, tolerated: 0.5, ..order(0.05) };
    let (after, words) = played(vec![failed.clone()], |_| vec![(0, 0, arms(3, 3))]).expect("three times as many");
    assert!(after < 60 && words.contains("failed is 200 % more frequent: "), "{after} {words}");
    for told in [arms(3, 1), arms(4, 2), arms(30, 0)] {
        assert!(played(vec![failed.clone()], |_| vec![(0, 0, told)]).is_err(), "{told:?}");
    }
}

#[test]
fn answers_that_come_some_seconds_later_on_the_candidate_are_not_fewer() {
    let told = |number| {
        let late = if number < 5 { vec![] } else { vec![(0, 5, arms(0, 100))] };
        [vec![(0, 0, arms(300, 0))], late].concat()
    };
    let mut judge = Judge::new(policy(vec![order(0.5)]));
    let greatest = (0..SECONDS).map(|number| judge.tick(&second(number, told(number))).evidence).max();
    assert!(greatest <= Some(1), "{greatest:?}");
}

#[test]
fn many_events_of_one_answer_are_one_toss_of_the_coin() {
    let batch = EventRule { per_request: 10, bad: Bad::More, ..order(0.05) };
    // Ten in one response are as much evidence as one where one counts.
    let (ten, one) = (played(vec![batch], |_| vec![(0, 0, arms(30, 30))]), {
        played(vec![EventRule { per_request: 1, bad: Bad::More, ..order(0.05) }], |_| vec![(0, 0, arms(3, 3))])
    });
    assert_eq!(ten.map(|(after, _)| after), one.map(|(after, _)| after));
}

#[test]
fn a_step_waits_while_orders_are_visibly_fewer() {
    let mut judge = Judge::new(policy(vec![order(0.05)]));
    let seen = |judge: &mut Judge, from: u64, told: Arms<u64>| {
        (from..from + 30).map(|number| judge.tick(&second(number, vec![(0, 0, told)])).veto).last().flatten()
    };
    assert_eq!(seen(&mut judge, 0, arms(30, 7)), Some(Veto::Events));
    judge.begin_step(30);
    assert_eq!(seen(&mut judge, 30, arms(30, 10)), None, "each step is looked at anew");
}

#[test]
fn events_take_their_shares_from_the_one_budget() {
    let mut rules: Vec<EventRule> = (0..12).map(|_| order(0.2)).collect();
    EventRule::bounded(&mut rules);
    let all: f64 = rules.iter().map(|rule| rule.share).sum();
    assert!(rules.len() == MOST_EVENTS && all <= MOST_SHARED + 1e-9, "{all}");
    // Half of the budget gives at least half of the odds.
    let evidence = |rules: Vec<EventRule>| {
        let mut judge = Judge::new(policy(rules));
        (0..40).for_each(|number| drop(judge.tick(&second(number, vec![(0, 0, arms(30, 5))]))));
        judge.report()
    };
    let (little, much) = (evidence(vec![order(0.05)]), evidence(vec![order(0.5)]));
    assert!((little.events[0].odds - much.events[0].odds).abs() < 1e-9);
    assert!((much.worse - 0.5) / (little.worse - 0.95) > 9.9, "{} {}", little.worse, much.worse);
}

#[test]
fn a_judge_that_was_told_of_no_events_judges_as_one_without_rules() {
    let plain = |rules| {
        let mut judge = Judge::new(policy(rules));
        (0..60).map(|number| judge.tick(&second(number, vec![]))).collect::<Vec<_>>()
    };
    assert_eq!(plain(vec![]), plain(vec![]));
    assert_eq!(plain(vec![]).last().map(|last| last.verdict), plain(vec![order(0.05)]).last().map(|last| last.verdict));
}

#[test]
fn one_network_with_every_event_there_can_be_has_no_release_suspected() {
    let rules =
        |bad| (0..8).map(|n| EventRule { name: format!("e{n}"), bad, tolerated: 0.01, ..order(0.0625) }).collect();
    for weight in [1, 100, 2_500, 5_000, 9_900, 9_999].map(|weight| Weight::new(weight).expect("a share")) {
        for (bad, told) in [(Bad::More, arms(0, 1)), (Bad::Fewer, arms(1, 0))] {
            let mut judge = Judge::new(policy(rules(bad)));
            for number in 0..60 {
                let events = (0..8).map(|event| EventTick { event, tick: 30, weight, told });
                let events = if number == 30 { events.collect() } else { Vec::new() };
                let tick = Tick { weight, keyed: true, events, ..second(number, vec![]) };
                assert!(judge.tick(&tick).verdict < Verdict::Suspect, "{bad:?} at {weight}");
            }
        }
    }
}

#[test]
fn the_stable_release_against_itself_loses_no_orders_whatever_the_candidate_of_the_record_did() {
    let ticks: Vec<Tick> = (0..300).map(recorded).collect();
    let report = false_alarms(&policy(vec![order(0.5)]), &[0], &ticks, 100, 1);
    assert_eq!((report.alarms, report.suspicions), (0, 0), "{report:?}");
    assert_eq!(report, false_alarms(&policy(vec![order(0.5)]), &[0], &ticks, 100, 1));
}

/// A second in which the candidate loses all of its orders; the stable release's come in that second and later.
fn recorded(number: u64) -> Tick {
    let tick = second(number, vec![(0, 0, arms(20, 0)), (0, 3, arms(20, 0))]);
    let batch = Batch { tick: number, weight: tick.weight, assigned: tick.assigned, ..Batch::default() };
    Tick { routes: vec![RouteTick { batches: vec![batch], ..RouteTick::default() }], ..tick }
}
