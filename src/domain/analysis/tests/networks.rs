//! With users that stay on a color, a stranger who knows many users' colors has all their errors on the candidate.
//! BatchContext much that is worth is bounded for each network that the users come from: see `evidence::routes::Users`.

use super::*;

const ROUTES: usize = 66;

/// Later requests of some networks have every possible event, all on the candidate.
fn attacked(number: u64, weight: Weight, networks: u64, requests: u64) -> Tick {
    let events = Counts {
        errors: networks,
        client_errors: networks,
        aborts: networks,
        slow: [networks; 3],
        completed: requests,
        ..Counts::default()
    };
    let batch = |candidate| Batch {
        tick: number,
        weight,
        assigned: Arms { stable: 100, candidate: 100 },
        done: Arms { stable: Counts::default(), candidate },
    };
    // Among all routes together a network counts once.
    let overall = |slot| if slot == 0 { vec![batch(events)] } else { Vec::new() };
    let routes = (0..ROUTES).map(|slot| RouteTick {
        slot,
        name: format!("/{slot}"),
        thresholds: Some(Thresholds { stable: [1; 3], candidate: [2; 3] }),
        batches: vec![batch(events)],
        overall: Some(overall(slot)),
        ..RouteTick::default()
    });
    Tick { number, at: Duration::from_secs(number), weight, keyed: true, routes: routes.collect(), ..Tick::default() }
}

/// The verdict on a healthy candidate after quiet seconds without an error on either side.
fn verdict(weight: Weight, networks: u64, quiet: u64, requests: u64) -> Verdict {
    let policy = Policy { horizon: Some(900), warmup_requests: 0, warmup_time: Duration::ZERO, ..Policy::default() };
    let mut judge = Judge::new(policy);
    for number in 0..quiet {
        judge.tick(&Tick {
            number,
            at: Duration::from_secs(number),
            weight,
            keyed: true,
            assigned: Arms { stable: 0, candidate: 1 },
            ..Tick::default()
        });
    }
    judge.tick(&attacked(quiet, weight, networks, requests)).verdict
}

/// Hundredths of a percent.
const WEIGHTS: [u16; 7] = [1, 10, 100, 500, 2_500, 5_000, 9_900];

#[test]
fn one_network_can_never_have_a_release_suspected() {
    for weight in WEIGHTS.map(|weight| Weight::new(weight).expect("a share")) {
        for quiet in [1, 30, 900, 10_000] {
            let verdict = verdict(weight, 1, quiet, 0);
            assert!(verdict < Verdict::Suspect, "{weight} after {quiet} s: {verdict:?}");
        }
    }
}

/// Later events of this many networks are left out.
const SPARED: u64 = 5;

#[test]
fn so_many_networks_are_needed_as_the_docs_say() {
    let least = |weight, requests, wanted| {
        let mut counted = 1..1_000;
        counted.find(|networks| verdict(weight, *networks, 60, requests) >= wanted).map_or(0, |least| least + SPARED)
    };
    let row = |weight| {
        let weight = Weight::new(weight).expect("a share");
        [(0, Verdict::Suspect), (0, Verdict::Fail), (200, Verdict::Suspect), (200, Verdict::Fail)]
            .map(|(requests, verdict)| least(weight, requests, verdict))
    };
    assert_eq!([100, 500, 2_500, 5_000].map(row), [[7, 8, 8, 9], [8, 9, 8, 10], [10, 13, 10, 13], [14, 21, 14, 21]]);
}

fn minute(bad: u64, moments: u64) -> Minute {
    let bad = Arms { stable: 0, candidate: bad };
    Minute { weight: weight(5), active: Arms { stable: 950, candidate: 50 }, bad: [bad; 3], moments }
}

#[test]
fn minutes_are_added_up_and_what_happens_at_once_is_bounded() {
    let odds = |minutes: &[Minute]| {
        let mut judge = judge();
        let ticks = minutes.iter().zip(0..).map(|(minute, number)| Tick {
            number,
            at: Duration::from_secs(60 * number),
            weight: weight(5),
            keyed: true,
            minute: Some(*minute),
            ..Tick::default()
        });
        let judgements: Vec<Judgement> = ticks.map(|tick| judge.tick(&tick)).collect();
        (judge.report().worse, judgements.last().map(|judgement| judgement.verdict))
    };
    let (one, verdict) = odds(&[minute(7, 30)]);
    assert_eq!((one > 1_000.0, verdict), (true, Some(Verdict::Fail)), "{one}");
    let (two, _) = odds(&[minute(7, 30); 2]);
    assert!((two / one - 2.0).abs() < 0.01, "no minute is multiplied by another: {one} {two}");
    let (blip, verdict) = odds(&[minute(20, 1)]);
    assert!(blip < 2.0 && verdict < Some(Verdict::Suspect), "{blip}");
    let (quiet, _) = odds(&[minute(0, 0); 30]);
    assert!(quiet <= 1.0, "{quiet}");
}
