//! The worlds: `quick` (the default), `all`, or those whose names have a word, and how often; `gain=10` bounds what a second may make
//! of a bet otherwise.
//!
//!     cargo test --release --manifest-path tests/judge/Cargo.toml --target-dir target/judge --test worlds -- all

use std::process::ExitCode;
use std::time::Instant;

use cutover_judge::worlds::{How, Which, all};

fn main() -> ExitCode {
    let start = Instant::now();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (set, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with("gain="));
    let second_gain = set.first().and_then(|word| word[5..].parse().ok());
    let which = match words.first().map(String::as_str) {
        None | Some("quick") => Which::Quick,
        Some("all") => Which::Full,
        Some(name) => Which::Named(name.to_owned(), words.get(1).and_then(|count| count.parse().ok())),
    };
    let (held, broken) = all(&How { which, second_gain }, &mut |line| println!("{line}"));
    let verdict = if broken == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {held} passed; {broken} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        start.elapsed().as_secs_f64()
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
