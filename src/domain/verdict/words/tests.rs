use super::*;
use crate::domain::verdict::Needs;

fn sample(bad: u64, requests: u64, millis: Option<u64>) -> Sample {
    Sample::new(requests, bad, millis.map(Duration::from_millis))
}

fn finding(class: Class, route: Option<&str>, candidate: Sample, stable: Sample) -> Finding {
    Finding { class, route: route.map(str::to_owned), event: None, candidate, stable, evidence: 18_400 }
}

fn judgement(verdict: Verdict) -> Judgement {
    Judgement {
        verdict,
        evidence: 18_400,
        limit: 1_000,
        hold: 1,
        withdraws: false,
        veto: None,
        findings: Vec::new(),
        needs: None,
        baseline_unhealthy: false,
        without_control: false,
        exposed: 1_910,
        harmed: 2,
        misses_files: false,
    }
}

#[test]
fn errors_are_told_with_both_shares_and_what_they_are_of() {
    let errors = finding(Class::Error, None, sample(62, 765, None), sample(15, 14_535, None));
    assert_eq!(errors.to_string(), "errors on all routes: 8.1 % against 0.10 % (62 of 765 requests, and 15 of 14,535)");
    let alone = finding(Class::Error, Some("/cart"), sample(79, 987, None), Sample::default());
    assert_eq!(alone.to_string(), "errors on /cart: 8.0 % (79 of 987 requests, and none to compare with)");
}

#[test]
fn latency_is_told_as_times_slower() {
    let slow = finding(Class::SlowP90, Some("/checkout"), sample(40, 61, Some(912)), sample(118, 1_180, Some(301)));
    assert_eq!(slow.to_string(), "/checkout got 3.0 times slower (p90 912 ms against 301 ms, 61 requests)");
    let failing = finding(Class::SlowP50, None, sample(90, 100, None), sample(500, 1_000, None));
    assert_eq!(
        failing.to_string(),
        "all routes got slower than half of the requests should be: 90 % against 50 % (90 of 100 requests, and 500 of 1,000)"
    );
}

#[test]
fn classes_that_only_hold_are_told_too() {
    let left = finding(Class::Abort, Some("/"), sample(2, 10, None), sample(1, 9_999, None));
    assert_eq!(
        left.to_string(),
        "clients that left before the answer on /: 20 % against 0.010 % (2 of 10 requests, and 1 of 9,999)"
    );
    let cpu = finding(Class::Cpu, None, sample(18, 20, None), Sample::default());
    assert_eq!(cpu.to_string(), "CPU time for a request was above the limit in 18 of 20 windows");
}

#[test]
fn a_judgement_is_one_sentence() {
    assert_eq!(judgement(Verdict::Pass).to_string(), "no worse than is tolerated, after 1,910 requests");
    let errors = finding(Class::Error, None, sample(62, 765, None), sample(15, 14_535, None));
    let fail = Judgement { findings: vec![errors.clone(); 5], baseline_unhealthy: true, ..judgement(Verdict::Fail) };
    assert_eq!(
        fail.to_string(),
        format!(
            "worse (18,400:1, limit 1,000:1): {errors}; {errors}; {errors}; and 2 more; \
             the release that it is compared with fails itself"
        )
    );
}

#[test]
fn what_is_not_decided_says_how_far_off_it_is() {
    let needs = |requests, seconds: Option<u64>| Judgement {
        needs: Some(Needs { requests, time: seconds.map(Duration::from_secs) }),
        ..judgement(Verdict::Insufficient)
    };
    let start = "not decided after 1,910 requests";
    assert_eq!(judgement(Verdict::Insufficient).to_string(), start);
    assert_eq!(needs(120, Some(40)).to_string(), format!("{start}, needs about 120 more, about 40 s"));
    assert_eq!(needs(12_000, Some(721)).to_string(), format!("{start}, needs about 12,000 more, about 12 min"));
    assert_eq!(needs(7, None).to_string(), format!("{start}, needs about 7 more, and none come"));
}

#[test]
fn what_hangs_is_never_more_than_all_requests() {
    let hanging = finding(Class::SlowP90, Some("/checkout"), sample(20, 0, Some(0)), Sample::default());
    assert!(hanging.to_string().contains("(20 of 20 requests, and none to compare with)"), "{hanging}");
    let both = finding(Class::SlowP90, None, sample(20, 5, None), sample(3, 0, None));
    assert!(both.to_string().contains("(20 of 20 requests, and 3 of 3)"), "{both}");
}

#[test]
fn files_of_the_other_release_are_what_4xx_are_about_where_most_are_of_files() {
    let files = finding(Class::ClientError, Some("/assets"), sample(95, 100, None), sample(50, 1_000, None));
    let held = Judgement { misses_files: true, findings: vec![files], hold: 48_000, ..judgement(Verdict::Suspect) };
    assert!(held.to_string().ends_with(MISSES_FILES), "{held}");
    let errors = finding(Class::Error, None, sample(62, 765, None), sample(15, 14_535, None));
    let failed = Judgement { findings: vec![errors], ..held };
    assert!(!failed.to_string().contains(MISSES_FILES), "{failed}");
}
