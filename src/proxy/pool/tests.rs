use super::*;

fn pool(health: &[Health]) -> Pool {
    let endpoints = health.iter().enumerate().map(|(index, health)| {
        let port = u16::try_from(index + 1).expect("small");
        let endpoint = Endpoint::new(EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], port))), 1);
        endpoint.set_health(*health);
        Arc::new(endpoint)
    });
    Pool { upstream: "default".into(), color: Color::Blue, endpoints: endpoints.collect() }
}

/// How often each endpoint is picked in many draws.
fn picks(pool: &Pool, tried: &[usize]) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = vec![0; pool.endpoints.len()];
    for _ in 0..3_000 {
        if let Some(index) = pool.pick(0, random.u64(..), tried) {
            counts[index] += 1;
        }
    }
    counts
}

#[test]
fn endpoints_that_are_up_share_the_requests() {
    let counts = picks(&pool(&[Health::Up, Health::Up, Health::Down, Health::Unknown]), &[]);
    assert!(counts[0] > 1_300 && counts[1] > 1_300, "{counts:?}");
    assert_eq!((counts[2], counts[3]), (0, 0));
}

#[test]
fn where_none_is_up_those_of_which_nothing_is_known_serve() {
    let counts = picks(&pool(&[Health::Down, Health::Unknown, Health::Down]), &[]);
    assert_eq!(counts, [0, 3_000, 0]);
}

#[test]
fn where_all_are_down_none_serves() {
    assert_eq!(picks(&pool(&[Health::Down, Health::Down]), &[]), [0, 0]);
    assert_eq!(picks(&pool(&[Health::Down]), &[]), [0]);
}

#[test]
fn the_less_loaded_of_two_is_picked() {
    let pool = pool(&[Health::Up, Health::Up]);
    pool.endpoints[0].load(0).add(5);
    assert_eq!(picks(&pool, &[]), [0, 3_000]);
}

#[test]
fn an_endpoint_that_was_tried_is_not_picked_again() {
    assert_eq!(picks(&pool(&[Health::Up, Health::Up]), &[1]), [3_000, 0]);
    assert_eq!(picks(&pool(&[Health::Up]), &[0]), [0]);
}
