use super::*;

pub(super) const BEGAN: u64 = 1;

pub(super) fn pool(health: &[Health], rules: Rules) -> Pool {
    let endpoints = health.iter().enumerate().map(|(index, health)| {
        let port = u16::try_from(index + 1).expect("small");
        let endpoint = Endpoint::new(EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], port))), 2);
        endpoint.set_health(*health, BEGAN);
        Arc::new(endpoint)
    });
    Pool::new("default".into(), Color::Blue, endpoints.collect(), rules, 2)
}

pub(super) fn picks(pool: &Pool, draws: usize, now: u64, tried: &[usize]) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = vec![0; pool.endpoints.len()];
    for _ in 0..draws {
        if let Some(index) = pool.pick(0, random.u64(..), now, tried) {
            counts[index] += 1;
        }
    }
    counts
}

#[track_caller]
pub(super) fn about(found: usize, expected: f64) {
    let far = (found as f64 - expected).abs();
    assert!(far <= 4.0 * expected.sqrt() + 1.0, "{found} is not about {expected}");
}
