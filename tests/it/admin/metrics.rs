//! `/metrics`: well formed in both formats, complete from the start, and counting right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::admin::pair;
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

/// A page that was read strictly.
#[derive(Debug, Default)]
struct Page {
    /// Kind by family.
    families: BTreeMap<String, String>,
    /// By name and sorted labels, as `name{a="b"}`.
    samples: BTreeMap<String, f64>,
}

impl Page {
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("{series} is missing in {:#?}", self.samples.keys()))
    }

    /// The sum of all series of a name whose labels have all of these.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.samples.iter().filter(|(series, _)| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        });
        series.map(|(_, value)| value).sum()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Name and labels of a sample, and what follows.
fn series(line: &str) -> (String, Vec<(String, String)>, &str) {
    let end = line.find(['{', ' ']).expect("a name ends");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, value) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let mut text = String::new();
            let mut characters = value.char_indices();
            let end = loop {
                match characters.next().expect("a value ends") {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next().expect("an escape").1 {
                        'n' => text.push('\n'),
                        other => {
                            assert!(matches!(other, '\\' | '"'), "{line}");
                            text.push(other);
                        }
                    },
                    (_, other) => text.push(other),
                }
            };
            // The same bound is `1` in one format, and `1.0` in the other.
            let bound = text.parse::<f64>().ok().filter(|bound| label == "le" && bound.is_finite());
            labels.push((label.to_owned(), bound.map_or(text, |bound| bound.to_string())));
            rest = &value[end + 1..];
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => {
                    rest = &rest[1..];
                    break;
                }
                _ => panic!("{line}"),
            }
        }
    }
    (name.to_owned(), labels, rest)
}

/// Reads a page as a scraper does, and panics at whatever is not as the format says.
fn parsed(text: &str, open: bool) -> Page {
    let mut page = Page::default();
    let text = if open {
        text.strip_suffix("# EOF\n").expect("OpenMetrics says where it ends")
    } else {
        assert!(!text.contains("# EOF"));
        text
    };
    assert!(text.ends_with('\n'));
    let mut family = (String::new(), String::new());
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').expect("a sentence");
            assert!(is_name(name) && !sentence.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "{name} comes twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind");
            assert!(helped.contains(name), "{name} is not explained");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(page.families.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
            family = (name.to_owned(), kind.to_owned());
        } else {
            let (name, mut labels, rest) = series(line);
            let suffix = name.strip_prefix(family.0.as_str()).unwrap_or_else(|| panic!("{line} is not of {family:?}"));
            let fits = match (family.1.as_str(), open) {
                ("counter", true) => suffix == "_total",
                ("counter", false) => suffix.is_empty() && name.ends_with("_total"),
                ("histogram", _) => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => suffix.is_empty() && !name.ends_with("_total"),
            };
            assert!(fits, "{line} is not of a {}", family.1);
            let value: f64 = rest.strip_prefix(' ').and_then(|value| value.parse().ok()).expect("a value");
            assert!(value.is_finite() && (value >= 0.0 || family.1 == "gauge"), "{line}");
            labels.sort();
            assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "{line} has a label twice");
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            let key = if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) };
            assert!(page.samples.insert(key.clone(), value).is_none(), "{key} comes twice");
        }
    }
    histograms(&page);
    page
}

/// Buckets only grow, and the last one is the count.
fn histograms(page: &Page) {
    for (family, _) in page.families.iter().filter(|(_, kind)| *kind == "histogram") {
        let mut of_series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &page.samples {
            let Some(labels) = series.strip_prefix(&format!("{family}_bucket{{")) else { continue };
            let (bound, others): (Vec<_>, Vec<_>) =
                labels.trim_end_matches('}').split(',').partition(|label| label.starts_with("le="));
            let bound = bound[0].trim_start_matches("le=").trim_matches('"');
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
            of_series.entry(others.join(",")).or_default().push((bound, *value));
        }
        assert!(!of_series.is_empty(), "{family} has no buckets");
        for (labels, mut buckets) in of_series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{family} {labels}: {buckets:?}");
            let last = buckets.last().expect("at least one");
            assert_eq!(last.0, f64::INFINITY, "{family} {labels}");
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            assert_eq!(last.1, page.value(&format!("{family}_count{braced}")), "{family} {labels}");
            page.value(&format!("{family}_sum{braced}"));
        }
    }
}

async fn scraped(proxy: &Proxy) -> Page {
    let answer = proxy.admin("GET", "/metrics", "").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parsed(answer.text(), false)
}

#[tokio::test]
async fn every_series_of_the_contract_is_there_before_anything_happened() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let page = scraped(&proxy).await;
    for (series, value) in [
        ("cutover_active{color=\"blue\"}", 1.0),
        ("cutover_active{color=\"green\"}", 0.0),
        ("cutover_generation", 1.0),
        ("cutover_rollback_possible", 0.0),
        ("cutover_rollback_safe", -1.0),
        ("cutover_durable", 1.0),
        ("cutover_ledger_rewrites_total", 0.0),
        ("cutover_ledger_writable", 1.0),
        ("cutover_frozen", 0.0),
        ("cutover_quarantined_releases", 0.0),
        ("cutover_release_info{color=\"blue\",release=\"1.0\"}", 1.0),
        ("cutover_release_info{color=\"green\",release=\"2.0\"}", 1.0),
        ("cutover_route_latency_seconds_count{color=\"blue\",route=\"~other\"}", 0.0),
        ("cutover_unusable_files", 0.0),
        ("cutover_drain_seconds_count", 0.0),
        ("cutover_drain_seconds_sum", 0.0),
        ("cutover_open_connections{listener=\"http\"}", 0.0),
        ("cutover_descriptors_taken{side=\"client\"}", 0.0),
        ("cutover_descriptors_taken{side=\"endpoint\"}", 0.0),
        ("cutover_config_last_reload_successful", 1.0),
        ("cutover_file_disagrees", 0.0),
        ("cutover_phase{phase=\"steady\"}", 1.0),
        ("cutover_phase{phase=\"canary\"}", 0.0),
        ("cutover_phase{phase=\"baking\"}", 0.0),
        ("cutover_phase{phase=\"gating\"}", 0.0),
        ("cutover_phase{phase=\"holding\"}", 0.0),
        ("cutover_phase{phase=\"committing\"}", 0.0),
        ("cutover_maintenance", 0.0),
        ("cutover_held_requests", 0.0),
        ("cutover_held_bytes", 0.0),
        ("cutover_hold_outcomes_total{outcome=\"released\"}", 0.0),
        ("cutover_hold_seconds_count", 0.0),
        ("cutover_access_log_dropped_lines_total", 0.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    assert!(page.value("cutover_buffered_bytes") < page.value("cutover_buffered_limit_bytes"));
    for class in ["errors", "latency", "client_errors", "aborts", "cpu"] {
        assert_eq!(page.value(&format!("cutover_evidence{{class=\"{class}\"}}")), 0.0, "{class}");
    }
    for trigger in ["api", "file", "automatic"] {
        assert_eq!(page.value(&format!("cutover_rollbacks_total{{trigger=\"{trigger}\"}}")), 0.0, "{trigger}");
    }
    for trigger in ["api", "file", "rollback"] {
        for outcome in ["done", "refused", "unchanged"] {
            let series = format!("cutover_switches_total{{outcome=\"{outcome}\",trigger=\"{trigger}\"}}");
            assert_eq!(page.value(&series), 0.0, "{series}");
        }
    }
    for (color, share) in [("blue", 1.0), ("green", 0.0)] {
        assert_eq!(page.value(&format!("cutover_split_weight{{color=\"{color}\"}}")), share);
    }
    for (color, address) in [("blue", blue.address), ("green", green.address)] {
        for code in ["1xx", "2xx", "3xx", "4xx", "5xx", "client_left"] {
            let labels = format!("code=\"{code}\",color=\"{color}\",upstream=\"default\"");
            assert_eq!(page.value(&format!("cutover_http_requests_total{{{labels}}}")), 0.0);
        }
        let labels = format!("color=\"{color}\",upstream=\"default\"");
        for name in [
            "cutover_http_request_duration_seconds_count",
            "cutover_http_request_duration_seconds_sum",
            "cutover_upstream_response_seconds_count",
            "cutover_endpoints_ejected",
            "cutover_upstream_connect_errors_total",
            "cutover_retries_total",
            "cutover_shielded_total",
        ] {
            assert_eq!(page.value(&format!("{name}{{{labels}}}")), 0.0, "{name}");
        }
        for kind in ["request", "stream", "tunnel"] {
            for name in ["cutover_http_requests_in_flight", "cutover_draining"] {
                assert_eq!(page.value(&format!("{name}{{color=\"{color}\",kind=\"{kind}\"}}")), 0.0, "{name}");
            }
        }
        page.value(&format!("cutover_endpoint_up{{color=\"{color}\",endpoint=\"{address}\",upstream=\"default\"}}"));
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    for series in [
        "cutover_last_switch_timestamp_seconds",
        "cutover_config_last_reload_success_timestamp_seconds",
        "process_start_time_seconds",
    ] {
        let at = page.value(series);
        assert!(at > 1.7e9 && at < now + 3600.0, "{series} is a time in seconds: {at}");
    }
    for series in
        ["process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds", "process_threads"]
    {
        assert!(page.value(series) > 0.0, "{series}");
    }
    page.value("process_cpu_seconds_total");
    page.value("process_max_fds");
    assert_eq!(page.value(&format!("cutover_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

#[tokio::test]
async fn a_scrape_with_two_thousand_endpoints_stays_small() {
    // Nobody listens on these: health says so, and costs nothing.
    let endpoints = |net: u8| {
        let all: Vec<_> = (0..1_000).map(|n| format!("\"127.{net}.{}.{}:1\"", n / 250, n % 250 + 1)).collect();
        format!("release = \"{net}\"\nendpoints = [{}]", all.join(", "))
    };
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    (setup.blue, setup.green) = (endpoints(1), endpoints(2));
    setup.health = "interval = \"60s\"".to_owned();
    let proxy = setup.start().await;
    let answer = proxy.admin("GET", "/metrics", "").await;
    let page = parsed(answer.text(), false);
    assert_eq!(page.samples.keys().filter(|series| series.starts_with("cutover_endpoint_up")).count(), 2_000);
    assert!(answer.text().len() <= 2 << 20, "{} bytes", answer.text().len());
}

#[tokio::test]
async fn a_freeze_a_quarantine_and_the_time_of_the_endpoint_can_be_seen() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.get("/").await;
    proxy.switch("green").await;
    proxy.post("/admin/rollback", json!({ "quarantine": true, "reason": "a test" })).await;
    proxy.post("/admin/freeze", json!({ "reason": "a test" })).await;
    let page = until("the request is counted", async || {
        let page = scraped(&proxy).await;
        (page.sum("cutover_upstream_response_seconds_count", &["blue"]) > 0.0).then_some(page)
    })
    .await;
    assert_eq!(page.value("cutover_frozen"), 1.0);
    assert_eq!(page.value("cutover_quarantined_releases"), 1.0);
    let labels = "{color=\"blue\",upstream=\"default\"}";
    let (of_endpoint, whole) = ["cutover_upstream_response_seconds_sum", "cutover_http_request_duration_seconds_sum"]
        .map(|name| page.value(&format!("{name}{labels}")))
        .into();
    assert!(of_endpoint > 0.0 && of_endpoint <= whole, "{of_endpoint} of {whole}");
}

#[tokio::test]
async fn both_formats_say_the_same() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.get("/").await;
    proxy.switch("green").await;
    until("the request is counted", async || {
        (scraped(&proxy).await.sum("cutover_http_requests_total", &["2xx"]) > 0.0).then_some(())
    })
    .await;
    // Nothing may change between the two pages.
    proxy
        .until("all is at rest", |status| {
            let up = ["blue", "green"].iter().all(|color| status[color]["endpoints"][0]["health"] == "up");
            up && status["file"]["disagrees"] == false && status["draining"].is_null()
        })
        .await;
    until("no connection is open", async || {
        (scraped(&proxy).await.value("cutover_open_connections{listener=\"http\"}") == 0.0).then_some(())
    })
    .await;
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    // As Prometheus asks for it.
    connection
        .send(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\
             Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3\r\n\r\n",
        )
        .await;
    let answer = connection.answer().await;
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let open = parsed(answer.text(), true);
    let classic = scraped(&proxy).await;
    let names = |page: &Page| page.samples.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&open), names(&classic));
    // Health checks come and go between the two.
    let rests = |series: &str| series.starts_with("cutover_") && series != "cutover_buffered_bytes";
    for (series, value) in open.samples.iter().filter(|(series, _)| rests(series)) {
        assert_eq!(classic.value(series), *value, "{series}");
    }
}

#[tokio::test]
async fn the_counts_add_up() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for path in ["/", "/", "/empty", "/vanishes"] {
        proxy.get(path).await;
    }
    proxy.switch("green").await;
    proxy.switch("green").await;
    proxy.get("/").await;
    blue.set_healthy(false);
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.json()["code"], "unhealthy");
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "blue", "if_generation": 99 })).await.status, 412);
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "blue", "force": true, "dry_run": true })).await.status, 200);
    blue.set_healthy(true);
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    until("the file is put right", async || proxy.text().contains("active = \"blue\"").then_some(())).await;
    // Another release: the file does not order back what a rollback has just left.
    proxy.replace_file(&proxy.ordering("green").replace("release = \"2.0\"", "release = \"2.1\""));
    proxy.until_color("green").await;

    let page = until("all five requests are counted", async || {
        Some(scraped(&proxy).await).filter(|page| page.sum("cutover_http_requests_total", &[]) == 5.0)
    })
    .await;
    let requests = |color: &str, code: &str| page.sum("cutover_http_requests_total", &[color, code]);
    assert_eq!((requests("blue", "2xx"), requests("blue", "5xx"), requests("green", "2xx")), (3.0, 1.0, 1.0));
    for (color, count) in [("blue", 4.0), ("green", 1.0)] {
        assert_eq!(page.sum("cutover_http_request_duration_seconds_count", &[color]), count, "{color}");
    }
    let switches = |trigger: &str, outcome: &str| {
        page.value(&format!("cutover_switches_total{{outcome=\"{outcome}\",trigger=\"{trigger}\"}}"))
    };
    assert_eq!((switches("api", "done"), switches("api", "unchanged"), switches("api", "refused")), (1.0, 1.0, 1.0));
    assert_eq!((switches("rollback", "done"), switches("rollback", "refused")), (1.0, 1.0));
    assert_eq!((switches("file", "done"), switches("file", "refused")), (1.0, 0.0));
    assert_eq!(page.value("cutover_active{color=\"green\"}"), 1.0);
    assert_eq!(page.value("cutover_active{color=\"blue\"}"), 0.0);
    assert_eq!(page.value("cutover_generation"), 4.0);
    assert_eq!(page.value("cutover_rollback_possible"), 1.0);
    until("each drain is counted", async || {
        (scraped(&proxy).await.value("cutover_drain_seconds_count") == 3.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_under_way_is_shown_by_kind_and_as_draining() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut gated = proxy.connect().await;
    gated.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gated.head().await.expect("a head");
    proxy.until("both are under way", |status| status["blue"]["requests"] == 1 && status["blue"]["streams"] == 1).await;
    proxy.switch("green").await;
    let page = scraped(&proxy).await;
    for name in ["cutover_http_requests_in_flight", "cutover_draining"] {
        assert_eq!(page.value(&format!("{name}{{color=\"blue\",kind=\"request\"}}")), 1.0, "{name}");
        assert_eq!(page.value(&format!("{name}{{color=\"blue\",kind=\"stream\"}}")), 1.0, "{name}");
        assert_eq!(page.sum(name, &["green"]), 0.0, "{name}");
    }
    assert_eq!(page.value("cutover_open_connections{listener=\"http\"}"), 2.0);
    assert_eq!(page.value("cutover_drain_seconds_count"), 0.0);
    blue.open_gate();
    late.answer().await;
    let page = until("the drain is counted", async || {
        Some(scraped(&proxy).await).filter(|page| page.value("cutover_drain_seconds_count") == 1.0)
    })
    .await;
    assert_eq!(page.sum("cutover_draining", &[]), 0.0);
}

#[tokio::test]
async fn an_endpoint_that_goes_down_and_a_file_that_is_wrong_can_be_seen() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let up = format!("cutover_endpoint_up{{color=\"blue\",endpoint=\"{}\",upstream=\"default\"}}", blue.address);
    until("it is seen to be up", async || (scraped(&proxy).await.value(&up) == 1.0).then_some(())).await;
    blue.set_healthy(false);
    until("it is seen to be down", async || (scraped(&proxy).await.value(&up) == 0.0).then_some(())).await;
    proxy.replace_file("active = \"red\"\n");
    until("the file is seen to be wrong", async || {
        (scraped(&proxy).await.value("cutover_config_last_reload_successful") == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_that_can_not_be_made_are_counted() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    // Probed at the start and then not for an hour, so that requests still go there.
    let text = Setup::new(&blue, &green).text(dir.path()).replace("interval = \"100ms\"", "interval = \"1h\"");
    let proxy = Proxy::start_in(dir, &text).await;
    proxy.until("blue is up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    drop(blue);
    until("a connection was tried in vain", async || {
        proxy.get("/").await;
        let page = scraped(&proxy).await;
        let errors = page.sum("cutover_upstream_connect_errors_total", &["blue"]);
        (errors > 0.0 && page.sum("cutover_http_requests_total", &["blue", "5xx"]) > 0.0).then_some(())
    })
    .await;
}
