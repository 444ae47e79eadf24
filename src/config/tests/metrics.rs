//! Values of `[metrics]` and `[trace]`.

use super::refused::{check, row};
use super::*;

#[test]
fn bounds_that_make_no_histogram_are_refused_with_their_place() {
    let buckets = |list: &str| plus(&format!("[metrics]\nbuckets = {list}"));
    let many: Vec<_> = (1..=31).map(|bound| format!("\"{bound}ms\"")).collect();
    check(&[
        row(buckets("«[]"), "`metrics.buckets` has 0 bounds; it takes 1 to 30", "the default"),
        row(buckets(&format!("«[{}]", many.join(", "))), "has 31 bounds; it takes 1 to 30", "the default"),
        row(buckets("[\"1ms\", «\"0s\"]"), "\"0s\", which is not between 1us and 1day", "250us"),
        row(buckets("[\"1ms\", «\"2days\"]"), "\"2days\", which is not between 1us and 1day", "250us"),
        row(buckets("[«\"1500ns\"]"), "in whole microseconds", "250us"),
        row(buckets("[«\"0.5\"]"), "\"0.5\", which is not a duration", "250us"),
        row(buckets("[\"1s\", «\"500ms\"]"), "`metrics.buckets` does not ascend here", "ascending order"),
        row(buckets("[\"1s\", «\"1000ms\"]"), "`metrics.buckets` does not ascend here", "each once"),
    ]);
    let config = good(&buckets("[\"250us\", \"1s 500ms\"]"));
    assert_eq!(*config.metrics.bounds(), [250, 1_500_000]);
}

#[test]
fn a_collector_that_can_not_be_one_is_refused_with_its_place() {
    let trace = |keys: &str| plus(&format!("[trace]\n{keys}"));
    check(&[
        row(
            trace("endpoint = «\"localhost:4318\""),
            "which is not the address of a collector",
            "http://127.0.0.1:4318",
        ),
        row(trace("endpoint = «\"grpc://c:4317\""), "which is not the address of a collector", "http://127.0.0.1:4318"),
        row(trace("timeout = «\"1ms\""), "it goes from 100ms to 1m", ""),
        row(trace("timeout = «\"1s\""), "no spans are exported without `trace.endpoint`", "add `endpoint"),
        row(trace("service = «\"edge\""), "no spans are exported without `trace.endpoint`", "add `endpoint"),
        row(trace("sample = «\"10%\""), "no trace begins here", "add `begin = true`"),
        row(trace("endpoint = \"http://c:4318\"\nbegin = false\nsample = «\"10%\""), "no trace begins here", "begin"),
    ]);
    let config = good(&trace("endpoint = \"http://c:4318/\""));
    assert!(config.trace.begin && config.trace.rules().export);
    assert!(!good(BASE).trace.begin);
    assert!(good(&trace("begin = true\nsample = \"0.5%\"")).trace.begin);
}
