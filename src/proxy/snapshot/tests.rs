use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::domain::release::Release;
use crate::domain::schema::Lineage;
use crate::domain::transition::{FileOrder, Generation};

fn config(more: &str) -> Config {
    let text = format!(
        "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [blue]\nrelease = \"1\"\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\
         [green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:3\"]\n{more}"
    );
    Config::parse(Path::new("test.toml"), &text).expect("a valid configuration")
}

fn decision(generation: u64, active: Color) -> Decision {
    let release = Release::new(&generation.to_string());
    Decision {
        generation: Generation(generation),
        active,
        release: release.clone(),
        since: SystemTime::UNIX_EPOCH,
        known_good: None,
        previous: None,
        freeze: None,
        quarantine: Vec::new(),
        written_back: Vec::new(),
        maintenance: false,
        seen: FileOrder { active, release },
        lineage: Lineage::default(),
    }
}

fn admit(snapshot: &Snapshot) -> Arc<Admission> {
    snapshot.admit(0, "shop", "/").expect("a route for everything").expect("nothing is held")
}

#[test]
fn a_request_gets_color_release_and_generation_of_one_decision() {
    let mut compiler = Compiler::new(2);
    let snapshot = compiler.compile(&config(""), &decision(7, Color::Green));
    let admission = admit(&snapshot);
    assert_eq!((admission.pool.color, admission.generation, &*admission.release), (Color::Green, 7, "7"));
}

#[test]
fn what_did_not_change_is_the_same_object_in_the_next_snapshot() {
    let mut compiler = Compiler::new(1);
    compiler.compile(&config(""), &decision(1, Color::Blue));
    let before = compiler.pools().clone();
    compiler.compile(&config("[drain]\ntimeout = \"9s\"\n"), &decision(2, Color::Green));
    for color in Color::ALL {
        assert!(Arc::ptr_eq(&before[color][0], &compiler.pools()[color][0]), "{color}");
    }
}

#[test]
fn an_endpoint_that_stays_is_the_same_object_in_a_changed_pool() {
    let mut compiler = Compiler::new(1);
    compiler.compile(&config(""), &decision(1, Color::Blue));
    let before = Arc::clone(&compiler.pools()[Color::Blue][0].endpoints[1]);
    let mut changed = config("");
    changed.colors[Color::Blue].pools.get_mut("default").expect("it is there").remove(0);
    compiler.compile(&changed, &decision(1, Color::Blue));
    let pool = &compiler.pools()[Color::Blue][0];
    assert_eq!(pool.endpoints.len(), 1);
    assert!(Arc::ptr_eq(&before, &pool.endpoints[0]));
}

#[test]
fn a_color_is_drained_when_the_last_request_admitted_under_it_is_over() {
    let mut compiler = Compiler::new(2);
    let blue = compiler.compile(&config(""), &decision(1, Color::Blue));
    let (first, second) = (admit(&blue), admit(&blue));
    let epoch = Arc::clone(compiler.epoch(Color::Blue).expect("blue serves"));
    let _green = compiler.compile(&config(""), &decision(2, Color::Green));
    assert!(!epoch.is_over());
    drop(blue);
    drop(first);
    assert!(!epoch.is_over(), "one is under way");
    drop(second);
    assert!(epoch.is_over());
}

#[test]
fn a_color_that_serves_again_before_it_was_drained_keeps_its_epoch() {
    let mut compiler = Compiler::new(1);
    let blue = compiler.compile(&config(""), &decision(1, Color::Blue));
    let long = admit(&blue);
    drop(blue);
    let green = compiler.compile(&config(""), &decision(2, Color::Green));
    drop(green);
    let again = compiler.compile(&config(""), &decision(3, Color::Blue));
    assert_eq!(admit(&again).lease.epoch(), long.lease.epoch());
    drop(again);
    compiler.compile(&config(""), &decision(4, Color::Green));
    drop(long);
    let new = compiler.compile(&config(""), &decision(5, Color::Blue));
    assert!(admit(&new).lease.epoch() > 0);
}

#[tokio::test]
async fn the_end_of_an_epoch_wakes_whoever_waits_for_it() {
    let epoch = Epoch::new(1);
    let lease = epoch.lease();
    let waiting = tokio::spawn({
        let epoch = Arc::clone(&epoch);
        async move { epoch.over().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(lease);
    waiting.await.expect("it resolves");
}

#[test]
fn places_under_a_limit_are_kept_over_a_reload_and_a_new_maximum_holds_at_once() {
    let mut compiler = Compiler::new(1);
    let limited = |max: u32| config(&format!("[upstream.default]\nmax_in_flight = {max}\n"));
    let snapshot = compiler.compile(&limited(2), &decision(1, Color::Blue));
    let limit = admit(&snapshot).limit.clone().expect("it is limited");
    let first = limit.take().expect("there is a place");
    let snapshot = compiler.compile(&limited(1), &decision(1, Color::Blue));
    let limit = admit(&snapshot).limit.clone().expect("it is limited");
    assert!(limit.take().is_none(), "the one place is taken");
    drop(first);
    assert!(limit.take().is_some());
}
