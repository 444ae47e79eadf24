use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::config::{Config, HoldConfig};
use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::{Decision, Generation};
use crate::proxy::live::Live;
use crate::proxy::publisher::Publisher;
use crate::proxy::queue::Queue;

fn config() -> Config {
    let text = "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
                [blue]\nrelease = \"1\"\nendpoints = [\"127.0.0.1:1\"]\n\
                [green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:3\"]\n";
    Config::parse(Path::new("test.toml"), text).expect("a valid configuration")
}

fn decision(generation: u64, active: Color) -> Decision {
    let release = Release::new(&generation.to_string());
    Decision { generation: Generation(generation), ..Decision::first(active, release, SystemTime::UNIX_EPOCH) }
}

#[test]
fn a_color_is_empty_only_when_no_worker_has_or_can_get_a_request_for_it() {
    const WORKERS: usize = 3;
    let (live, config) = (Live::new(WORKERS), config());
    let orders = (0..WORKERS).map(|_| tokio::sync::mpsc::unbounded_channel().0).collect();
    let mut publisher = Publisher::new(Arc::clone(&live), orders, config.metrics.bounds());
    let _ = publisher.publish(&config, &decision(1, Color::Blue));
    let running = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let (served, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let _end = End(&over);
        for worker in 0..WORKERS {
            let (live, running, served, over) = (&live, &running, &served, &over);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let admitted =
                        live.with(|snapshot| snapshot.admit(worker, "shop", "/", |_| unreachable!("one color serves")));
                    let admitted = admitted.expect("a route").map(|granted| granted.admission);
                    let Some(admission) = admitted else {
                        std::thread::yield_now();
                        continue;
                    };
                    let running = &running[admission.pool.color as usize];
                    running.fetch_add(1, Ordering::SeqCst);
                    served.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
        let mut color = Color::Blue;
        for generation in 2..100 {
            publisher.hold(Some(Instant::now()));
            let _ = publisher.publish(&config, &decision(generation, color));
            let epoch = publisher.under_way(color);
            while !epoch.is_over() {
                std::thread::yield_now();
            }
            for _ in 0..20 {
                assert_eq!([0, 1].map(|of| running[of].load(Ordering::SeqCst)), [0, 0], "generation {generation}");
            }
            color = color.other();
            let _ = publisher.publish(&config, &decision(generation, color));
            publisher.hold(None);
            let _ = publisher.publish(&config, &decision(generation, color));
            let before = served.load(Ordering::SeqCst);
            while served.load(Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn places_are_bounded_by_count_and_by_bytes_and_given_back() {
    let queue = Queue::default();
    let limits = HoldConfig { max_requests: 2, max_bytes: 100, timeout: Duration::ZERO, ready: true };
    let first = queue.enter(60, &limits).expect("room");
    assert!(queue.enter(41, &limits).is_none(), "too large for what is left");
    let _second = queue.enter(40, &limits).expect("room");
    assert!(queue.enter(0, &limits).is_none(), "too many");
    drop(first);
    let waiting = queue.waiting();
    assert_eq!((waiting.requests, waiting.bytes), (1, 40));
    assert_eq!(waiting.ended[Ending::Full as usize], 2);
    assert!(queue.enter(60, &limits).is_some());
    assert!(queue.enter(usize::MAX, &limits).is_none(), "and nothing overflows");
}
