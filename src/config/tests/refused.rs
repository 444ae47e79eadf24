//! Wrong files: each is refused with the place, the reason and the repair.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A wrong file and what is said of it: `«` marks the place and is not part of the file.
pub(super) struct Row {
    text: String,
    reason: &'static str,
    repair: &'static str,
}

pub(super) fn row(text: impl Into<String>, reason: &'static str, repair: &'static str) -> Row {
    Row { text: text.into(), reason, repair }
}

impl Row {
    /// The difference from the expected error, if any.
    fn wrong(&self) -> Option<String> {
        let at = self.text.find('«').expect("every row has a mark");
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
        let error = bad(&self.text.replace('«', ""));
        let [diagnostic] = error.diagnostics.as_slice() else {
            return Some(format!("not one problem of {:?}:\n{error}", self.text));
        };
        let help = diagnostic.help.as_deref().unwrap_or_default();
        let right = error.place(diagnostic) == (line, column)
            && diagnostic.message.contains(self.reason)
            && help.contains(self.repair)
            && help.is_empty() == self.repair.is_empty();
        let drawn = error.render(false);
        let drawn_right = drawn.contains(&format!("c.toml:{line}:{column}")) && drawn.contains(help);
        (!right || !drawn_right)
            .then(|| format!("expected {line}:{column} {} / {}\nfound    {error}\n{drawn}", self.reason, self.repair))
    }
}

pub(super) fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows.iter().filter_map(Row::wrong).collect();
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    check(&[
        row(with("active = \"blue\"", "active = «blue"), "not valid TOML: string values must be quoted", ""),
        row(with("active = \"blue\"", "active = \"blue«"), "not valid TOML: invalid basic string", ""),
        row(with("active = \"blue\"", "active «\"blue\""), "not valid TOML: key with no value, expected `=`", ""),
        row(with("active = \"blue\"", "active = «"), "not valid TOML: string values must be quoted", ""),
        row(with("active = \"blue\"", "active = \"blue\" «x"), "not valid TOML: unexpected key or value", ""),
        row(with("[state]", "[state«"), "not valid TOML: unclosed table, expected `]`", ""),
        row(with("release = \"1\"", "release = \"\\«q\""), "not valid TOML: missing escaped value", ""),
        row(plus("workers = «01"), "not valid TOML: unexpected leading zero", ""),
        row(plus("«http = \"127.0.0.1:1\""), "the key \"http\" is there twice", "keep one of them"),
        row(
            with("active = \"blue\"", "active = \"blue\"\n«active = \"green\""),
            "the key \"active\" is there twice",
            "keep one",
        ),
        row(plus("[«blue]"), "the key \"blue\" is there twice", "keep one of them"),
        row(plus("idle_timeout = \"75s«\u{0}\""), "not valid TOML: invalid basic string", ""),
    ]);
}

#[test]
fn a_list_that_is_never_closed_is_told_without_all_that_follows() {
    let error = bad(&with("[\"127.0.0.1:9001\"]", "[\"127.0.0.1:9001\""));
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].starts_with("c.toml:10:1: not valid TOML: missing comma between array elements"), "{error}");
    assert!(lines[1].starts_with("c.toml:16:25: not valid TOML: unclosed array"), "{error}");
}

#[test]
fn two_mistakes_of_writing_are_both_told() {
    let error = bad(&with("\"blue\"", "blue").replace("\"127.0.0.1:8080\"", "127.0.0.1:8080"));
    let places: Vec<_> = error.diagnostics.iter().map(|diagnostic| error.place(diagnostic)).collect();
    assert_eq!(places, [(1, 10), (15, 13)], "{error}");
}

#[test]
fn a_missing_key_is_named_and_shown() {
    check(&[
        row(with("active = \"blue\"", "«"), "the file has no `active`", "add `active = \"blue\"`"),
        row(
            "«active = \"green\"\n[blue]\nrelease = \"1\"\nendpoints = [\"a:1\"]\n[listen]\nhttp = \"127.0.0.1:1\"\n\
             admin = \"127.0.0.1:2\"",
            "the file has no [green]",
            "add it, with `release",
        ),
        row(
            &*BASE.replace("active", "«active").split("[listen]").next().expect("a part").to_owned(),
            "the file has no [listen]",
            "admin = \"127.0.0.1:9900\"",
        ),
        row(with("[listen]\nhttp = \"127.0.0.1:8080\"", "«[listen]"), "[listen] has no `http`", "add `http = "),
        row(
            with("[listen]\n", "«[listen]\n").replace("admin = \"127.0.0.1:9900\"", ""),
            "[listen] has no `admin`",
            "add `admin = ",
        ),
        row(with("[blue]\nrelease = \"1\"", "«[blue]"), "[blue] has no `release`", "add `release = "),
        row(
            with("[green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:9002\"]", "«[green]\nrelease = \"2\""),
            "[green] has no `endpoints`",
            "add `endpoints = ",
        ),
        row(plus("«[[route]]\npath = \"/a\""), "[route] has no `upstream`", "add `upstream = "),
    ]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_place() {
    check(&[
        row(with("\"blue\"", "«1"), "`active` is an integer; it has to be a string", ""),
        row(
            with("active = \"blue\"", "active = \"blue\"\nhealth = «5"),
            "`health` is an integer; it has to be a table",
            "",
        ),
        row(with("active = \"blue\"", "active = \"blue\"\nroute = «5"), "it has to be a list of tables", ""),
        row(with("\"127.0.0.1:8080\"", "«8080"), "`listen.http` is an integer; it has to be a string", ""),
        row(with("\"127.0.0.1:9900\"", "«true"), "`listen.admin` is a boolean; it has to be a string", ""),
        row(plus("trusted_proxies = «\"10.0.0.0/8\""), "is a string; it has to be a list of strings", ""),
        row(plus("trusted_proxies = [\"10.0.0.0/8\", «7]"), "`listen.trusted_proxies` is an integer", ""),
        row(plus("admin_mode = «\"0460\""), "`listen.admin_mode` is \"0460\", which is no mode", "\"0660\""),
        row(plus("admin_mode = «\"rw\""), "`listen.admin_mode` is \"rw\", which is no mode", "\"0660\""),
        row(plus("admin_group = «\"\""), "`listen.admin_group` is empty", "name or the number"),
        row(plus("workers = «\"4\""), "`listen.workers` is a string; it has to be an integer", ""),
        row(plus("workers = «2.5"), "`listen.workers` is a float; it has to be an integer", ""),
        row(plus("idle_timeout = «[\"1s\"]"), "is a list; it has to be a duration in a string", ""),
        row(plus("idle_timeout = «1979-05-27"), "is a date; it has to be a duration in a string", ""),
        row(plus("[log]\nredact_query = «\"no\""), "`log.redact_query` is a string; it has to be true or false", ""),
        row(with("dir = \"/var/lib/cutover\"", "dir = \"/x\"\nwrite_back = «1"), "it has to be true or false", ""),
        row(with("dir = \"/var/lib/cutover\"", "dir = \"/x\"\nfile_orders = «1"), "it has to be true or false", ""),
        row(
            with("dir = \"/var/lib/cutover\"", "dir = \"/x\"\norder_window = «\"31d\""),
            "`state.order_window` is \"31d\"; it goes from 0s to 30days",
            "",
        ),
        row(
            with("[\"127.0.0.1:9001\"]", "«\"127.0.0.1:9001\""),
            "`blue.endpoints` is a string; it has to be a list",
            "",
        ),
        row(
            plus("[upstream]\nconnect_timeout = «\"2s\""),
            "`upstream.connect_timeout` is a string; it has to be a table",
            "",
        ),
        row(plus("[admin]\ntokens = [«\"secret\"]"), "`admin.tokens` is a string; it has to be a table", ""),
    ]);
}

#[test]
fn a_duration_without_a_unit_or_out_of_range_is_refused_with_its_place() {
    check(&[
        row(plus("idle_timeout = «75"), "`listen.idle_timeout` is a number without a unit", "\"30s\""),
        row(plus("idle_timeout = «7.5"), "`listen.idle_timeout` is a number without a unit", "\"30s\""),
        row(plus("idle_timeout = «\"75\""), "`listen.idle_timeout` is \"75\", which is not a duration", "a unit"),
        row(plus("idle_timeout = «\"75 sek\""), "\"75 sek\", which is not a duration", "\"500ms\""),
        row(plus("idle_timeout = «\"\""), "which is not a duration", "write a number and a unit"),
        row(plus("idle_timeout = «\"-5s\""), "\"-5s\", which is not a duration", "write a number and a unit"),
        row(plus("idle_timeout = «\"0s\""), "`listen.idle_timeout` is \"0s\"; it goes from 1s to 1day", ""),
        row(plus("idle_timeout = «\"2days\""), "it goes from 1s to 1day", ""),
        row(plus("idle_timeout = «\"99999999999999999999s\""), "which is not a duration", "write a number"),
        row(plus("idle_timeout = «\"18446744073709551615s\""), "it goes from 1s to 1day", ""),
        row(plus("header_timeout = «\"99ms\""), "it goes from 100ms to 1h", ""),
        row(plus("[health]\ninterval = «\"1ms\""), "`health.interval` is \"1ms\"; it goes from 50ms to 1h", ""),
        row(plus("[health]\ntimeout = «\"0ms\""), "`health.timeout` is \"0ms\"; it goes from 10ms to 1h", ""),
        row(plus("[gate]\ntimeout = «\"61m\""), "`gate.timeout` is \"61m\"; it goes from 100ms to 1h", ""),
        row(plus("[drain]\ntimeout = «\"25h\""), "`drain.timeout` is \"25h\"; it goes from 0s to 1day", ""),
        row(
            plus("[drain]\nstreams = \"spread\"\nspread = «\"31s\""),
            "`drain.spread` is 31s, and everything is ended after `drain.timeout`, 30s",
            "write a `spread` of 30s or less, or a longer `timeout`",
        ),
        row(
            plus("[drain]\ntimeout = \"5s\"\nstreams = «\"spread\""),
            "`drain.spread` is 10s, and everything is ended after `drain.timeout`, 5s",
            "write a `spread` of 5s or less, or a longer `timeout`",
        ),
        row(plus("[readiness]\nlame_duck = «\"61m\""), "`readiness.lame_duck` is \"61m\"; it goes from 0s to 1h", ""),
        row(plus("[upstream.default]\nconnect_timeout = «\"0s\""), "`upstream.default.connect_timeout` is \"0s\"", ""),
        row(plus("[upstream.default]\nresponse_timeout = «\"2days\""), "it goes from 10ms to 1day", ""),
        row(plus("[upstream.default]\nidle_timeout = «60"), "is a number without a unit", "\"30s\""),
    ]);
}

#[test]
fn a_size_percentage_or_number_out_of_range_is_refused_with_its_place() {
    check(&[
        row(plus("max_body = «10"), "`listen.max_body` is a number without a unit; a size is a string", "\"64KiB\""),
        row(plus("max_body = «\"10\""), "`listen.max_body` is \"10\", which is not a size", "a unit"),
        row(plus("max_body = «\"10 parsecs\""), "\"10 parsecs\", which is not a size", "\"10MiB\""),
        row(plus("max_body = «\"-1KiB\""), "\"-1KiB\", which is not a size", "a unit"),
        row(plus("max_body = «\"\""), "which is not a size", "a unit"),
        row(plus("max_body = «\"99999999999EiB\""), "it goes from 0 B to 1.0 EiB", ""),
        row(plus("max_header_bytes = «\"0\""), "it goes from 8.0 KiB to 1.0 MiB", ""),
        row(plus("max_header_bytes = «\"2MiB\""), "it goes from 8.0 KiB to 1.0 MiB", ""),
        row(plus("[gate]\nquorum = «50"), "`gate.quorum` is a number without a unit", "\"100%\""),
        row(plus("[gate]\nquorum = «\"50\""), "`gate.quorum` is \"50\", which is not a percentage", "\"100%\""),
        row(plus("[gate]\nquorum = «\"0%\""), "`gate.quorum` is \"0%\"; it goes from 1% to 100%", ""),
        row(plus("[gate]\nquorum = «\"101%\""), "it goes from 1% to 100%", ""),
        row(plus("[gate]\nquorum = «\"99999%\""), "it goes from 1% to 100%", ""),
        row(plus("[gate]\nquorum = «\"-1%\""), "it goes from 1% to 100%", ""),
        row(plus("[gate]\nquorum = «\"99.5%\""), "in whole percent", ""),
        row(plus("[gate]\npasses = «0"), "`gate.passes` is 0; it goes from 1 to 100", ""),
        row(plus("max_concurrent_streams = «0"), "`listen.max_concurrent_streams` is 0; it goes from 1 to 256", ""),
        row(plus("max_connections = «0"), "`listen.max_connections` is 0; it goes from 1 to 1000000", ""),
        row(plus("max_connections_per_client = «1000001"), "is 1000001; it goes from 0 to 1000000", ""),
        row(plus("max_buffered = «\"64KiB\""), "is too small: it begins at 1.0 MiB", "a quarter of the memory"),
        row(plus("max_connections = «-1"), "`listen.max_connections` is -1; it goes from 1", ""),
        row(plus("workers = «1025"), "`listen.workers` is 1025; it goes from 0 to 1024", ""),
        row(plus("workers = «0xffff_ffff_ffff_ffff_ff"), "it goes from 0 to 1024", ""),
        row(plus("workers = «99999999999999999999"), "it goes from 0 to 1024", ""),
        row(plus("[health]\nrise = «0"), "`health.rise` is 0; it goes from 1 to 100", ""),
        row(plus("[health]\nfall = «101"), "`health.fall` is 101; it goes from 1 to 100", ""),
        row(plus("[upstream.default]\nmax_in_flight = «10000001"), "it goes from 0 to 10000000", ""),
    ]);
}

#[test]
fn an_unknown_key_is_refused_with_what_may_have_been_meant() {
    check(&[
        row(with("active =", "«activ = \"blue\"\nactive ="), "the file has no key `activ`", "did you mean `active`?"),
        row(plus("[«helth]\nrise = 2"), "the file has no key `helth`", "did you mean `health`?"),
        row(plus("[[«routes]]\nupstream = \"default\""), "the file has no key `routes`", "did you mean `route`?"),
        row(
            with("dir =", "«write-back = true\ndir ="),
            "[state] has no key `write-back`",
            "did you mean `write_back`?",
        ),
        row(plus("«idle_timout = \"75s\""), "[listen] has no key `idle_timout`", "did you mean `idle_timeout`?"),
        row(
            plus("«colour = \"blue\""),
            "[listen] has no key `colour`",
            "it knows `admin`, `admin_group`, `admin_mode`, `header_timeout`",
        ),
        row(plus("[admin]\n«token = []"), "[admin] has no key `token`", "did you mean `tokens`?"),
        row(plus("[health]\n«intervall = \"2s\""), "[health] has no key `intervall`", "did you mean `interval`?"),
        row(plus("[gate]\n«quorom = \"1%\""), "[gate] has no key `quorom`", "did you mean `quorum`?"),
        row(plus("[drain]\n«stream = \"keep\""), "[drain] has no key `stream`", "did you mean `streams`?"),
        row(
            plus("[upstream.default]\n«max_inflight = 1"),
            "[upstream.default] has no key",
            "did you mean `max_in_flight`?",
        ),
        row(
            plus("[[route]]\nupstream = \"default\"\n«hots = \"a\""),
            "[route] has no key `hots`",
            "did you mean `host`?",
        ),
        row(
            with("release = \"1\"", "release = \"1\"\n«endpoint = []"),
            "[blue] has no key",
            "did you mean `endpoints`?",
        ),
        row(
            with("release = \"2\"", "release = \"2\"\n«Release = \"\""),
            "[green] has no key",
            "did you mean `release`?",
        ),
        row(plus("[readiness]\n«lameduck = \"5s\""), "[readiness] has no key `lameduck`", "did you mean `lame_duck`?"),
        row(plus("[log]\n«fromat = \"json\""), "[log] has no key `fromat`", "did you mean `format`?"),
        row(plus("«\"a\\nb\" = 1"), "[listen] has no key `a\\nb`", "it knows"),
    ]);
}

#[test]
fn what_a_later_version_may_know_is_an_unknown_key() {
    check(&[row(plus("[«mirror]"), "the file has no key `mirror`", "it knows `active`, `admin`, `analysis`, `bake`")]);
}

#[test]
fn labels_that_mean_nothing_are_refused_with_their_place() {
    let label = |entry: &str| plus(&format!("[blue.schema]\norders = {entry}"));
    let probe = |probe: &str| label(&format!("{{ needs = \"1\", probe = {{ {probe} }} }}"));
    check(&[
        row(label("«{ migrates_to = 43 }"), "[blue.schema.orders] has no `needs`", "add `needs = \">=41, <=43\"`"),
        row(label("«43"), "`blue.schema.orders` is an integer; it has to be a table", ""),
        row(
            label("{ needs = «\"41-43\" }"),
            "`blue.schema.orders.needs` is \"41-43\", which says a span with a dash",
            "write \">=41, <=43\"",
        ),
        row(label("{ needs = «\"latest\" }"), "is not a range of versions", "write \"41\", \">=41\""),
        row(label("{ needs = «\">=43, <=41\" }"), "which leaves no version", "write"),
        row(label("{ needs = «43 }"), "`blue.schema.orders.needs` is an integer; it has to be a string", ""),
        row(
            label("{ needs = \"<=42\", migrates_to = «43 }"),
            "is 43, and the release itself needs <=42",
            "let `needs` contain 43",
        ),
        row(
            label("{ needs = \"1\", migrates_to = «-1 }"),
            "`blue.schema.orders.migrates_to` is -1; it goes from 0",
            "",
        ),
        row(
            label("{ needs = \"1\", barrier = «\"write\" }"),
            "`blue.schema.orders.barrier` is \"write\"",
            "it is \"none\", \"applied\" or \"first-write\"",
        ),
        row(label("{ needs = \"1\", «need = \"1\" }"), "has no key `need`", "did you mean `needs`?"),
        row(
            probe("«url = \"http://a/\", jsn = \"/x\"").replace('«', "").replace("jsn", "«jsn"),
            "has no key `jsn`",
            "did you mean `json`?",
        ),
        row(label("{ needs = \"1\", probe = «{ json = \"/x\" } }"), "has no `url`", "add `url = "),
        row(probe("url = «\"https://db.internal/\""), "is not the address of a probe", "without TLS"),
        row(probe("url = «\"127.0.0.1:9001\""), "is not the address of a probe", "write \"http://"),
        row(probe("url = «\"http://user:secret@a/\""), "is not the address of a probe", "write"),
        row(probe("url = \"http://a/\", json = «\"orders\""), "is not a JSON pointer", "write \"/orders\""),
        row(probe("url = \"http://a/\", json = «\"/a~2b\""), "is not a JSON pointer", "write"),
    ]);
}

#[test]
fn a_value_that_means_nothing_is_refused_with_its_place() {
    check(&[
        row(with("\"blue\"", "«\"purple\""), "`active` is \"purple\", which is not a color", "\"blue\" or \"green\""),
        row(with("\"blue\"", "«\"Blue\""), "`active` is \"Blue\", which is not a color", "\"blue\" or \"green\""),
        row(with("\"/var/lib/cutover\"", "«\"\""), "`state.dir` is empty", "name a directory"),
        row(
            with("\"127.0.0.1:8080\"", "«\"127.0.0.1\""),
            "`listen.http` is \"127.0.0.1\", which is not",
            "address and port",
        ),
        row(with("\"127.0.0.1:8080\"", "«\"localhost:8080\""), "which is not an address with a port", "0.0.0.0:8080"),
        row(with("\"127.0.0.1:8080\"", "«\"127.0.0.1:99999\""), "which is not an address with a port", "0.0.0.0:8080"),
        row(with("\"127.0.0.1:9900\"", "«\":9900\""), "which is neither an address with a port nor", "unix:/run/"),
        row(with("\"127.0.0.1:9900\"", "«\"unix:\""), "`listen.admin` is \"unix:\", which is neither", "unix:/run/"),
        row(plus("trusted_proxies = [\"::1\", «\"10.0.0.0/33\"]"), "\"10.0.0.0/33\" is not a network", "10.0.0.0/8"),
        row(plus("trusted_proxies = [«\"ten\"]"), "\"ten\" is not a network", "10.0.0.0/8"),
        row(
            plus("[health]\npath = «\"healthz\""),
            "`health.path` is \"healthz\", which is not a path",
            "begin it with",
        ),
        row(plus("[health]\npath = «\"/a b\""), "`health.path` is \"/a b\", which is not a path", "without spaces"),
        row(plus("[health]\nhost = «\"\""), "`health.host` is \"\", which is not a host", "app.example.com"),
        row(plus("[health]\nhost = «\"a b\""), "`health.host` is \"a b\", which is not a host", "app.example.com"),
        row(plus("[health]\nexpect = «\"2xx\""), "`health.expect` is \"2xx\", which is not a range", "200-299"),
        row(plus("[health]\nexpect = «\"299-200\""), "which is not a range of status codes", "200-299"),
        row(plus("[health]\nexpect = «\"200-600\""), "which is not a range of status codes", "200-299"),
        row(plus("[health]\nexpect = «\"99\""), "which is not a range of status codes", "\"200\""),
        row(plus("[drain]\nstreams = «\"drop\""), "`drain.streams` is \"drop\"", "\"keep\", \"close\" or \"spread\""),
        row(plus("[readiness]\npath = «\"ready\""), "`readiness.path` is \"ready\", which is not a path", "begin it"),
        row(plus("[log]\nformat = «\"xml\""), "`log.format` is \"xml\"", "\"json\" or \"text\""),
        row(plus("[log]\naccess = «\"stderr\""), "`log.access` is \"stderr\"", "a path with a \"/\""),
    ]);
}

#[test]
fn an_endpoint_that_can_not_be_reached_is_refused_with_its_place() {
    let one = |endpoint: &str| with("\"127.0.0.1:9001\"", endpoint);
    check(&[
        row(one("«\"127.0.0.1\""), "\"127.0.0.1\" is not an endpoint", "app.internal:8080"),
        row(one("«\"127.0.0.1:0\""), "\"127.0.0.1:0\" is not an endpoint", "10.0.0.1:8080"),
        row(one("«\"127.0.0.1:65536\""), "is not an endpoint", "10.0.0.1:8080"),
        row(one("«\"10.0.0.300:80\""), "\"10.0.0.300:80\" is not an endpoint", "10.0.0.1:8080"),
        row(one("«\"app.internal\""), "\"app.internal\" is not an endpoint", "app.internal:8080"),
        row(one("«\"srv+app.internal\""), "\"srv+app.internal\" does not name SRV records", "_http._tcp.app.internal"),
        row(one("«\"srv+_http._tcp.app:80\""), "does not name SRV records", "without a port"),
        row(one("«\"srv+_http._tcp.\""), "does not name SRV records", "without a port"),
        row(one("«\"http://app:80\""), "\"http://app:80\" is not an endpoint", "app.internal:8080"),
        row(one("«\"app..internal:80\""), "is not an endpoint", "app.internal:8080"),
        row(one("«\"app:0\""), "\"app:0\" is not an endpoint", "app.internal:8080"),
        row(one("«\"unix:\""), "\"unix:\" is not an endpoint", "unix:/run/app.sock"),
        row(one("«\"\""), "\"\" is not an endpoint", "unix:/run/app.sock"),
        row(one("\"a:1\", «\"a:1\""), "the endpoint \"a:1\" is in this pool twice", "keep one of them"),
        row(one("«5"), "`blue.endpoints` is an integer; it has to be a string", ""),
        row(with("[\"127.0.0.1:9002\"]", "«[]"), "`green.endpoints` has no endpoint", "name at least one"),
    ]);
}

#[test]
fn a_pool_that_is_missing_is_refused_with_its_place() {
    let (blue_api, green_api) = ("[blue.upstreams]\napi = [\"a:1\"]", "[green.upstreams]\napi = [\"a:2\"]");
    let blue = "endpoints = [\"127.0.0.1:9001\"]";
    let green = "endpoints = [\"127.0.0.1:9002\"]";
    let route = "[[route]]\nupstream = \"api\"";
    check(&[
        row(plus("[[route]]\nupstream = «\"api\""), "no color has endpoints for the upstream \"api\"", "api = [\"…\"]"),
        row(plus("[upstream.«api]"), "no color has endpoints for the upstream \"api\"", "or remove this"),
        row(
            with_both(&format!("{blue}\n{blue_api}"), green, "").replace("[green]", "«[green]"),
            "green has no endpoints for the upstream \"api\", and blue has",
            "[green.upstreams]",
        ),
        row(
            with_both(blue, &format!("{green}\n{green_api}"), "").replace("[blue]", "«[blue]"),
            "blue has no endpoints for the upstream \"api\", and green has",
            "[blue.upstreams]",
        ),
        row(
            with_both(blue_api, &format!("{green}\n{green_api}"), route).replace("[blue]", "«[blue]"),
            "blue has no endpoints for the upstream \"default\"",
            "add `endpoints` under [blue]",
        ),
        row(
            with_both(blue_api, green_api, "").replace("[blue]", "«[blue]"),
            "there is no route, and so everything goes to the upstream \"default\"",
            "or a [[route]]",
        ),
        row(
            with_both(&format!("{blue}\n{}", blue_api.replace("api", "«default")), green, ""),
            "`blue.endpoints` are the endpoints of \"default\" already",
            "keep one of them",
        ),
        row(
            with_both(
                &format!("{blue}\n{}", blue_api.replace("[\"a:1\"]", "«[]")),
                &format!("{green}\n{green_api}"),
                "",
            ),
            "`blue.upstreams.api` has no endpoint",
            "name at least one",
        ),
        row(with("\"1\"", "«\"\""), "`blue.release` is \"\", which is not a label", "1 to 200 printable"),
        row(
            with("\"2\"", "«\"a\\u0007\""),
            "`green.release` is \"a\\u{7}\", which is not a label",
            "1 to 200 printable",
        ),
    ]);
}

#[test]
fn an_upstream_without_a_name_is_refused_with_its_place() {
    let error = bad(&with_both(
        "[blue.upstreams]\n'' = ['a:1']",
        "[green.upstreams]\n'' = ['a:2']",
        "[[route]]\nupstream = ''",
    ));
    let help = "the name of an upstream is \"\", which is not a label; write 1 to 200 printable characters";
    assert_eq!(error.to_string(), format!("c.toml:9:1: {help}\nc.toml:14:1: {help}"));
}

#[test]
fn two_colors_without_endpoints_are_two_problems() {
    let error = bad(&with_both("", "upstreams = {}", ""));
    let expected = "c.toml:6:1: [blue] has no `endpoints`; add `endpoints = [\"127.0.0.1:9001\"]`\n\
                    c.toml:10:1: [green] has no `endpoints`; add `endpoints = [\"127.0.0.1:9001\"]`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_route_that_can_not_match_is_refused_with_its_place() {
    let route = |keys: &str| plus(&format!("[[route]]\nupstream = \"default\"\n{keys}"));
    let two = |first: &str, second: &str| route(&format!("{first}\n«[[route]]\nupstream = \"default\"\n{second}"));
    check(&[
        row(route("path = «\"v1\""), "`route.path` is \"v1\", which is not a path", "begin it with \"/\""),
        row(route("path = «\"\""), "`route.path` is \"\", which is not a path", "begin it with \"/\""),
        row(route("path = «\"/a/../b\""), "`route.path` is \"/a/../b\", which no request can match", "normal form"),
        row(route("path = «\"/a%2Fb\""), "`route.path` is \"/a%2Fb\", which no request can match", "normal form"),
        row(route("path = «\"/a;b\""), "`route.path` is \"/a;b\", which no request can match", "normal form"),
        row(route("host = «\"\""), "`route.host` is \"\", which is not a host", "*.example.com"),
        row(route("host = «\"a.example:80\""), "\"a.example:80\", which is not a host", "without a port"),
        row(route("host = «\"*.\""), "`route.host` is \"*.\", which is not a host", "*.example.com"),
        row(route("host = «\"*\""), "`route.host` is \"*\", which is not a host", "*.example.com"),
        row(route("host = «\"a.*.com\""), "`route.host` is \"a.*.com\", which is not a host", "*.example.com"),
        row(route("host = «\"a..com\""), "`route.host` is \"a..com\", which is not a host", "api.example.com"),
        row(route("host = «\"https://a\""), "`route.host` is \"https://a\", which is not a host", "api.example.com"),
        row(route("host = «\"[::g]\""), "`route.host` is \"[::g]\", which is not a host", "api.example.com"),
        row(two("", ""), "another route for the same host and the path \"/\"", "keep one of them"),
        row(
            two("path = \"/v1\"", "path = \"/v1/\""),
            "another route for the same host and the path \"/v1/\"",
            "keep one",
        ),
        row(two("host = \"A.example.\"", "host = \"a.example\""), "another route for the same host", "keep one"),
        row(route("«weight = 5"), "[route] has no key `weight`", "it knows `host`"),
    ]);
}

#[test]
fn a_token_that_proves_nothing_is_refused_with_its_place() {
    let dir = TempDir::new().expect("a directory");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(dir.path(), mode(0o700)).expect("private");
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let (right, empty) = (file("right", "s3cret\n"), file("empty", " \n"));
    let here = dir.path().display().to_string();
    let token = |keys: &str| plus(&format!("[[admin.tokens]]\n{keys}"));
    let open = |admin: &str| with("\"127.0.0.1:9900\"", admin);
    check(&[
        row(open("«\"0.0.0.0:9900\""), "0.0.0.0:9900 can be reached from other machines", "add `tokens` under [admin]"),
        row(open("«\"[::]:9900\"") + "[admin]\ntokens = []", "no token is asked for", "loopback"),
        row(
            token(&format!("name = \"a\"\nrole = «\"root\"\nfile = \"{right}\"")),
            "\"root\" is not a role",
            "\"viewer\"",
        ),
        row(token(&format!("name = «\"\"\nrole = \"viewer\"\nfile = \"{right}\"")), "which is not a label", "1 to 200"),
        row(
            token("name = \"a\"\nrole = \"viewer\"").replace("[[admin", "«[[admin"),
            "[admin.tokens] has no `file`",
            "or `env = ",
        ),
        row(
            token(&format!("role = \"viewer\"\nfile = \"{right}\"")).replace("[[admin", "«[[admin"),
            "[admin.tokens] has no `name`",
            "add `name",
        ),
        row(
            token(&format!("name = \"a\"\nfile = \"{right}\"")).replace("[[admin", "«[[admin"),
            "[admin.tokens] has no `role`",
            "add `role",
        ),
        row(
            token("name = \"a\"\nrole = \"viewer\"\nfile = «\"/no/such\""),
            "the secret in \"/no/such\" can't be read: No such file",
            "",
        ),
        row(token(&format!("name = \"a\"\nrole = \"viewer\"\nfile = «\"{empty}\"")), "is empty", ""),
        row(token(&format!("name = \"a\"\nrole = \"viewer\"\nfile = «\"{here}\"")), "is not a regular file", ""),
        row(token("name = \"a\"\nrole = \"viewer\"\nfile = «5"), "`admin.tokens.file` is an integer", ""),
        row(
            token("name = \"a\"\nrole = \"viewer\"\nenv = «\"CUTOVER_NO_SUCH\""),
            "the environment has no variable \"CUTOVER_NO_SUCH\"",
            "",
        ),
        row(
            token(&format!("name = \"a\"\nrole = \"viewer\"\nfile = \"{right}\"\nenv = «\"PATH\"")),
            "both a `file` and an `env`",
            "keep one of them",
        ),
        row(
            token(&format!("name = \"a\"\nrole = \"viewer\"\nfile = \"{right}\"\n«secret = 1")),
            "[admin.tokens] has no key `secret`",
            "it knows `env`, `file`",
        ),
        row(
            token(&format!(
                "name = \"a\"\nrole = \"viewer\"\nfile = \"{right}\"\n[[admin.tokens]]\nname = «\"a\"\n\
            role = \"viewer\"\nenv = \"PATH\""
            )),
            "two tokens are named \"a\"",
            "a name of its own",
        ),
    ]);
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_and_in_its_order() {
    let error = bad("active = 'red'\n[listen]\nhttp = 1\nadmin = '0.0.0.0:1'\nworkers = -1\n[blue]\nrelese = '1'\n\
                     endpoints = ['a:1']\n[green]\nrelease = '2'\nendpoints = []\n[green.upstreams]\nx = ['a:1']");
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    let expected = [
        "c.toml:1:10: `active` is \"red\"",
        "c.toml:3:8: `listen.http` is an integer",
        "c.toml:4:9: the admin address 0.0.0.0:1 can be reached",
        "c.toml:5:11: `listen.workers` is -1",
        "c.toml:6:1: [blue] has no `release`",
        "c.toml:6:1: blue has no endpoints for the upstream \"x\"",
        "c.toml:7:1: [blue] has no key `relese`",
        "c.toml:11:13: `green.endpoints` has no endpoint",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert_eq!(error.render(false).matches("error: ").count(), expected.len());
}

#[test]
fn more_problems_than_anybody_reads_are_counted() {
    let keys: String = (0..80).map(|number| format!("unknown{number} = 1\n")).collect();
    let error = bad(&plus(&keys));
    assert_eq!(error.diagnostics.len(), 80);
    assert_eq!(error.to_string().lines().count(), 51);
    assert!(error.to_string().ends_with("and 30 more"), "{error}");
    assert!(error.render(false).ends_with("and 30 more\n"));
}

#[test]
fn a_route_with_a_mistake_is_no_missing_route() {
    let text = with_both(
        "upstreams = {api = ['a:1']}",
        "upstreams = {api = ['a:2']}",
        "[[route]]\nupstream = 'api'\nhost = ''",
    );
    assert_eq!(bad(&text).diagnostics.len(), 1, "{}", bad(&text));
}
