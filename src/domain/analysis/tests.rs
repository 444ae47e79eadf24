use std::time::Duration;

use super::*;
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Judgement, Verdict, Veto};

mod arithmetic;
mod latencies;
mod networks;
mod properties;

fn weight(percent: u16) -> Weight {
    Weight::new(percent * 100).expect("a share")
}

/// Finished requests, and errors among them.
fn counts(completed: u64, errors: u64) -> Counts {
    Counts { completed, failed: errors, errors, ..Counts::default() }
}

/// A second on one route, in which all assigned requests finish.
fn second(number: u64, percent: u16, stable: Counts, candidate: Counts) -> Tick {
    let assigned = Arms { stable: stable.completed, candidate: candidate.completed };
    let batch = Batch { tick: number, weight: weight(percent), assigned, done: Arms { stable, candidate } };
    let route = RouteTick { name: "/shop".to_owned(), batches: vec![batch], ..RouteTick::default() };
    Tick {
        number,
        at: Duration::from_secs(number),
        weight: weight(percent),
        assigned,
        routes: vec![route],
        ..Tick::default()
    }
}

fn judge() -> Judge {
    Judge::new(Policy { horizon: Some(900), ..Policy::default() })
}

/// The judgement after these seconds.
fn last(judge: &mut Judge, seconds: std::ops::Range<u64>, tick: impl Fn(u64) -> Tick) -> Judgement {
    seconds.map(|number| judge.tick(&tick(number))).last().expect("a second")
}

#[test]
fn a_release_with_many_more_errors_fails_and_it_is_said_where() {
    let judgement = last(&mut judge(), 0..3, |number| second(number, 5, counts(950, 1), counts(50, 4)));
    assert_eq!(
        (judgement.verdict, judgement.limit, judgement.exposed, judgement.harmed),
        (Verdict::Fail, 1_000, 150, 12)
    );
    let finding = &judgement.findings[0];
    assert_eq!((finding.class, finding.route.as_deref()), (Class::Error, None));
    assert_eq!((finding.candidate.bad(), finding.candidate.requests(), finding.stable.bad()), (12, 150, 3));
    assert!(judgement.to_string().contains("errors on all routes: 8.0 % against 0.11 %"), "{judgement}");
}

#[test]
fn where_a_second_has_one_request_a_release_that_only_fails_is_found_all_the_same() {
    // Every fifth request is for the candidate, alone in its second.
    let tick = |number: u64| {
        let candidate = u64::from(number % 5 == 4);
        second(number, 20, counts(1 - candidate, 0), counts(candidate, candidate))
    };
    let judgement = last(&mut judge(), 0..100, tick);
    assert_eq!((judgement.verdict, judgement.exposed, judgement.harmed), (Verdict::Fail, 20, 20), "{judgement}");
    let good = last(&mut judge(), 0..900, |number| {
        let candidate = u64::from(number % 5 == 4);
        second(number, 20, counts(1 - candidate, u64::from(number % 50 == 0)), counts(candidate, 0))
    });
    assert_eq!((good.verdict, good.evidence), (Verdict::Pass, 0), "{good}");
}

#[test]
fn a_release_without_errors_passes_when_enough_was_seen() {
    let mut judge = judge();
    let tick = |number| second(number, 5, counts(950, 1), counts(50, 0));
    let first = judge.tick(&tick(0));
    assert_eq!(first.verdict, Verdict::Insufficient);
    let needs = judge.tick(&tick(1)).needs.expect("it comes closer");
    assert!((200..900).contains(&needs.requests), "{needs:?}");
    // At fifty requests per second.
    assert_eq!(needs.time, Some(Duration::from_secs(needs.requests.div_ceil(50))));
    let passed = last(&mut judge, 2..12, tick);
    assert_eq!((passed.verdict, passed.needs), (Verdict::Pass, None));
}

#[test]
fn the_clock_does_not_say_more_is_needed_because_there_was_little_to_see() {
    let judgement = last(&mut judge(), 0..10, |number| second(number, 50, counts(1, 0), counts(1, 0)));
    assert_eq!(judgement.verdict, Verdict::Insufficient);
    let needs = judgement.needs.expect("it comes closer");
    assert!((300..600).contains(&needs.requests), "{needs:?}");
    assert_eq!(needs.time, Some(Duration::from_secs(needs.requests)), "one a second comes");
}

#[test]
fn nothing_passes_without_requests_and_the_clock_says_that_none_come() {
    let judgement = last(&mut judge(), 0..600, |number| second(number, 5, counts(0, 0), counts(0, 0)));
    assert_eq!(judgement.verdict, Verdict::Insufficient);
    assert_eq!(judgement.needs.and_then(|needs| needs.time), None);
}

#[test]
fn a_release_that_is_as_bad_as_the_stable_one_passes_by_the_comparison() {
    // Both have 2 %, more than a release may have without a comparison.
    let judgement = last(&mut judge(), 0..120, |number| second(number, 50, counts(500, 10), counts(500, 10)));
    assert_eq!(judgement.verdict, Verdict::Pass);
}

#[test]
fn a_step_has_to_be_proved_anew_but_what_speaks_against_a_release_stays() {
    let mut judge = judge();
    let passed = last(&mut judge, 0..20, |number| second(number, 5, counts(950, 1), counts(50, 0)));
    assert_eq!(passed.verdict, Verdict::Pass);
    judge.begin_step(20);
    // Late outcomes of the step before prove nothing in this one.
    let mut late = second(20, 25, counts(9_500, 10), counts(5_000, 0));
    late.routes[0].batches[0].tick = 19;
    assert_eq!(judge.tick(&late).verdict, Verdict::Insufficient);

    let mut judge = self::judge();
    let suspected = last(&mut judge, 0..2, |number| second(number, 5, counts(950, 0), counts(50, 4)));
    judge.begin_step(2);
    let after = last(&mut judge, 2..3, |number| second(number, 25, counts(0, 0), counts(0, 0)));
    assert_eq!((suspected.verdict, after.verdict), (Verdict::Suspect, Verdict::Suspect));
}

#[test]
fn a_suspicion_ends_only_well_below_where_it_began() {
    let mut judge = judge();
    let bad = last(&mut judge, 0..2, |number| second(number, 5, counts(950, 0), counts(50, 4)));
    assert_eq!(bad.verdict, Verdict::Suspect);
    let mut seen = Vec::new();
    for number in 2..120 {
        let judgement = judge.tick(&second(number, 5, counts(950, 1), counts(50, 0)));
        if judgement.verdict == Verdict::Suspect {
            assert!(!judgement.findings.is_empty() && judgement.evidence >= 5);
        }
        seen.push((judgement.verdict == Verdict::Suspect, judgement.evidence));
    }
    assert!(seen.iter().any(|(suspect, evidence)| *suspect && *evidence < 20), "{seen:?}");
    assert!(seen.iter().any(|(suspect, evidence)| !suspect && *evidence < 5), "{seen:?}");
}

#[test]
fn lost_evidence_doubles_what_a_rollback_needs() {
    let limit = |lost| {
        let mut judge = Judge::new(Policy { lost, ..Policy::default() });
        judge.tick(&second(0, 5, counts(0, 0), counts(0, 0))).limit
    };
    assert_eq!([0, 1, 2, 5].map(limit), [1_000, 2_000, 4_000, 32_000]);
}

#[test]
fn an_error_rate_below_the_floor_is_never_a_reason_to_go_back() {
    let judgement = last(&mut judge(), 0..600, |number| second(number, 50, counts(500, 0), counts(500, 2)));
    assert!(judgement.verdict < Verdict::Suspect, "{judgement}");
}

#[test]
fn client_errors_and_aborts_hold_a_release_and_never_take_it_back() {
    let client = Counts { client_errors: 30, ..counts(50, 0) };
    let left = Counts { aborts: 30, ..counts(50, 0) };
    for (counts_of, class) in [(client, Class::ClientError), (left, Class::Abort)] {
        let judgement = last(&mut judge(), 0..300, |number| second(number, 5, counts(950, 0), counts_of));
        assert_eq!((judgement.verdict, judgement.findings[0].class), (Verdict::Suspect, class));
        assert!(judgement.evidence <= 1, "{judgement}");
    }
}

#[test]
fn an_outage_of_both_does_not_lift_the_floor_for_good() {
    let mut judge = judge();
    let (well, away) = (counts(9_500, 2), counts(9_500, 4_750));
    let judgement = last(&mut judge, 0..600, |number| match number {
        60..120 => second(number, 5, away, counts(500, 250)),
        // Far more than the stable release, and below the floor.
        _ => second(number, 5, well, counts(500, u64::from(number % 2 == 0))),
    });
    assert!(judgement.verdict < Verdict::Suspect, "{judgement}");
}

#[test]
fn one_second_is_one_thing_however_many_requests_it_has() {
    let mut judge = judge();
    last(&mut judge, 0..60, |number| second(number, 5, counts(9_500, 0), counts(500, 0)));
    let pause = judge.tick(&second(60, 5, counts(9_500, 0), counts(500, 500)));
    assert!(pause.evidence <= 30, "{pause}");
    // More ticks within the step do not count.
    let tick = |number: u64| Tick {
        at: Duration::from_millis(61_000 + (number - 61) * 100),
        ..second(number, 5, counts(950, 0), counts(50, 50))
    };
    assert!(last(&mut judge, 61..71, tick).evidence <= 30 * 30);
    let more = last(&mut judge, 80..84, |number| second(number, 5, counts(9_500, 0), counts(500, 500)));
    assert_eq!(more.verdict, Verdict::Fail);
}

#[test]
fn where_some_client_errors_are_normal_good_answers_that_are_gone_are_found() {
    let answers =
        |good: u64, refused: u64| Counts { client_errors: refused, good, refused, ..counts(good + refused, 0) };
    // A login: 40 % are refused anyway.
    let judgement = last(&mut judge(), 0..10, |number| second(number, 5, answers(171, 114), answers(0, 15)));
    assert_eq!((judgement.verdict, judgement.findings[0].class), (Verdict::Suspect, Class::ClientError));
    assert!(judgement.withdraws && judgement.evidence <= 1, "{judgement}");
    assert!(judgement.to_string().contains("enough to stop it"), "{judgement}");
    let same = last(&mut judge(), 0..300, |number| second(number, 5, answers(171, 114), answers(9, 6)));
    assert_eq!((same.verdict, same.withdraws), (Verdict::Pass, false), "{same}");
}

#[test]
fn errors_among_few_requests_are_no_client_errors() {
    let answers = |good: u64, failed: u64| Counts { failed, good, ..counts(good + failed, failed) };
    // Three requests a tick to the candidate, all of which fail.
    let judgement = last(&mut judge(), 0..60, |number| second(number, 40, answers(5, 0), answers(0, 3)));
    let classes: Vec<Class> = judgement.findings.iter().map(|finding| finding.class).collect();
    assert!(judgement.verdict == Verdict::Fail && !judgement.withdraws, "{judgement}");
    assert!(!classes.contains(&Class::ClientError), "{judgement}");
    let judgement = last(&mut judge(), 0..60, |number| second(number, 40, answers(5, 0), answers(1, 2)));
    assert!(judgement.verdict == Verdict::Fail && !judgement.withdraws, "{judgement}");
    assert!(judgement.findings.iter().all(|finding| finding.class != Class::ClientError), "{judgement}");
    // So are refusals among few requests found.
    let answers =
        |good: u64, refused: u64| Counts { client_errors: refused, good, refused, ..counts(good + refused, 0) };
    let judgement = last(&mut judge(), 0..60, |number| second(number, 40, answers(3, 2), answers(0, 3)));
    assert_eq!((judgement.verdict, judgement.findings[0].class), (Verdict::Suspect, Class::ClientError));
}

#[test]
fn nothing_passes_while_the_plain_share_of_errors_is_too_high() {
    let mut judge = judge();
    assert_eq!(
        last(&mut judge, 0..60, |number| second(number, 5, counts(950, 1), counts(50, 0))).verdict,
        Verdict::Pass
    );
    // Sticky users with earlier errors: the tests see no event.
    let broken = |number| {
        let candidate = Counts { failed: 50, ..counts(50, 0) };
        Tick { keyed: true, ..second(number, 5, counts(950, 1), candidate) }
    };
    let judgement = last(&mut judge, 60..70, broken);
    assert_eq!((judgement.verdict, judgement.veto), (Verdict::Insufficient, Some(Veto::Errors)), "{judgement}");
    assert!(judgement.to_string().contains("no step follows: its share of errors"), "{judgement}");
}

#[test]
fn an_unhealthy_baseline_stops_the_way_forward_and_not_the_way_back() {
    let mut judge = judge();
    let both = |number| second(number, 10, counts(900, 90), counts(100, 10));
    let judgement = last(&mut judge, 0..60, both);
    assert_eq!((judgement.verdict, judgement.baseline_unhealthy), (Verdict::Insufficient, true));
    let worse = last(&mut judge, 60..75, |number| second(number, 10, counts(900, 90), counts(100, 60)));
    assert_eq!((worse.verdict, worse.baseline_unhealthy), (Verdict::Fail, true));
    assert!(worse.to_string().ends_with("the release that it is compared with fails itself"), "{worse}");
}

#[test]
fn how_long_it_takes_to_pass_goes_by_all_requests_and_the_weight_from_the_second_tick_on() {
    let mut judge = judge();
    let one = |number| second(number, 10, counts(10, 0), counts(0, 0));
    assert_eq!(judge.tick(&one(0)).needs, None, "how many come is not known yet");
    // None of ten per second went to the candidate yet; one of ten will.
    let needs = last(&mut judge, 1..10, one).needs.expect("some");
    assert_eq!(needs.time, Some(Duration::from_secs(needs.requests)));
    // With half of the requests it takes a fifth of the time, whatever the rate before.
    judge.begin_step(10);
    let needs = judge.tick(&second(10, 50, counts(5, 0), counts(5, 0))).needs.expect("some");
    assert_eq!(needs.time, Some(Duration::from_secs(needs.requests.div_ceil(5))));
}

#[test]
fn a_release_that_has_no_requests_any_more_is_no_unhealthy_baseline() {
    let mut judge = judge();
    let stable_fails = |number| second(number, 50, counts(500, 400), counts(500, 0));
    assert!(last(&mut judge, 0..30, stable_fails).baseline_unhealthy);
    let alone = judge.tick(&second(30, 100, counts(0, 0), counts(1_000, 0)));
    assert_eq!((alone.without_control, alone.baseline_unhealthy), (true, false), "{alone}");
}

#[test]
fn without_a_comparison_what_was_before_is_the_measure() {
    let before = Some(Before { requests: 100_000, errors: 100 });
    let judge = || Judge::new(Policy { before, ..Policy::default() });
    let all = |errors| move |number| second(number, 100, counts(0, 0), counts(1_000, errors));
    let bad = last(&mut judge(), 0..10, all(80));
    assert_eq!((bad.verdict, bad.without_control), (Verdict::Suspect, true), "a bad day looks the same");
    assert!(
        bad.to_string().ends_with("nothing else serves to compare with, so no rollback follows by itself"),
        "{bad}"
    );
    let broken = last(&mut judge(), 0..10, |number| Tick { broken: 80, ..all(80)(number) });
    assert_eq!((broken.verdict, broken.without_control), (Verdict::Fail, true), "no dependency breaks connections");
    assert_eq!(last(&mut judge(), 0..300, all(10)).verdict, Verdict::Insufficient, "1 % is neither bad nor good");
    assert_eq!(last(&mut judge(), 0..20, all(1)).verdict, Verdict::Pass);
    // A stable release with 5 % may be followed by one with 8 %.
    let mut followed =
        Judge::new(Policy { before: Some(Before { requests: 100_000, errors: 5_000 }), ..Policy::default() });
    assert!(last(&mut followed, 0..60, all(80)).verdict < Verdict::Suspect);
}

#[test]
fn users_that_stay_are_shared_by_the_weight_and_not_by_how_many_requests_they_send() {
    let judged = |keyed| {
        // A tenth of the users sends half of the requests.
        last(&mut judge(), 0..20, |number| Tick { keyed, ..second(number, 10, counts(500, 9), counts(500, 9)) }).verdict
    };
    assert_eq!([judged(true), judged(false)], [Verdict::Fail, Verdict::Pass]);
}

#[test]
fn errors_of_one_user_are_one_event_but_all_of_them_count_before_a_release_passes() {
    let mut judge = judge();
    let one_user = |number| {
        let candidate = Counts { failed: 5, errors: u64::from(number == 0), ..counts(50, 0) };
        Tick { keyed: true, ..second(number, 5, counts(950, 0), candidate) }
    };
    let judgement = last(&mut judge, 0..60, one_user);
    assert_eq!((judgement.verdict, judgement.harmed), (Verdict::Insufficient, 300));
}

#[test]
fn outcomes_count_by_the_weight_under_which_their_requests_were_assigned() {
    let judged = |late: u16| {
        let mut judge = judge();
        last(&mut judge, 7..12, |number| {
            let mut tick = second(number, 50, counts(0, 5), counts(0, 5));
            tick.keyed = true;
            tick.routes[0].batches[0].weight = weight(late);
            tick
        })
        .evidence
    };
    // Five of ten errors are nothing at half of the users, and a lot at a hundredth.
    assert!(judged(1) > 1_000 && judged(50) <= 1, "{} {}", judged(1), judged(50));
}

#[test]
fn cpu_holds_a_release_and_takes_it_back_only_where_somebody_chose_that() {
    let used = |millis| CpuUse { busy: Duration::from_millis(millis), requests: 100 };
    let tick = |number| Tick {
        cpu: Some(Arms { stable: used(100), candidate: used(150) }),
        ..second(number, 5, counts(950, 1), counts(50, 0))
    };
    let mut advisory = judge();
    let judgement = last(&mut advisory, 0..20, tick);
    assert_eq!((judgement.verdict, judgement.findings[0].class), (Verdict::Suspect, Class::Cpu));
    assert!(judgement.to_string().contains("in 20 of 20 windows"), "{judgement}");
    let mut chosen = Judge::new(Policy { cpu_rolls_back: true, ..Policy::default() });
    assert_eq!(last(&mut chosen, 0..20, tick).verdict, Verdict::Fail);
}

#[test]
fn a_stable_release_that_is_worse_is_said_and_nothing_follows() {
    let mut judge = judge();
    let judgement = last(&mut judge, 0..60, |number| second(number, 50, counts(500, 15), counts(500, 1)));
    assert_eq!((judgement.verdict, judge.report().stable_worse), (Verdict::Pass, true));
}

#[test]
fn requests_that_are_not_shared_as_the_weight_says_are_noticed_and_change_no_verdict() {
    let mut judge = judge();
    let judgement = last(&mut judge, 0..60, |number| second(number, 5, counts(900, 9), counts(100, 1)));
    assert!(judgement.verdict < Verdict::Suspect && judge.report().split_off);
    let mut judge = self::judge();
    last(&mut judge, 0..600, |number| second(number, 5, counts(950, 1), counts(50, 0)));
    assert!(!judge.report().split_off);
}

#[test]
fn routes_beyond_the_limit_are_one() {
    let mut judge = Judge::new(Policy { max_routes: 2, ..Policy::default() });
    for number in 0..3 {
        let mut tick = second(number, 5, counts(95, 0), counts(5, 0));
        tick.routes =
            (0..5).map(|slot| RouteTick { slot, name: format!("/{slot}"), ..tick.routes[0].clone() }).collect();
        judge.tick(&tick);
    }
    let rows = judge.report().routes;
    let names: Vec<_> = rows.iter().map(|row| row.route.as_deref().unwrap_or("all")).collect();
    assert_eq!(names, ["all", "/0", "/1", "~other"]);
    assert_eq!(rows[3].counts.stable.completed, 3 * 3 * 95);
}

#[test]
fn paths_without_a_route_are_judged_by_errors_and_not_by_what_clients_choose() {
    let verdict = |name: &str, candidate: Counts| {
        last(&mut judge(), 0..60, |number| {
            let mut tick = second(number, 5, counts(950, 0), candidate);
            name.clone_into(&mut tick.routes[0].name);
            tick
        })
        .verdict
    };
    let refused = Counts { client_errors: 30, ..counts(50, 0) };
    assert_eq!(verdict("/login", refused), Verdict::Suspect);
    assert!(verdict("~other", refused) < Verdict::Suspect);
    assert_eq!(verdict("~other", counts(50, 30)), Verdict::Fail);
}

#[test]
fn figures_of_a_late_regression_are_those_since_it_began() {
    let mut judge = judge();
    last(&mut judge, 0..600, |number| second(number, 5, counts(950, 1), counts(50, u64::from(number % 20 == 0))));
    let judgement = last(&mut judge, 600..610, |number| second(number, 5, counts(950, 1), counts(50, 4)));
    assert_eq!(judgement.verdict, Verdict::Fail);
    let shown = judgement.findings[0].candidate;
    assert!(shown.requests() <= 600 && shown.bad() * 100 >= shown.requests() * 6, "{judgement}");
}

#[test]
fn requests_of_a_tick_are_counted_once_however_often_it_is_heard_of() {
    let mut judge = judge();
    judge.tick(&second(0, 5, counts(95, 0), counts(5, 0)));
    let mut again = second(1, 5, counts(95, 0), counts(5, 0));
    let mut late = again.routes[0].batches[0];
    (late.tick, late.done) = (0, Arms { stable: counts(1, 1), candidate: counts(0, 0) });
    again.routes[0].batches.insert(0, late);
    judge.tick(&again);
    let rows = judge.report().routes;
    assert_eq!((rows[0].assigned, rows[1].assigned), (rows[1].assigned, Arms { stable: 190, candidate: 10 }));
    assert_eq!(rows[1].counts.stable.completed, 191);
}
