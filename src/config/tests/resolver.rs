//! Wrong keys of `[resolver]`.

use super::refused::{check, row};
use super::*;

#[test]
fn a_resolver_that_can_not_work_is_refused_with_its_place() {
    let section = |keys: &str| plus(&format!("[resolver]\n{keys}"));
    check(&[
        row(section("servers = [«\"dns.internal\"]"), "\"dns.internal\" is not a name server", "127.0.0.1:5353"),
        row(section("servers = [«\"10.0.0.53:0\"]"), "\"10.0.0.53:0\" is not a name server", "10.0.0.53"),
        row(section("servers = [«\"0.0.0.0\"]"), "\"0.0.0.0\" is not a name server", "10.0.0.53"),
        row(section("servers = [\"::1\", «\"[::1]:53\"]"), "the name server \"[::1]:53\" is there twice", "keep one"),
        row(section("family = «\"ipv5\""), "ipv5", "\"ipv4\""),
        row(section("min_ttl = «\"10ms\""), "it goes from 100ms to 1h", ""),
        row(section("max_ttl = «\"2days\""), "it goes from 1s to 1day", ""),
        row(section("timeout = «\"1m\""), "it goes from 50ms to 30s", ""),
        row(
            section("min_ttl = «\"2m\""),
            "`resolver.min_ttl` is 2m, which is longer than `resolver.max_ttl`, 1m",
            "the shorter one",
        ),
        row(section("«nameservers = []"), "[resolver] has no key `nameservers`", "`servers`"),
    ]);
}
