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
        by_force: false,
        maintenance: false,
        seen: FileOrder { active, release },
        lineage: Lineage::default(),
        deployment: None,
        cooldown: None,
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
    let retired = compiler.retire(Color::Blue);
    let [epoch] = retired.as_slice() else { panic!("blue serves: {retired:?}") };
    let _green = compiler.compile(&config(""), &decision(2, Color::Green));
    assert!(!epoch.is_over());
    drop(blue);
    drop(first);
    assert!(!epoch.is_over(), "one is under way");
    drop(second);
    assert!(epoch.is_over());
}

#[test]
fn a_drain_waits_also_for_what_an_earlier_one_did_not_end() {
    let mut compiler = Compiler::new(1);
    let blue = compiler.compile(&config(""), &decision(1, Color::Blue));
    let long = admit(&blue);
    compiler.retire(Color::Blue);
    let green = compiler.compile(&config(""), &decision(2, Color::Green));
    drop(blue);
    compiler.retire(Color::Green);
    let again = compiler.compile(&config(""), &decision(3, Color::Blue));
    drop(green);
    let retired = compiler.retire(Color::Blue);
    assert!(retired.iter().any(|epoch| epoch.id == long.lease.epoch()), "{retired:?}");
    drop(again);
    assert!(!retired.iter().all(|epoch| epoch.is_over()));
    drop(long);
    assert!(retired.iter().all(|epoch| epoch.is_over()));
    let _serving = compiler.compile(&config(""), &decision(5, Color::Blue));
    assert_eq!(compiler.retire(Color::Blue).len(), 1, "what is over is forgotten");
}

const PREVIEW: &str = "[preview]\nallow = [\"10.0.0.0/8\"]\n";

fn preview(snapshot: &Snapshot) -> Arc<Admission> {
    let preview = snapshot.preview.as_ref().expect("it is configured");
    snapshot.admit_to(preview, 0, "shop", "/").expect("a route for everything").expect("nothing is held")
}

#[test]
fn a_preview_is_of_the_color_that_does_not_serve_and_counts_apart() {
    let mut compiler = Compiler::new(1);
    let snapshot = compiler.compile(&config(PREVIEW), &decision(7, Color::Green));
    let (ordinary, shown) = (admit(&snapshot), preview(&snapshot));
    assert_eq!((ordinary.pool.color, ordinary.preview.is_some()), (Color::Green, false));
    assert_eq!((shown.pool.color, shown.generation, &*shown.release), (Color::Blue, 7, "1"));
    assert!(shown.preview.is_some() && !Arc::ptr_eq(&ordinary.meter, &shown.meter));
    assert_ne!(ordinary.number, shown.number, "nor does it spend the others' retries");
    let snapshot = compiler.compile(&config(""), &decision(7, Color::Green));
    assert!(snapshot.preview.is_none());
}

#[test]
fn a_drain_waits_for_previews_that_began_before_it_and_for_none_that_begin_after() {
    let mut compiler = Compiler::new(1);
    let first = compiler.compile(&config(PREVIEW), &decision(1, Color::Blue));
    let looking = preview(&first);
    // A reload in between changes nothing.
    let second = compiler.compile(&config(PREVIEW), &decision(1, Color::Blue));
    drop(first);
    compiler.retire(Color::Blue);
    let third = compiler.compile(&config(PREVIEW), &decision(2, Color::Green));
    drop(second);
    let retired = compiler.retire(Color::Green);
    let fourth = compiler.compile(&config(PREVIEW), &decision(3, Color::Blue));
    drop(third);
    let late = preview(&fourth);
    assert_eq!(late.pool.color, Color::Green);
    assert!(!retired.iter().all(|epoch| epoch.is_over()), "one that began before green served");
    drop(looking);
    assert!(retired.iter().all(|epoch| epoch.is_over()));
    assert!(!retired.iter().any(|epoch| epoch.id == late.lease.epoch()));
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
    let limited = |max: u32| config(&format!("{PREVIEW}[upstream.default]\nmax_in_flight = {max}\n"));
    let snapshot = compiler.compile(&limited(2), &decision(1, Color::Blue));
    let limit = admit(&snapshot).limit.clone().expect("it is limited");
    let first = limit.take().expect("there is a place");
    let snapshot = compiler.compile(&limited(1), &decision(1, Color::Blue));
    let limit = admit(&snapshot).limit.clone().expect("it is limited");
    assert!(limit.take().is_none(), "the one place is taken");
    assert!(preview_limit(&snapshot).take().is_some(), "those of previews are others");
    drop(first);
    assert!(limit.take().is_some());
}

fn preview_limit(snapshot: &Snapshot) -> Arc<Limit> {
    preview(snapshot).limit.clone().expect("it is limited")
}
