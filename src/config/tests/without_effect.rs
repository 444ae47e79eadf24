//! Keys that have no effect beside the others: refused with the place, the reason and the repair.

use super::refused::{check, row};
use super::*;

#[test]
fn a_key_that_has_no_effect_beside_the_others_is_refused_with_its_place() {
    let no_effect = "has no effect: ";
    check(&[
        row(plus("admin_mode = «\"0660\""), "it is for a unix socket", "unix:/run/cutover/admin.sock"),
        row(plus("admin_group = «\"deploy\""), "it is for a unix socket", "or remove this"),
        row(plus("[readiness]\npath = \"\"\nfail_without_endpoints = «true"), no_effect, "name a path"),
        row(plus("[health]\nexpect = «\"204\""), "a TCP connect", "set `health.path`"),
        row(plus("[health]\nhost = «\"a.test\""), "a TCP connect", "set `health.path`"),
        row(plus("[drain]\nspread = «\"5s\""), no_effect, "add `streams = \"spread\"`"),
        row(plus("[linger]\nfor = «\"1h\""), "`linger.paths` names no path", "add `paths = "),
        row(plus("[linger]\nbudget = «\"20%\""), "`linger.paths` names no path", "add `paths = "),
        row(plus("[upstream.default]\nping_timeout = «\"1s\""), "PING is of HTTP/2", "add `protocol = \"http2\"`"),
        row(plus("[canary]\ncookie_name = «\"mine\""), "the proxy's own cookie", "add `sticky = \"cookie\"`"),
        row(plus("[canary]\nsticky = \"address\"\ncookie_max_age = «\"2h\""), "own cookie", "add `sticky"),
        row(plus("[canary]\nevidence_per_network = «2"), "nothing keeps a user", "add `sticky"),
        row(plus("[canary]\nshield_budget = «\"20%\""), "off by default", "add `shield = true`"),
        row(
            with("[state]", "[state]\nfile_orders = false\norder_window = «\"2h\""),
            "`state.file_orders` is false",
            "remove one of the two",
        ),
        row(
            with("[state]", "[state]\nfile_orders = false\nwrite_back = «true").replace("active = \"blue\"\n", ""),
            "the file has no `active`",
            "add `active = \"blue\"`",
        ),
    ]);
    // A setting that repeats a default or turns something off is no contradiction.
    good(&plus(
        "admin_mode = \"0600\"\n[linger]\npaths = []\nfor = \"1h\"\n[canary]\nsticky = \"off\"\ncookie_name = \"mine\"",
    ));
    good(&plus("[canary]\nshield = false\nshield_budget = \"20%\"\n[drain]\nstreams = \"keep\"\nspread = \"5s\""));
    good(&plus("[health]\nhost = \"a.test\"\n[[gate.check]]\npath = \"/\""));
}
