//! The worlds. Times of the configuration are short where that changes nothing: the dwell, and the warm-up, after six of which latency
//! may take a release back.

use super::site::{Answer, Ask, Serve, lognormal};

pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) rate: f64,
    /// Users with a network each. Where users do not stay: as many as there are.
    pub(crate) users: u32,
    pub(crate) path: fn() -> String,
    pub(crate) serve: Serve,
    /// Seconds that the process of each color pauses, each 20 to 60 s.
    pub(crate) pauses: Option<f64>,
    pub(crate) config: &'static str,
    /// By a plain switch; else by a canary.
    pub(crate) switch: bool,
    /// From this second on the candidate does harm.
    pub(crate) harms_from: f64,
    /// Seconds from the beginning, or from the moment at which the candidate has the traffic.
    pub(crate) lasts: f64,
    pub(crate) from_traffic: bool,
    pub(crate) must: Must,
}

/// How it must end.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// A rollback, so many seconds after the harm began or sooner, that names this.
    Back { within: f64, named: &'static str },
    /// A withdrawal in so many seconds, and no step before.
    Withdrawn { within: f64 },
    /// No rollback; a pause is no fault.
    Stays,
    /// Neither.
    Untouched,
}

impl Must {
    pub(crate) fn words(self) -> String {
        match self {
            Must::Back { within, named: "" } => format!("rolled back in {within:.0} s"),
            Must::Back { within, named } => format!("rolled back in {within:.0} s for {named}"),
            Must::Withdrawn { within } => format!("withdrawn in {within:.0} s"),
            Must::Stays => "not rolled back".to_owned(),
            Must::Untouched => "not paused, not rolled back".to_owned(),
        }
    }
}

fn home() -> String {
    "/".to_owned()
}

fn login() -> String {
    "/login".to_owned()
}

fn pages() -> String {
    (*fastrand::choice(&["/", "/search", "/account"]).expect("there are three")).to_owned()
}

fn a_fifth_is_a_page() -> String {
    if fastrand::f64() < 0.2 { "/page/1".to_owned() } else { "/".to_owned() }
}

/// A tenth is the cart; a fifth a scanner's, who asks for a path three times at most.
fn cart_and_scanner() -> String {
    match fastrand::f64() {
        0.0..0.1 => "/cart".to_owned(),
        0.1..0.3 => format!("/scan{}", fastrand::u32(..5_000)),
        _ => "/".to_owned(),
    }
}

fn usual(errors: f64) -> Answer {
    Answer { status: if fastrand::f64() < errors { 500 } else { 200 }, seconds: lognormal(0.02, 0.6) }
}

fn sticky(ask: &Ask<'_>) -> Answer {
    usual(match ask.at {
        10.0..40.0 => 0.5,
        50.0.. if ask.candidate => 1.0,
        _ => 0.001,
    })
}

fn logins(ask: &Ask<'_>) -> Answer {
    let refused = if ask.candidate { 1.0 } else { 0.4 };
    let status = if fastrand::f64() < refused { 401 } else { 200 };
    Answer { status, ..usual(0.0) }
}

fn no_difference(_: &Ask<'_>) -> Answer {
    usual(0.001)
}

fn trouble_when_alone(ask: &Ask<'_>) -> Answer {
    let trouble = ask.alone.is_some_and(|at| (20.0..40.0).contains(&at));
    usual(if trouble { 0.03 } else { 0.001 })
}

fn below_the_floor(ask: &Ask<'_>) -> Answer {
    usual(match ask.at {
        20.0..40.0 => 0.5,
        _ if ask.candidate => 0.003,
        _ => 0.000_2,
    })
}

fn slow_on_both(_: &Ask<'_>) -> Answer {
    Answer { seconds: lognormal(0.08, 0.6), ..usual(0.001) }
}

fn page_is_gone(ask: &Ask<'_>) -> Answer {
    let gone = if ask.candidate && ask.path.starts_with("/page") { 1.0 } else { 0.01 };
    if fastrand::f64() < gone { Answer { status: 404, ..usual(0.0) } } else { usual(0.001) }
}

fn cart_fails(ask: &Ask<'_>) -> Answer {
    usual(if ask.candidate && ask.path == "/cart" { 0.3 } else { 0.001 })
}

/// Independent requests of users who do not stay, by the default steps.
const USUAL: World = World {
    name: "",
    what: "",
    rate: 250.0,
    users: 1 << 22,
    path: home,
    serve: no_difference,
    pauses: None,
    config: "",
    switch: false,
    harms_from: f64::INFINITY,
    lasts: 120.0,
    from_traffic: false,
    must: Must::Stays,
};

pub(crate) const WORLDS: &[World] = &[
    World {
        name: "sticky",
        what: "1,000 users stay; both fail 50 % from second 10 to 40; from 50 on the candidate (10 %) answers nothing but 500",
        // So few that hardly one has had no error by then.
        users: 1_000,
        serve: sticky,
        config: "[canary]\nsticky = \"address\"\nsteps = [\"10%\"]\ndwell = \"10m\"\n",
        harms_from: 50.0,
        lasts: 190.0,
        must: Must::Back { within: 130.0, named: "" },
        ..USUAL
    },
    World {
        name: "login",
        what: "the candidate answers 401 to all, where 40 % are usual; default steps",
        path: login,
        serve: logins,
        harms_from: 0.0,
        must: Must::Withdrawn { within: 60.0 },
        ..USUAL
    },
    World {
        name: "gc",
        what: "no difference; one process a color, which pauses for 300 ms each 20 to 60 s; 25 %, warm-up 5 s",
        pauses: Some(0.3),
        config: "[canary]\nsteps = [\"25%\"]\ndwell = \"10m\"\n[analysis]\nwarmup = { requests = 50, time = \"5s\" }\n",
        lasts: 150.0,
        must: Must::Stays,
        ..USUAL
    },
    World {
        name: "bake",
        what: "no difference; 3 % errors for 20 s once the candidate has the traffic; steps of 5 s",
        serve: trouble_when_alone,
        config: "[canary]\nsteps = [\"50%\"]\ndwell = \"5s\"\n[analysis]\nwarmup = { requests = 50, time = \"1s\" }\n",
        lasts: 70.0,
        from_traffic: true,
        must: Must::Stays,
        ..USUAL
    },
    World {
        name: "switch",
        what: "the same after a plain switch of all traffic, bake.mode = \"enforce\"",
        serve: trouble_when_alone,
        config: "[bake]\nmode = \"enforce\"\n",
        switch: true,
        lasts: 70.0,
        from_traffic: true,
        must: Must::Stays,
        ..USUAL
    },
    World {
        name: "floor",
        what: ".3 % errors against .02 %, and both fail 50 % from second 20 to 40; 50 %",
        serve: below_the_floor,
        config: "[canary]\nsteps = [\"50%\"]\ndwell = \"10m\"\n",
        lasts: 200.0,
        must: Must::Stays,
        ..USUAL
    },
    World {
        name: "users",
        what: "no difference; 1,500 users stay; default steps, warm-up 10 s",
        users: 1_500,
        path: pages,
        serve: slow_on_both,
        config: "[canary]\nsticky = \"address\"\n[analysis]\nwarmup = { requests = 50, time = \"10s\" }\n",
        lasts: 180.0,
        must: Must::Untouched,
        ..USUAL
    },
    World {
        name: "404",
        what: "a fifth of the requests, /page, gets nothing but 404 from the candidate (25 %), where 1 % are usual",
        path: a_fifth_is_a_page,
        serve: page_is_gone,
        config: "[canary]\nsteps = [\"25%\", \"50%\"]\n",
        harms_from: 0.0,
        lasts: 60.0,
        must: Must::Withdrawn { within: 20.0 },
        ..USUAL
    },
    World {
        name: "scanner",
        what: "both answer 200 to a scanner of 5,000 paths; the candidate (25 %) fails 30 % of /cart",
        path: cart_and_scanner,
        serve: cart_fails,
        config: "[canary]\nsteps = [\"25%\", \"50%\"]\n",
        harms_from: 0.0,
        lasts: 60.0,
        must: Must::Back { within: 30.0, named: "/cart" },
        ..USUAL
    },
];
