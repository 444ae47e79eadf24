use super::*;
use crate::cli::replay::Apart;

fn judged(fail: Option<Moment>) -> Judged {
    Judged {
        alpha: 0.001,
        margin: 1.5,
        floor: 0.5,
        ratio: 1.5,
        verdict: "fail".to_owned(),
        fail,
        suspect: None,
        pass: None,
        judgement: None,
    }
}

#[test]
fn both_sets_of_rules_are_told_one_below_the_other() {
    let fail = Moment { at_s: 14.0, tick: 14, requests: 1_402 };
    let answer = ReplayAnswer {
        deployment: Some("dep-7".to_owned()),
        release: "2.0".to_owned(),
        stable: "1.0".to_owned(),
        lasted_s: 53.0,
        ticks: 53,
        requests: 1_910,
        stable_requests: 36_300,
        recorded: judged(Some(fail)),
        replayed: Some(Judged { alpha: 0.000_001, ..judged(None) }),
    };
    assert_eq!(
        replayed(&answer),
        "dep-7 · 2.0 against 1.0: 53 s, 1,910 requests, 36,300 to compare with\n\n\
         recorded   alpha 0.001, margin 1.5, floor 0.5 %, ratio 1.5\n           \
         worse     after 14 s (tick 14), at request 1,402\n           \
         suspect   never\n           \
         no worse  never\n           \
         nothing was judged\n\
         replayed   alpha 0.000001, margin 1.5, floor 0.5 %, ratio 1.5\n           \
         worse     never\n           \
         suspect   never\n           \
         no worse  never\n           \
         nothing was judged\n"
    );
}

#[test]
fn a_measured_rate_comes_with_its_confidence_and_with_what_is_promised() {
    let answer = AaAnswer {
        deployment: None,
        stable: "1.0".to_owned(),
        runs: 1_000,
        alarms: 0,
        suspicions: 4,
        passes: 980,
        ticks: 60,
        lasted_s: 60.0,
        requests: 36_300,
        apart: Apart { alarms: 1, suspicions: 7, rate: 0.001, at_most: 0.004_74 },
        rate: 0.0,
        at_most: 0.002_99,
        clumps: 1.1,
        alpha: 0.001,
    };
    assert_eq!(
        against_itself(&answer),
        "1.0 against itself, 1,000 times: 60 s, 36,300 requests each\n\n\
         rolled back   0 of 1,000 (0 %); below 0.3 % with 95 % confidence, and 0.1 % is promised\n\
         suspected     4 of 1,000 (0.4 %)\n\
         would advance 980 of 1,000 (98 %)\n\n\
         With a placebo whose bad moments are its own, some seconds after the stable release's:\n\
         rolled back   1 of 1,000 (0.1 %); below 0.47 % with 95 % confidence\n\
         suspected     7 of 1,000 (0.7 %)\n"
    );
    let apart = Apart { alarms: 960, rate: 0.96, ..answer.apart };
    let clumped = against_itself(&AaAnswer { clumps: 14.2, apart, ..answer });
    assert!(clumped.contains("they vary 14 times as much as independent ones would"), "{clumped}");
    assert!(clumped.contains("give each color more endpoints"), "{clumped}");
}
