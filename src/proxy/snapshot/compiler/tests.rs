use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::domain::deployment::Deployment;
use crate::domain::release::Release;
use crate::domain::split::Weight;
use crate::domain::transition::Generation;
use crate::evidence::trial::Counted;
use crate::proxy::snapshot::split::Draw;

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
    Decision { generation: Generation(generation), ..Decision::first(active, release, SystemTime::UNIX_EPOCH) }
}

fn meters(workers: usize) -> Arc<Meters> {
    Arc::new(Meters::new(workers, Arc::from([1_000])))
}

fn admit_by(snapshot: &Snapshot, draw: u64) -> Arc<Admission> {
    let draw = |_: &Splitting| Draw { value: draw, user: None, visitor: None };
    let granted = snapshot.admit(0, "shop", "/", draw).expect("a route for everything").expect("nothing is held");
    granted.admission
}

fn admit(snapshot: &Snapshot) -> Arc<Admission> {
    admit_by(snapshot, 0)
}

#[test]
fn a_request_gets_color_release_and_generation_of_one_decision() {
    let mut compiler = Compiler::new(meters(2), Routes::new(2), mpsc::unbounded_channel().0);
    let snapshot = compiler.compile(&config(""), &decision(7, Color::Green));
    let admission = admit(&snapshot);
    assert_eq!((admission.pool.color, admission.generation, &*admission.release), (Color::Green, 7, "7"));
}

#[test]
fn what_did_not_change_is_the_same_object_in_the_next_snapshot() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    compiler.compile(&config(""), &decision(1, Color::Blue));
    let before = compiler.pools().clone();
    compiler.compile(&config("[drain]\ntimeout = \"9s\"\n"), &decision(2, Color::Green));
    for color in Color::ALL {
        assert!(Arc::ptr_eq(&before[color][0], &compiler.pools()[color][0]), "{color}");
    }
}

#[test]
fn a_switch_takes_over_the_table_of_routes_and_another_route_makes_a_new_one() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let route = |path: &str| format!("[[route]]\npath = \"{path}\"\nupstream = \"default\"\n");
    let one = config(&route("/a"));
    let table = |snapshot: Snapshot| snapshot.routes;
    let first = table(compiler.compile(&one, &decision(1, Color::Blue)));
    assert!(Arc::ptr_eq(&first, &table(compiler.compile(&one, &decision(2, Color::Green)))));
    let read_again = config(&(route("/a") + "[drain]\ntimeout = \"9s\"\n"));
    assert!(Arc::ptr_eq(&first, &table(compiler.compile(&read_again, &decision(2, Color::Green)))));
    let changed = compiler.compile(&config(&route("/b")), &decision(2, Color::Green));
    assert!(changed.routes.find("shop", "/b").is_some() && changed.routes.find("shop", "/a").is_none());
    let uncounted = config(&(route("/b") + "[canary]\nmode = \"off\"\n[bake]\nmode = \"off\"\n"));
    let uncounted = compiler.compile(&uncounted, &decision(2, Color::Green));
    assert!(!Arc::ptr_eq(&changed.routes, &uncounted.routes), "its requests are counted under other names");
}

#[test]
fn an_endpoint_that_stays_is_the_same_object_in_a_changed_pool() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
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
fn a_pool_that_went_is_freed_by_the_next_compile_and_not_by_its_last_request() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let admission = admit(&compiler.compile(&config(""), &decision(1, Color::Blue)));
    let pool = Arc::downgrade(&admission.pool);
    let mut changed = config("");
    changed.colors[Color::Blue].pools.get_mut("default").expect("it is there").remove(0);
    compiler.compile(&changed, &decision(1, Color::Blue));
    compiler.compile(&changed, &decision(1, Color::Blue));
    drop(admission);
    assert!(pool.upgrade().is_some());
    compiler.compile(&changed, &decision(1, Color::Blue));
    assert!(pool.upgrade().is_none());
}

#[test]
fn a_color_is_drained_when_the_last_request_admitted_under_it_is_over() {
    let mut compiler = Compiler::new(meters(2), Routes::new(2), mpsc::unbounded_channel().0);
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
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
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
    let granted = snapshot.admit_to(preview, 0, "shop", "/").expect("a route for everything");
    granted.expect("nothing is held").admission
}

#[test]
fn a_preview_is_of_the_color_that_does_not_serve_and_counts_apart() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
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
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let first = compiler.compile(&config(PREVIEW), &decision(1, Color::Blue));
    let looking = preview(&first);
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
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
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

fn canary(generation: u64, weight: u16) -> Decision {
    let decision = decision(generation, Color::Blue);
    let weight = Weight::new(weight).expect("a share");
    let stable = decision.release.clone();
    let deployment = Deployment { salt: 1, stable, ..crate::internals::samples::canary(7, weight) };
    Decision { deployment: Some(deployment), ..decision }
}

const TO_CANDIDATE: u64 = 0;
const TO_STABLE: u64 = u64::MAX;

#[test]
fn a_draw_below_the_weight_goes_to_the_candidate_with_its_own_release() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let forced = Decision { by_force: true, ..canary(7, 500) };
    let snapshot = compiler.compile(&config("[canary]\nshield = true\n"), &forced);
    let (stable, candidate) = (admit_by(&snapshot, TO_STABLE), admit_by(&snapshot, TO_CANDIDATE));
    assert_eq!((stable.pool.color, &*stable.release, stable.by_force), (Color::Blue, "7", true));
    assert_eq!((candidate.pool.color, &*candidate.release, candidate.by_force), (Color::Green, "2", false));
    assert_eq!(
        (stable.shield, candidate.shield),
        (None, Weight::new(1_000)),
        "only the candidate has somebody beside it"
    );
    let beside = |color| snapshot.admit_beside(color, 0, "shop", "/").map(|admission| admission.pool.color);
    assert_eq!((beside(Color::Green), beside(Color::Blue)), (Some(Color::Blue), Some(Color::Green)));
    assert!(!Arc::ptr_eq(&stable.meter, &candidate.meter));
}

#[test]
fn with_no_share_or_all_of_them_nobody_draws() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    for weight in [0, 10_000] {
        let snapshot = compiler.compile(&config(""), &canary(1, weight));
        assert!(snapshot.split.is_none());
        assert_eq!(admit(&snapshot).pool.color, Color::Blue, "the color that the decision names");
    }
}

#[test]
fn a_color_whose_share_changes_goes_on_in_the_same_epoch() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let alone = compiler.compile(&config(""), &decision(1, Color::Blue));
    let steps: Vec<Snapshot> = [500, 2_500].map(|weight| compiler.compile(&config(""), &canary(2, weight))).into();
    let epoch = |snapshot: &Snapshot, draw| admit_by(snapshot, draw).lease.epoch();
    assert_eq!(epoch(&alone, TO_STABLE), epoch(&steps[0], TO_STABLE));
    for draw in [TO_STABLE, TO_CANDIDATE] {
        assert_eq!(epoch(&steps[0], draw), epoch(&steps[1], draw));
    }
    let before = admit_by(&steps[0], TO_CANDIDATE);
    drop((alone, steps));
    let retired = compiler.retire(Color::Green);
    let _alone = compiler.compile(&config(""), &decision(3, Color::Blue));
    assert!(!retired.iter().all(|epoch| epoch.is_over()), "one is under way on it");
    drop(before);
    assert!(retired.iter().all(|epoch| epoch.is_over()), "no lease is left anywhere");
}

#[test]
fn a_hold_and_maintenance_close_the_door_of_both_colors() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let open = compiler.compile(&config(PREVIEW), &canary(1, 5_000));
    assert!(open.split.is_some());
    compiler.hold(Some(Instant::now()));
    let held = compiler.compile(&config(PREVIEW), &canary(1, 5_000));
    let retired: Vec<_> = Color::ALL.into_iter().flat_map(|color| compiler.retire(color)).collect();
    drop(open);
    assert!(retired.iter().all(|epoch| epoch.is_over()), "nor does what waits hold anything of a color");
    for draw in [TO_STABLE, TO_CANDIDATE] {
        assert!(
            held.admit(0, "shop", "/", |_| Draw { value: draw, user: None, visitor: None }).expect("a route").is_none()
        );
    }
    let preview = held.preview.as_ref().expect("it is configured");
    assert!(held.admit_to(preview, 0, "shop", "/").expect("a route").is_none(), "it waits with the others");
    compiler.hold(None);
    let closed = compiler.compile(&config(""), &Decision { maintenance: true, ..canary(1, 5_000) });
    assert!(closed.admit(0, "shop", "/", |_| unreachable!()).is_err());
}

#[test]
fn the_candidate_has_a_first_write_of_its_own_and_keeps_it_when_it_takes_over() {
    let labels = "[green.schema]\norders = { needs = \">=1\", migrates_to = 2, barrier = \"first-write\" }\n";
    let labelled = Config::parse(
        Path::new("test.toml"),
        &format!(
            "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [blue]\nrelease = \"1\"\nendpoints = [\"127.0.0.1:1\"]\n\
             [green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:3\"]\n{labels}"
        ),
    );
    let Ok(labelled) = labelled else { panic!("{}", labelled.expect_err("it is not").render(false)) };
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let split = compiler.compile(&labelled, &canary(1, 500));
    assert!(admit_by(&split, TO_STABLE).first_write.is_none());
    let waiting = admit_by(&split, TO_CANDIDATE).first_write.clone().expect("it can be taken back until then only");
    let switched = compiler.compile(&labelled, &decision(2, Color::Green));
    let after = admit(&switched).first_write.clone().expect("still");
    assert!(Arc::ptr_eq(&waiting, &after), "one that happened at 5 % has happened");
}

#[test]
fn the_candidate_can_be_previewed_while_it_serves_and_is_not_counted_for_that() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let snapshot = compiler.compile(&config(PREVIEW), &canary(1, 500));
    let shown = preview(&snapshot);
    assert_eq!((shown.pool.color, shown.preview.is_some(), shown.shield), (Color::Green, true, None));
    let granted = snapshot.admit_to(snapshot.preview.as_ref().expect("there"), 0, "shop", "/").expect("a route");
    assert_eq!(granted.expect("nothing is held").counted, Counted::Not);
}

#[test]
fn requests_are_counted_under_configured_routes_and_else_by_their_first_segment() {
    let routes = Routes::new(1);
    let mut compiler = Compiler::new(meters(1), Arc::clone(&routes), mpsc::unbounded_channel().0);
    let more = "[canary]\nroutes = [\"/api/v2\"]\n[[route]]\npath = \"/\"\nupstream = \"default\"\n\
                [[route]]\npath = \"/api\"\nupstream = \"default\"\n\
                [[route]]\nhost = \"*.shop.test\"\npath = \"/cart\"\nupstream = \"default\"\n";
    let snapshot = compiler.compile(&config(more), &decision(1, Color::Blue));
    let counted = |host: &str, path: &str| {
        let granted = snapshot.admit(0, host, path, |_| unreachable!("one color serves")).expect("a route");
        match granted.expect("nothing is held").counted {
            Counted::Route(route) => routes.get(route).name().to_string(),
            Counted::Segment => "by segment".to_owned(),
            Counted::Not => "not".to_owned(),
        }
    };
    assert_eq!(counted("a", "/api/v2/orders"), "/api/v2");
    assert_eq!(counted("a", "/api/v3"), "/api");
    assert_eq!(counted("www.shop.test", "/cart/3"), "*.shop.test/cart");
    assert_eq!(counted("a", "/checkout"), "by segment");
    assert_eq!(
        routes.iter().map(|(_, route)| route.name().to_string()).nth(1).as_deref(),
        Some("/api/v2"),
        "asked for first"
    );
    let off = "[canary]\nmode = \"off\"\n[bake]\nmode = \"off\"\n";
    let snapshot = compiler.compile(&config(off), &decision(1, Color::Blue));
    let granted = snapshot.admit(0, "a", "/api/v2", |_| unreachable!()).expect("a route").expect("nothing is held");
    assert_eq!(granted.counted, Counted::Not);
}

mod names {
    use std::net::SocketAddr;

    use super::*;
    use crate::domain::health::Health;
    use crate::proxy::pool::Pool;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 3000))
    }

    struct Named {
        compiler: Compiler,
        config: Config,
    }

    impl Named {
        fn new() -> Named {
            let text = "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
                [blue]\nrelease = \"1\"\nendpoints = [\"10.9.9.9:1\", \"app:3000\"]\n\
                [green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:3\"]\n";
            let config = Config::parse(Path::new("test.toml"), text).expect("a valid configuration");
            Named { compiler: Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0), config }
        }

        fn compile(&mut self) -> Arc<Pool> {
            self.compiler.compile(&self.config, &decision(1, Color::Blue));
            Arc::clone(&self.compiler.pools()[Color::Blue][0])
        }

        fn says(&self, lasts: &[u8]) {
            let name = self.compiler.names().values().next().expect("a name");
            name.resolved(lasts.iter().copied().map(at).collect());
        }
    }

    fn names(pool: &Pool) -> Vec<&str> {
        pool.endpoints.iter().map(|endpoint| &*endpoint.name).collect()
    }

    #[test]
    fn a_name_without_an_address_is_one_endpoint_and_with_some_one_for_each() {
        let mut named = Named::new();
        let pool = named.compile();
        assert_eq!(names(&pool), ["10.9.9.9:1", "app:3000"]);
        assert!(Arc::ptr_eq(&pool, &named.compile()), "nothing has changed");
        named.says(&[2, 3]);
        let next = named.compile();
        assert_eq!(names(&next), ["10.9.9.9:1", "app:3000 (10.0.0.2)", "app:3000 (10.0.0.3)"]);
        assert!(Arc::ptr_eq(&pool.endpoints[0], &next.endpoints[0]));
        assert!(!pool.endpoints[1].keeps() && !next.endpoints[1].joins, "nothing served before");
        assert!(Arc::ptr_eq(&next, &named.compile()));
    }

    #[test]
    fn an_address_that_stays_keeps_its_endpoint_and_a_new_one_joins() {
        let mut named = Named::new();
        named.compile();
        named.says(&[2, 3]);
        let before = named.compile();
        before.endpoints[1].set_health(Health::Up, 1);
        named.says(&[2, 4]);
        let pool = named.compile();
        assert_eq!(names(&pool), ["10.9.9.9:1", "app:3000 (10.0.0.2)", "app:3000 (10.0.0.4)"]);
        assert!(Arc::ptr_eq(&before.endpoints[1], &pool.endpoints[1]));
        assert!(pool.endpoints[2].joins && !before.endpoints[2].keeps() && before.endpoints[1].keeps());
    }

    #[test]
    fn the_old_addresses_serve_until_a_new_one_is_up_or_they_are_down() {
        let mut named = Named::new();
        named.compile();
        named.says(&[2, 3]);
        let before = named.compile();
        for endpoint in &before.endpoints[1..] {
            endpoint.set_health(Health::Up, 1);
        }
        named.says(&[4]);
        let pool = named.compile();
        assert_eq!(pool.endpoints.len(), 4, "{:?}", names(&pool));
        let leaving: Vec<bool> = pool.endpoints.iter().map(|endpoint| endpoint.is_leaving()).collect();
        assert_eq!(leaving, [false, false, true, true]);
        before.endpoints[1].set_health(Health::Down, 2);
        assert_eq!(names(&named.compile()), ["10.9.9.9:1", "app:3000 (10.0.0.4)", "app:3000 (10.0.0.3)"]);
        pool.endpoints[1].set_health(Health::Up, 3);
        assert_eq!(names(&named.compile()), ["10.9.9.9:1", "app:3000 (10.0.0.4)"]);
        assert!(!before.endpoints[2].keeps());
        named.says(&[3, 4]);
        let pool = named.compile();
        assert!(!Arc::ptr_eq(&pool.endpoints[1], &before.endpoints[2]) && pool.endpoints[1].joins, "it begins anew");
    }

    #[test]
    fn an_address_that_comes_back_is_connected_to_anew() {
        let mut named = Named::new();
        named.compile();
        named.says(&[2]);
        let before = named.compile();
        before.endpoints[1].set_health(Health::Up, 1);
        let evidence = before.endpoints[1].evidence();
        named.says(&[3]);
        assert!(named.compile().endpoints[2].is_leaving());
        assert_eq!(before.endpoints[1].evidence(), evidence, "it serves until the new one is up");
        named.says(&[2]);
        let pool = named.compile();
        assert!(Arc::ptr_eq(&pool.endpoints[1], &before.endpoints[1]));
        assert!(pool.endpoints[1].evidence() > evidence, "another container may have it now");
    }

    #[test]
    fn a_failure_changes_no_endpoint() {
        let mut named = Named::new();
        named.compile();
        named.says(&[2, 3]);
        let before = named.compile();
        let name = named.compiler.names().values().next().expect("a name");
        name.failed("no answer".to_owned(), SystemTime::UNIX_EPOCH);
        name.failed("SERVFAIL".to_owned(), SystemTime::now());
        let failure = name.known().failure.expect("it failed");
        assert_eq!((&*failure.reason, failure.since), ("SERVFAIL", SystemTime::UNIX_EPOCH));
        assert!(Arc::ptr_eq(&before, &named.compile()));
    }
}

#[test]
fn connections_are_no_older_than_what_let_a_color_serve() {
    let mut compiler = Compiler::new(meters(1), Routes::new(1), mpsc::unbounded_channel().0);
    let endpoints = |compiler: &Compiler, color: Color| compiler.pools()[color][0].endpoints.clone();
    compiler.compile(&config(""), &decision(1, Color::Blue));
    let (blue, green) = (endpoints(&compiler, Color::Blue), endpoints(&compiler, Color::Green));
    assert!(blue.iter().all(|endpoint| endpoint.keeps()) && !green[0].keeps());
    let start = blue[0].evidence();
    compiler.compile(&config("[drain]\ntimeout = \"1s\"\n"), &decision(2, Color::Blue));
    assert_eq!(blue[0].evidence(), start, "nothing was said about its processes");

    let text = "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [blue]\nrelease = \"1b\"\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\
         [green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:3\"]\n";
    let relabelled = Config::parse(Path::new("test.toml"), text).expect("a valid configuration");
    compiler.compile(&relabelled, &decision(3, Color::Blue));
    let label = blue[0].evidence();
    assert!(label > start);

    compiler.compile(&relabelled, &decision(4, Color::Green));
    assert!(blue.iter().all(|endpoint| !endpoint.keeps()) && green[0].keeps());
    assert!(green[0].evidence() > label, "no gate has said anything");
    blue[0].renew(Instant::now());
    blue[0].keep();
    let gate = blue[0].evidence();
    compiler.compile(&relabelled, &decision(5, Color::Blue));
    assert_eq!(blue[0].evidence(), gate);
    assert!(blue[1].evidence() > gate && blue[1].keeps());

    compiler.compile(&relabelled, &decision(6, Color::Green));
    blue[0].keep();
    compiler.compile(&relabelled, &Decision { by_force: true, ..decision(7, Color::Blue) });
    let forced = blue[0].evidence();
    assert!(forced > gate, "the order is the evidence, whatever a gate said before it");
    compiler.compile(&relabelled, &Decision { by_force: true, ..decision(8, Color::Blue) });
    assert_eq!(blue[0].evidence(), forced);
}
