//! The seeds of the fuzz targets (tests/fuzz), replayed: each holds its property.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/properties/config.rs"]
mod config;
#[path = "../../fuzz/properties/http1.rs"]
mod http1;
#[path = "../../fuzz/properties/http2.rs"]
mod http2;
#[path = "../../fuzz/properties/proxy_header.rs"]
mod proxy_header;
#[path = "../../fuzz/properties/routes.rs"]
mod routes;
#[path = "../../fuzz/properties/whole.rs"]
mod whole;

/// Gives each seed of a target to its property.
fn replay(target: &str, property: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut seeds = 0;
    for seed in fs::read_dir(&folder).expect("a corpus") {
        property(&fs::read(seed.expect("a seed").path()).expect("a seed can be read"));
        seeds += 1;
    }
    assert!(seeds > 0, "{target} has no seeds");
}

#[test]
fn what_the_proxy_accepts_over_http1_hyper_reads_as_the_same() {
    replay("http1_hyper", http1::same_as_hyper);
}

#[test]
fn what_the_proxy_accepts_over_http2_the_h2_crate_reads_as_the_same() {
    replay("http2_h2", http2::same_as_h2);
}

#[test]
fn a_configuration_is_read_or_refused_with_a_place() {
    replay("config", |bytes| config::reads(&String::from_utf8_lossy(bytes)));
}

#[test]
fn a_proxy_header_has_one_verdict_however_it_comes() {
    replay("proxy_header", proxy_header::one_verdict);
}

#[test]
fn the_table_of_routes_finds_what_a_walk_through_the_list_finds() {
    replay("routes", routes::same_as_a_walk);
}

#[test]
fn heads_and_bodies_are_read_as_they_are_written() {
    let cut = |bytes: &[u8], property: fn(&[u8], usize)| {
        if let Some((piece, bytes)) = bytes.split_first() {
            property(bytes, usize::from(*piece));
        }
    };
    replay("head", cutover::internals::fuzzing::head);
    replay("hpack", cutover::internals::fuzzing::hpack);
    replay("chunks", |bytes| cut(bytes, cutover::internals::fuzzing::chunks));
    replay("frames", |bytes| cut(bytes, cutover::internals::fuzzing::frames));
    replay("websocket", |bytes| {
        if let Some((how, bytes)) = bytes.split_first() {
            cutover::internals::fuzzing::websocket(bytes, how & 1 != 0, usize::from(how >> 1));
        }
    });
}
