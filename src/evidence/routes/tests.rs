use std::time::Instant;

use super::users::WINDOW;
use super::*;
use crate::domain::split::Weight;
use crate::domain::verdict::Class;

const ERROR: usize = Class::Error as usize;

fn known(routes: &Routes) -> impl FnMut(&str) -> String {
    let mut known = Known::default();
    move |path| {
        let id = known.find(routes, first_segment(path.as_bytes()).0).unwrap_or_default();
        routes.get(id).name().to_string()
    }
}

fn succeed(routes: &Routes, path: &str) {
    let (segment, whole) = first_segment(path.as_bytes());
    if is_name(segment, whole) {
        routes.discovered(segment);
    }
}

#[test]
fn a_first_segment_that_succeeded_is_a_route_for_everything_below_it() {
    let routes = Routes::new(1);
    let mut find = known(&routes);
    assert_eq!(find("/checkout"), "~other");
    succeed(&routes, "/checkout/3");
    succeed(&routes, "/");
    assert_eq!(find("/checkout"), "/checkout");
    assert_eq!(find("/checkout/7/pay"), "/checkout");
    assert_eq!(find("/checkout?back=/cart"), "/checkout");
    assert_eq!(find("/?page=2"), "/");
    assert_eq!(find("/checkouts"), "~other");
    assert_eq!(find("/"), "/");
    assert_eq!(find("/Checkout"), "~other");
}

#[test]
fn a_query_is_no_part_of_a_first_segment() {
    assert_eq!(first_segment(b"/cart?back=/"), (&b"cart"[..], true));
    assert_eq!(first_segment(b"/cart/7?x"), (&b"cart"[..], false));
    assert_eq!(first_segment(b"/?x"), (&b""[..], true));
}

#[test]
fn ids_files_and_what_has_to_be_escaped_are_no_routes() {
    let routes = Routes::new(1);
    let mut find = known(&routes);
    for path in [
        "/12345",
        "/7",
        "/2024-06-01",
        "/0192b3a4-77aa-7000-8000-0123456789ab",
        "/deadbeef0123cafe",
        "/order-99812",
        "/favicon.ico",
        "/app.9f8d.js",
        "/%2e%2e",
        "/a:b",
        "/wp-admin-and-a-very-long-name-that-nobody-would-give-to-a-route",
    ] {
        succeed(&routes, path);
        assert_eq!(find(path), "~other", "{path}");
    }
    for path in ["/v1", "/v2.1/items", "/api", "/wp-login", "/oauth2", "/feedback", "/decade", "/users~"] {
        succeed(&routes, path);
        assert_ne!(find(path), "~other", "{path}");
    }
}

#[test]
fn the_table_takes_so_many_and_the_rest_is_other() {
    let routes = Routes::new(1);
    let name = |n: usize| format!("/{}{}", char::from(b'a' + (n / 26) as u8), char::from(b'a' + (n % 26) as u8));
    for n in 0..DISCOVERED + 10 {
        succeed(&routes, &name(n));
        succeed(&routes, &name(n));
    }
    let mut find = known(&routes);
    for n in 0..DISCOVERED + 10 {
        assert_eq!(find(&name(n)), if n < DISCOVERED { name(n) } else { "~other".to_owned() });
    }
    for n in 0..CONFIGURED + 5 {
        let id = routes.configured(&format!("/configured/{n}"));
        assert_eq!(id == RouteId::OTHER, n >= CONFIGURED);
        assert_eq!(routes.configured(&format!("/configured/{n}")), id, "a reload gives nothing away");
    }
}

#[test]
fn a_configured_name_and_a_discovered_one_are_the_same_route() {
    let routes = Routes::new(1);
    let id = routes.configured("/checkout");
    succeed(&routes, "/checkout");
    assert_eq!(Known::default().find(&routes, b"checkout"), Some(id));
    assert_eq!((id.slot(), RouteId::OTHER.slot()), (0, usize::MAX));
}

#[test]
fn outcomes_are_told_under_the_tick_in_which_their_requests_were_assigned() {
    let routes = Routes::new(2);
    let mut sampler = Sampler::new(Arc::clone(&routes));
    let weight = |basis_points| Weight::new(basis_points).expect("a share");
    let arm = |worker| routes.get(RouteId::OTHER).arm(worker, Color::Green);
    arm(0).assigned(0);
    arm(1).assigned(0);
    let first = sampler.sample(weight(500));
    assert_eq!((first.tick, first.assigned.green, first.weight), (0, 2, weight(500)));
    arm(0).assigned(1);
    arm(1).completed(0, 1);
    arm(1).bad(0, 1, ERROR, Standing::ALL);
    let second = sampler.sample(weight(2_500));
    let batches = &second.routes[0].batches;
    let told: Vec<_> = batches
        .iter()
        .map(|batch| {
            (batch.tick, batch.weight, batch.assigned.green, batch.done.green.completed, batch.done.green.bad[ERROR])
        })
        .collect();
    assert_eq!(told, [(0, weight(500), 2, 1, 1), (1, weight(2_500), 1, 0, 0)]);
    assert_eq!(second.routes[0].totals.green.assigned, 3);
    assert!(sampler.sample(weight(2_500)).routes[0].batches.is_empty(), "nothing is told twice");
}

#[test]
fn what_takes_long_is_told_as_older_with_what_was_assigned_then() {
    let routes = Routes::new(1);
    let mut sampler = Sampler::new(Arc::clone(&routes));
    let arm = routes.get(RouteId::OTHER).arm(0, Color::Blue);
    for tick in 0..30 {
        arm.assigned(tick);
        if tick == 20 {
            arm.completed(2, tick);
            arm.completed(15, tick);
        }
        let sample = sampler.sample(Weight::HALF);
        let done: Vec<_> = sample.routes[0]
            .batches
            .iter()
            .map(|batch| (batch.tick, batch.assigned.blue, batch.done.blue.completed))
            .collect();
        match tick {
            20 => assert_eq!(done, [(12, 13, 1), (15, 1, 1), (20, 1, 0)]),
            _ => assert_eq!(done, [(tick, 1, 0)], "at {tick}"),
        }
    }
}

#[test]
fn the_judge_gets_what_counts_where_users_stay_and_all_of_it_else() {
    let routes = Routes::new(1);
    let mut sampler = Sampler::new(Arc::clone(&routes));
    let arm = routes.get(RouteId::OTHER).arm(0, Color::Green);
    for (on_route, overall) in [(true, true), (true, false), (false, false)] {
        arm.assigned(0);
        arm.completed(0, 0);
        arm.sampled(0, 0, on_route);
        arm.bad(0, 0, ERROR, Standing { on_route, overall });
    }
    let batch = sampler.sample(Weight::HALF).routes[0].batches[0];
    let counts = |of: Judged| {
        let judged = batch.judged(Color::Green, of);
        assert_eq!((judged.assigned.candidate, judged.assigned.stable), (3, 0));
        (judged.done.candidate.completed, judged.done.candidate.failed, judged.done.candidate.errors)
    };
    assert_eq!(counts(Judged::Requests), (3, 3, 3));
    assert_eq!(counts(Judged::OnRoute), (3, 2, 2));
    assert_eq!(counts(Judged::Overall), (3, 2, 1));
}

fn split(salt: u64) -> Split {
    Split { candidate: Color::Green, weight: Weight::HALF, salt }
}

fn user(key: u64, network: u64) -> User {
    User { key, network, drawn: false }
}

fn users(per_network: u32) -> Users {
    Users::new(split(1), per_network, false)
}

#[test]
fn the_first_request_of_a_user_is_the_first_of_a_deployment() {
    let routes = Routes::new(1);
    routes.keep_users(Some(split(1)), 1, false);
    let firsts = || {
        let users = routes.users();
        let users = users.as_ref().expect("users stay");
        (0..1_000).filter(|key| users.meet(user(*key, 1))).count()
    };
    assert!(firsts() > 990, "all were told apart, but for one or two");
    assert_eq!(firsts(), 0);
    routes.keep_users(Some(split(1)), 1, false);
    assert_eq!(firsts(), 0, "a publish forgets nobody");
    routes.keep_users(Some(split(2)), 1, false);
    assert!(firsts() > 990, "the next deployment draws anew");
    let users = Users::new(split(3), 1, true);
    assert!(!users.meet(user(1, 1)), "the process before may have told somebody the color");
    assert!(users.meet(User { drawn: true, ..user(1, 1) }), "nobody can know what is drawn now");
}

#[test]
fn a_network_has_one_later_event_of_a_kind_and_first_requests_any_number() {
    let (users, cart, shop) = (users(1), RouteId::OTHER, RouteId(7));
    let count = |event, key, network, route| users.count(event, user(key, network), false, route);
    let both = |Standing { on_route, overall }| (on_route, overall);
    assert_eq!(both(count(Allowance::Error, 1, 1, cart)), (true, true));
    for key in 2..100 {
        assert_eq!(both(count(Allowance::Error, key, 1, cart)), (false, false), "a further user of the network");
    }
    assert_eq!(both(count(Allowance::Error, 3, 1, shop)), (true, false), "another route, but the same network");
    assert_eq!(both(count(Allowance::Abort, 1, 1, cart)), (true, true), "another kind");
    assert_eq!(both(count(Allowance::Error, 1, 2, cart)), (false, false), "the same user elsewhere");
    assert_eq!(both(count(Allowance::Error, 4, 2, cart)), (true, true), "another network");
    for key in 100..200 {
        assert_eq!(users.count(Allowance::Error, user(key, 1), true, cart), Standing::ALL, "a first request");
    }
}

#[test]
fn the_bound_of_a_network_can_be_another_one_or_none() {
    for (per_network, counted) in [(3, 3), (0, 50)] {
        let users = users(per_network);
        let event = |key| users.count(Allowance::Error, user(key, 1), false, RouteId::OTHER).overall;
        let first: Vec<u64> = (0..50).filter(|key| event(*key)).collect();
        assert_eq!(first.len(), counted);
        assert_eq!((0..50).filter(|key| event(*key)).count(), 0, "each user counts once");
        let sampled = (0..50).filter(|key| users.take_sample(user(*key, 1), 5)).count();
        assert_eq!(sampled, counted);
    }
}

#[test]
fn whose_events_were_counted_outlives_the_process() {
    let event =
        |users: &Users, key, network| users.count(Allowance::Error, user(key, network), false, RouteId::OTHER).overall;
    let spare = |users: &Users| users.spare(Standing::ALL, Color::Green, RouteId::OTHER, ERROR).overall;
    let before = users(1);
    assert!(event(&before, 1, 1) && event(&before, 2, 2) && !spare(&before) && !spare(&before));
    let after = Users::new(split(1), 1, true);
    assert!(after.restore(&before.saved()));
    assert!(!event(&after, 1, 3) && !event(&after, 3, 2), "neither the user nor the network counts again");
    assert!(event(&after, 4, 4));
    assert_eq!((0..4).map(|_| spare(&after)).collect::<Vec<_>>(), [false, false, false, true]);
    assert!(!Users::new(split(2), 1, true).restore(&before.saved()), "of another deployment");
    assert!(!after.restore(&before.saved()[..20]) && !after.restore(b""), "damaged");
}

#[test]
fn a_share_is_taken_of_one_request_of_a_network_in_a_window() {
    let users = users(1);
    let sampled = |ticks: std::ops::Range<u64>| ticks.filter(|tick| users.take_sample(user(*tick, 1), *tick)).count();
    assert_eq!(sampled(0..WINDOW), 1);
    assert_eq!(sampled(WINDOW..10 * WINDOW), 9);
    assert!(users.take_sample(user(1, 2), 0), "another network has its own");
    assert_eq!(users.few_networks(), Some(2));
    let others = (3..1_000).filter(|network| users.take_sample(user(1, *network), 0)).count();
    assert!(others > 950, "{others}");
    assert_eq!(users.few_networks(), None);
}

#[test]
fn networks_are_what_one_client_has() {
    let network = |text: &str| network(text.parse().expect("an address"));
    assert_eq!(network("192.0.2.1"), network("192.0.2.255"));
    assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
    assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    assert_eq!(network("2001:db8:1::1"), network("2001:db8:1:ffff:1::"));
    assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
}

#[test]
fn of_two_workers_one_has_the_event_of_a_network() {
    let users = users(1);
    let total = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (users, total) = (&users, &total);
            scope.spawn(move || {
                let event = |network| {
                    let user = user(worker << 32 | network, network);
                    users.count(Allowance::Error, user, false, RouteId::OTHER).overall
                };
                total.fetch_add((0..10_000).filter(|network| event(*network)).count(), Ordering::Relaxed);
            });
        }
    });
    let total = total.into_inner();
    assert!((9_800..=10_000).contains(&total), "{total} of 10000 networks");
}

#[test]
fn thresholds_are_by_side_and_forgotten_together() {
    let routes = Routes::new(1);
    assert!(!routes.has_thresholds());
    routes.set_thresholds(RouteId::OTHER, Color::Green, Some(Thresholds { stable: [1, 2, 3], candidate: [4, 5, 6] }));
    let route = routes.get(RouteId::OTHER);
    assert_eq!((route.thresholds(Color::Blue), route.thresholds(Color::Green)), ([1, 2, 3], [4, 5, 6]));
    routes.forget_thresholds();
    assert_eq!(route.thresholds(Color::Green), [NO_THRESHOLD; 3]);
}

#[test]
fn what_a_scanner_asks_for_takes_no_place_and_what_lives_gets_one() {
    let routes = Routes::new(1);
    let mut sampler = Sampler::new(Arc::clone(&routes));
    let mut known = Known::default();
    for tick in 0..12 {
        for n in 0..200 {
            let path = format!("scan-{}{}", char::from(b'a' + tick), char::from(b'a' + n % 26));
            known.succeeded(&routes, path.as_bytes(), true);
        }
        known.succeeded(&routes, b"checkout", true);
        sampler.sample(Weight::HALF);
    }
    let found: Vec<_> = routes.iter().map(|(_, route)| route.name().to_string()).collect();
    assert_eq!(found, ["~other", "/checkout"]);
}

#[test]
fn a_discovered_route_that_is_idle_loses_its_place_and_a_configured_one_does_not() {
    let routes = Routes::new(1);
    let mut sampler = Sampler::new(Arc::clone(&routes));
    let began = Instant::now();
    routes.configured("/configured");
    let name = |n: usize| format!("/{}{}", char::from(b'a' + (n / 26) as u8), char::from(b'a' + (n % 26) as u8));
    for n in 0..DISCOVERED {
        succeed(&routes, &name(n));
    }
    let mut find = known(&routes);
    let busy = Known::default().find(&routes, b"aa").expect("it has a place");
    sampler.sample_at(Weight::HALF, began);
    routes.get(busy).arm(0, Color::Blue).assigned(routes.tick());
    sampler.sample_at(Weight::HALF, began + IDLE / 2);
    succeed(&routes, "/late");
    assert_eq!(find("/late"), OTHER, "all places are taken");
    sampler.sample_at(Weight::HALF, began + IDLE);
    assert_eq!((find("/aa"), find("/ab"), find("/late")), ("/aa".to_owned(), OTHER.to_owned(), OTHER.to_owned()));
    assert_eq!(routes.configured("/configured").index(), 1, "it stays");
    let before = routes.iter().count();
    for n in 0..DISCOVERED - 1 {
        succeed(&routes, &format!("/new-{}", name(n)[1..].to_owned()));
    }
    assert_eq!(find("/new-aa"), "/new-aa");
    assert_eq!(routes.iter().count(), before, "numbers are given again");
    assert_eq!(find("/ab"), OTHER);
}
