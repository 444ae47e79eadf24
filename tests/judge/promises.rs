//! What the judge of canaries promises, by simulation with fixed seeds: how often a good release is rolled back, and how soon a
//! bad one is. Prints a table; fails where a bound is broken. `docs/analysis.md` explains the rows.

mod contrast;
mod events;
mod latency;
mod told;
mod whole;

/// A line of the table.
pub(crate) struct Row {
    number: &'static str,
    scenario: String,
    must: &'static str,
    measured: String,
    holds: bool,
}

pub(crate) fn row(number: &'static str, scenario: &str, must: &'static str, measured: String, holds: bool) -> Row {
    Row { number, scenario: scenario.to_owned(), must, measured, holds }
}

/// Checks every promise; how many hold, and how many are broken.
pub(crate) fn all() -> (usize, usize) {
    let (mut held, mut broken) = (0, 0);
    let mut show = |row: &Row| {
        let Row { number, scenario, must, measured, holds } = row;
        println!("{number:<4} {:<6} {scenario}: {must}: {measured}", if *holds { "ok" } else { "BROKEN" });
        *(if *holds { &mut held } else { &mut broken }) += 1;
    };
    let single: [fn() -> Row; 26] = [
        events::t1,
        events::t2,
        events::t3,
        events::t4,
        events::t5,
        events::t6,
        latency::t7,
        latency::t8,
        latency::t9,
        whole::t10,
        events::t11,
        events::t12,
        events::t13,
        whole::t14,
        events::t15,
        events::t17,
        whole::good_release,
        whole::barely_tolerated,
        whole::found_soon,
        whole::found_late,
        whole::names_the_route,
        whole::alone,
        whole::passes,
        whole::below_the_floor,
        whole::few_requests,
        told::tolerated,
    ];
    single.iter().for_each(|row| show(&row()));
    events::delay_table()
        .iter()
        .chain(&told::a_fifth_is_lost())
        .chain(&whole::delays())
        .chain(&contrast::t16())
        .for_each(show);
    (held, broken)
}
