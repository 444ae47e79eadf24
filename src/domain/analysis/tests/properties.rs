//! Properties of all ticks, also of impossible ones.

use super::*;

struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// Mostly small, at times the maximum.
    fn count(&mut self) -> u64 {
        match self.below(40) {
            0 => u64::MAX,
            1 => self.bits(),
            2..12 => 0,
            _ => self.below(300),
        }
    }

    fn counts(&mut self) -> Counts {
        Counts {
            completed: self.count(),
            failed: self.count(),
            errors: self.count(),
            client_errors: self.count(),
            aborts: self.count(),
            slow: std::array::from_fn(|_| self.count()),
            good: self.count(),
            refused: self.count(),
        }
    }

    fn arms<T>(&mut self, mut value: impl FnMut(&mut Random) -> T) -> Arms<T> {
        Arms { stable: value(self), candidate: value(self) }
    }

    fn weight(&mut self) -> Weight {
        let shares = [0, 1, 500, 5_000, 9_800, 9_999, 10_000];
        Weight::new(shares[self.below(7) as usize]).expect("a share")
    }

    fn tick(&mut self, number: u64) -> Tick {
        let slots = self.below(4) as usize;
        Tick {
            number,
            at: Duration::from_secs(number),
            weight: self.weight(),
            keyed: self.below(2) == 0,
            assigned: self.arms(Random::count),
            quantiles: Arms::default(),
            routes: (0..slots)
                .map(|slot| RouteTick {
                    slot,
                    name: format!("/{slot}"),
                    thresholds: (self.below(3) > 0).then(Thresholds::default),
                    quantiles: self.arms(|random| (random.below(2) == 0).then(|| Quantiles([random.count(); 3]))),
                    batches: (0..self.below(3))
                        .map(|_| Batch {
                            tick: number.saturating_sub(self.below(5)),
                            weight: self.weight(),
                            assigned: self.arms(Random::count),
                            done: self.arms(Random::counts),
                        })
                        .collect(),
                    overall: None,
                    seen: None,
                })
                .collect(),
            minute: None,
            events: (0..self.below(4))
                .map(|_| EventTick {
                    event: self.below(4) as usize,
                    tick: number.saturating_sub(self.below(5)),
                    weight: self.weight(),
                    told: self.arms(Random::count),
                })
                .collect(),
            broken: self.count(),
            cpu: (self.below(5) == 0).then(|| {
                self.arms(|random| CpuUse { busy: Duration::from_micros(random.count()), requests: random.count() })
            }),
        }
    }

    fn policy(&mut self) -> Policy {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 0.5, 1.5, 1e300];
        let mut value = |usual: f64| if self.below(8) == 0 { odd[self.below(8) as usize] } else { usual };
        let usual = Policy::default();
        Policy {
            alpha: value(usual.alpha),
            suspect_at: value(usual.suspect_at),
            ratio_tolerated: value(usual.ratio_tolerated),
            error_floor: value(usual.error_floor),
            latency_margin: value(usual.latency_margin),
            pass_error_below: value(usual.pass_error_below),
            pass_ratio: value(usual.pass_ratio),
            pass_beta: value(usual.pass_beta),
            client_error_ratio: value(usual.client_error_ratio),
            baseline_unhealthy: value(usual.baseline_unhealthy),
            cpu_margin: value(usual.cpu_margin),
            events: [Bad::More, Bad::Fewer]
                .map(|bad| EventRule {
                    name: bad.name().to_owned(),
                    bad,
                    tolerated: value(0.1),
                    share: value(0.2),
                    per_request: 0,
                })
                .to_vec(),
            max_routes: self.below(4) as usize,
            horizon: [None, Some(0), Some(20), Some(u64::MAX)][self.below(4) as usize],
            lost: self.below(70) as u32,
            ..usual
        }
    }
}

fn numbers(report: &Report) -> Vec<f64> {
    let Report { worse, worse_limit, hold, suspect_limit, cpu, pass, pass_limit, .. } = *report;
    let routes = report.routes.iter().flat_map(|row| row.evidence.map(|evidence| evidence.odds));
    let events = report.events.iter().map(|event| event.odds);
    [worse, worse_limit, hold, suspect_limit, cpu, pass, pass_limit].into_iter().chain(routes).chain(events).collect()
}

#[test]
fn evidence_is_always_a_number_and_a_verdict_has_a_reason() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut judge = Judge::new(random.policy());
        for number in 0..40 {
            if random.below(10) == 0 {
                judge.begin_step(number);
            }
            let judgement = judge.tick(&random.tick(number));
            let report = judge.report();
            assert!(numbers(&report).iter().all(|odds| odds.is_finite() && *odds >= 0.0), "seed {seed}: {report:?}");
            assert_eq!(
                judgement.findings.is_empty(),
                judgement.verdict < Verdict::Suspect,
                "seed {seed}: {judgement:?}"
            );
            assert!(!judgement.to_string().contains("NaN") && !judgement.to_string().contains("inf "), "{judgement}");
        }
    }
}

#[test]
fn the_same_ticks_give_the_same_judgements() {
    for seed in 0..50 {
        let replay = || {
            let mut random = Random(seed);
            let mut judge = Judge::new(random.policy());
            let judgements: Vec<_> = (0..30).map(|number| judge.tick(&random.tick(number))).collect();
            let bits: Vec<u64> = numbers(&judge.report()).into_iter().map(f64::to_bits).collect();
            (judgements, bits)
        };
        assert_eq!(replay(), replay(), "seed {seed}");
    }
}

#[test]
fn the_order_of_routes_in_a_tick_does_not_matter() {
    for seed in 0..50 {
        let judged = |turned: bool| {
            let mut random = Random(seed);
            let mut judge = judge();
            let judgements: Vec<_> = (0..30)
                .map(|number| {
                    let mut tick = random.tick(number);
                    if turned {
                        tick.routes.reverse();
                    }
                    judge.tick(&tick)
                })
                .collect();
            judgements
        };
        assert_eq!(judged(false), judged(true), "seed {seed}");
    }
}

#[test]
fn silence_changes_no_evidence() {
    let mut judge = judge();
    judge.tick(&second(0, 5, counts(950, 1), counts(50, 2)));
    let before = judge.report().worse;
    last(&mut judge, 1..2_000, |number| Tick { number, weight: weight(5), ..Tick::default() });
    assert!((judge.report().worse / before - 1.0).abs() < 1e-9);
}
