mod admin;
mod canary;
mod data_plane;
mod empty_color;
mod gate_check;
mod log;
mod metrics;
mod notify;
mod preview;
mod refused;
mod resolver;
mod without_effect;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ipnet::IpNet;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use toml::Value;

use super::decimal::Decimal;
use super::*;
use crate::domain::deployment::{self, OnClientErrors, OnInsufficient, OnUnsafe};
use crate::domain::release::Release;
use crate::domain::split::Weight;
use crate::tls::{CertificateFiles, TlsVersion};

/// Complete, with `[listen]` last: what a row adds may be keys of it, or sections.
const BASE: &str = r#"active = "blue"

[state]
dir = "/var/lib/cutover"

[blue]
release = "1"
endpoints = ["127.0.0.1:9001"]

[green]
release = "2"
endpoints = ["127.0.0.1:9002"]

[listen]
http = "127.0.0.1:8080"
admin = "127.0.0.1:9900"
"#;

const CUTOVER: &str = include_str!("../../config/cutover.toml");
const REFERENCE: &str = include_str!("../../config/reference.toml");

fn plus(added: &str) -> String {
    format!("{BASE}{added}\n")
}

fn with(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from} is once in the base");
    BASE.replace(from, to)
}

fn with_both(blue: &str, green: &str, routes: &str) -> String {
    let text = with("endpoints = [\"127.0.0.1:9001\"]", blue);
    text.replace("endpoints = [\"127.0.0.1:9002\"]", green) + routes
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("c.toml"), text)
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn bad(text: &str) -> ConfigError {
    parse(text).expect_err("it is wrong")
}

/// A certificate and its key, in one.
static PEM: LazyLock<String> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["test.example.com".to_owned()]).expect("a certificate");
    made.cert.pem() + &made.signing_key.serialize_pem()
});

/// The least that is an answer of an authority: it was asked in vain.
const STAPLE: [u8; 5] = [0x30, 3, 0x0a, 1, 0];

/// A file for TLS, good for everything, and its path.
fn file_in(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, PEM.as_str()).expect("written");
    path.display().to_string()
}

fn share(basis_points: u16) -> Weight {
    Weight::new(basis_points).expect("a share")
}

fn color(release: &str, endpoint: &str) -> ColorConfig {
    let endpoint = EndpointAddress::Ip(endpoint.parse().expect("an address"));
    ColorConfig {
        release: Release::new(release),
        pools: BTreeMap::from([("default".to_owned(), vec![endpoint])]),
        schema: BTreeMap::new(),
        probes: BTreeMap::new(),
    }
}

#[test]
fn the_minimal_file_has_the_defaults_of_the_contract() {
    let seconds = Duration::from_secs;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let upstream = UpstreamConfig {
        protocol: UpstreamProtocol::Http1,
        tls: None,
        balance: Balance::LeastRequests,
        connect_timeout: seconds(2),
        response_timeout: seconds(60),
        idle_timeout: seconds(60),
        stream_idle_timeout: seconds(3_600),
        max_in_flight: None,
        eject: Some(Eject { consecutive: 5, base: seconds(10) }),
        slow_start: seconds(0),
        ping_timeout: seconds(5),
        max_response_headers: 256,
        max_response_header_bytes: 256 << 10,
    };
    let expected = Config {
        active: Color::Blue,
        state: StateConfig {
            dir: "/var/lib/cutover".into(),
            write_back: true,
            file_orders: true,
            names_active: true,
            order_window: seconds(3_600),
        },
        listen: ListenConfig {
            http: "0.0.0.0:8080".parse().expect("an address"),
            https: None,
            https_redirect: None,
            preview: None,
            admin: AdminAddress::Tcp("127.0.0.1:9900".parse().expect("an address")),
            admin_mode: 0o600,
            admin_group: None,
            proxy_protocol: Vec::new(),
            trusted_proxies: Vec::new(),
            max_connections: 10_000,
            max_concurrent_streams: 100,
            max_connections_per_client: None,
            max_buffered: None,
            idle_timeout: seconds(75),
            header_timeout: seconds(10),
            max_header_bytes: 64 << 10,
            max_body: None,
            workers: cores,
        },
        tls: None,
        admin: AdminConfig { tokens: Vec::new(), tls: None, plain: false },
        health: HealthConfig {
            path: None,
            host: None,
            interval: seconds(2),
            timeout: seconds(1),
            rise: 2,
            fall: 3,
            expect: (200, 299),
            release_header: None,
        },
        gate_checks: Vec::new(),
        linger: LingerConfig { paths: Vec::new(), lasts: Duration::from_secs(86_400), budget_percent: 10 },
        gate: GatePolicy { quorum_percent: 100, passes: 1, timeout: seconds(30) },
        drain: DrainConfig { timeout: seconds(30), streams: Streams::Keep, spread: seconds(10) },
        canary: CanaryConfig {
            mode: deployment::Mode::Enforce,
            steps: [500, 2_500, 5_000].map(share).to_vec(),
            dwell: seconds(30),
            max_step: seconds(1_800),
            on_insufficient: OnInsufficient::Hold,
            on_client_errors: OnClientErrors::Back,
            holdback: share(200),
            sticky: Sticky::Off,
            evidence_per_network: 1,
            cookie: VisitorCookie { name: "cutover_visitor".to_owned(), max_age: seconds(30 * 86_400) },
            routes: Vec::new(),
            shield: false,
            shield_budget: share(1_000),
        },
        analysis: AnalysisConfig {
            false_rollback_per_deploy: Decimal::from_millionths(1_000),
            suspect_at: 20,
            tick: seconds(1),
            ratio_tolerated: Decimal::from_millionths(1_500_000),
            error_floor: share(50),
            latency_margin: Decimal::from_millionths(1_500_000),
            latency_min_delta: Duration::from_millis(10),
            pass_error_below: share(100),
            pass_beta: Decimal::from_millionths(50_000),
            max_routes: 64,
            warmup: Warmup { requests: 50, time: seconds(30) },
            cpu: None,
            baseline_unhealthy: share(500),
            cooldown: seconds(600),
            on_unsafe: OnUnsafe::Hold,
            events: Vec::new(),
            ignore: IgnoreConfig::default(),
        },
        bake: BakeConfig { duration: seconds(900), holdback: Weight::NONE, mode: deployment::Mode::Observe },
        hold: HoldConfig { max_requests: 1000, max_bytes: 16 << 20, timeout: Duration::from_secs(30), ready: true },
        maintenance: MaintenanceConfig { status: 503, retry_after: Duration::from_secs(30), page: None },
        headers: HeadersConfig { via: true },
        retry: RetryConfig { attempts: 2, budget_percent: 10 },
        resolver: ResolverConfig::default(),
        upstreams: BTreeMap::from([("default".to_owned(), upstream)]),
        routes: Arc::default(),
        colors: PerColor { blue: color("2.13.0", "127.0.0.1:9001"), green: color("2.14.0", "127.0.0.1:9002") },
        preview: None,
        readiness: ReadinessConfig {
            path: Some("/.cutover/ready".to_owned()),
            lame_duck: seconds(5),
            fail_without_endpoints: false,
        },
        log: LogConfig::default(),
        metrics: MetricsConfig::default(),
        trace: TraceConfig::default(),
        service: ServiceConfig { name: None, environment: None, instance: host.clone(), links: BTreeMap::new() },
        notify: Vec::new(),
        unusable: Vec::new(),
    };
    assert_eq!(good(&format!("{CUTOVER}[state]\ndir = \"/var/lib/cutover\"")), expected);
    // And as it stands, without a directory.
    assert_eq!(good(CUTOVER), Config { state: good(CUTOVER).state, ..expected });
}

/// Nobody else reads what is in this directory.
fn keep_private(dir: &Path) {
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
}

/// The reference with its examples taken in, and with files and secrets that are there.
fn reference_with_examples(dir: &Path) -> String {
    let token_file = dir.join("token");
    keep_private(dir);
    fs::write(&token_file, "s3cret").expect("written");
    fs::write(dir.join("webhook-url"), "https://hooks.example.com/services/T0/B0/x").expect("written");
    fs::write(dir.join("webhook-secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
    for name in ["site.pem", "site.key", "site.ocsp", "clients.pem", "ca.pem", "proxy.pem", "proxy.key"] {
        file_in(dir, name);
    }
    fs::write(dir.join("maintenance.html"), "<p>Back soon.</p>").expect("written");
    fs::write(dir.join("site.ocsp"), STAPLE).expect("written");
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') || line.starts_with("#  {") => {
            line[1..].to_owned()
        }
        _ => line.to_owned(),
    };
    let text: String = REFERENCE.lines().map(|text| line(text) + "\n").collect();
    // Some keys are for a unix socket alone, and TLS is for TCP.
    let (above, rest) = text.split_once("\n[admin.tls]\n").expect("a section");
    let (_, below) = rest.split_once("\n[health]\n").expect("a section");
    let text = format!("{above}\n[health]\n{below}");
    text.replace("admin = \"127.0.0.1:9900\"", "admin = \"unix:/run/cutover/admin.sock\"")
        .replace("/run/credentials/deploy-token", &token_file.display().to_string())
        .replace("/run/credentials/preview", &token_file.display().to_string())
        .replace("/run/credentials/check-token", &token_file.display().to_string())
        .replace("/run/credentials/check-login", &token_file.display().to_string())
        .replace("\"/etc/cutover/", &format!("\"{}/", dir.display()))
        .replace("/run/credentials/webhook-url", &dir.join("webhook-url").display().to_string())
        // The environment of a test has no variable with an address.
        .replace("url_env = \"SLACK_URL\"", &format!("url_file = \"{}\"", dir.join("webhook-url").display()))
        .replace("/run/credentials/webhook-secret", &dir.join("webhook-secret").display().to_string())
        .replace("CUTOVER_VIEWER_TOKEN", "PATH")
}

/// The keys of a file as `section.key`, without the names that the user chooses.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| keys(item, path, found)),
        Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let chosen = ["upstream.default", "blue.schema.orders"].contains(&&*path)
                    || path.contains(".upstreams.")
                    || path.contains("service.links.")
                    || ["headers.", "header_files.", "expect_headers.", "expect_json."]
                        .iter()
                        .any(|named| path.contains(&format!("gate.check.{named}")));
                if !chosen {
                    found.insert(path.clone());
                }
                keys(value, &path, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_reference_says_the_defaults() {
    assert_eq!(good(REFERENCE), good(CUTOVER));
}

#[test]
fn the_reference_has_every_key_that_the_program_asks_for_and_no_other() {
    let dir = TempDir::new().expect("a directory");
    let text = reference_with_examples(dir.path());
    let config = good(&text);
    let tls = config.tls.expect("an example");
    let files = &tls.certificates[0];
    let (cert, key) = (files.cert.display(), files.key.display());
    // Under a section that is an example, what is not named here is a default as well.
    let shortest =
        format!("https = \"0.0.0.0:8443\"\n[tls]\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]");
    let defaults = good(&plus(&shortest)).tls.expect("written");
    let (client_ca, certificates) = (tls.client_ca.clone(), tls.certificates.clone());
    assert_eq!(tls, TlsConfig { client_ca, certificates, ..defaults });
    let preview = config.preview.expect("an example");
    let defaults = good(&plus("[preview]\nallow = [\"10.0.0.0/8\"]")).preview.expect("written");
    let (secret, host) = (preview.secret.clone(), preview.host.clone());
    assert!(secret.is_some() && host.is_some() && preview.name_color);
    assert_eq!(preview, PreviewConfig { secret, host, name_color: true, ..defaults });
    let admin_tls = "[admin.tls]\ncert = \"/etc/cutover/admin.pem\"\n";
    let text = format!("{text}\n{admin_tls}key = \"a.key\"\nclient_ca = \"ca.pem\"\n");
    let (_, notes) = validate::read(&text);
    let mut written = BTreeSet::new();
    keys(&toml::from_str(&text).expect("TOML"), "", &mut written);
    assert!(REFERENCE.contains("#url_env = "));
    written.insert("notify.url_env".to_owned());
    assert_eq!(notes.asked(), written);
}

#[test]
fn every_key_of_the_reference_has_a_comment() {
    let mut explained = false;
    for line in REFERENCE.lines() {
        let example = line.trim_start_matches('#');
        let is_key = example.starts_with(|c: char| c.is_ascii_lowercase()) && example.contains(" = ");
        // Green is like blue, and said to be so; the second upstream is the same again.
        let is_again = ["release = \"2.14.0\"", "endpoints = [\"127.0.0.1:9002\"]"].contains(&line);
        let is_pool = example.starts_with("api = ");
        assert!(!is_key || is_again || is_pool || explained, "{line}");
        explained = line.starts_with("# ");
    }
}

fn everything(dir: &Path) -> String {
    let token = dir.join("token");
    keep_private(dir);
    fs::write(&token, "s3cret-in-a-file\n").expect("written");
    let (url, secret) = (dir.join("url"), dir.join("secret"));
    fs::write(&url, "https://hooks.example.com/s3cret").expect("written");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("written");
    let preview = dir.join("preview");
    fs::write(&preview, "\tlook-s3cret \n").expect("written");
    let pem = file_in(dir, "a.pem");
    let staple = dir.join("staple");
    fs::write(&staple, STAPLE).expect("written");
    format!(
        r#"active = "green"
[state]
dir = "/tmp/with \"quotes\" and \\"
write_back = false
file_orders = false
[listen]
http = "[::1]:8080"
https = "[::1]:8443"
https_redirect = true
preview = "[::1]:8081"
proxy_protocol = ["10.0.0.0/8", "::1"]
admin = "unix:/run/admin.sock"
admin_mode = "0666"
admin_group = "deploy"
trusted_proxies = ["10.0.0.0/8", "192.168.1.1", "fd00::/8"]
max_connections = 7
max_concurrent_streams = 9
max_connections_per_client = 9
max_buffered = "3MiB"
idle_timeout = "1m 1s 500ms"
header_timeout = "1500ms"
max_header_bytes = "9000B"
max_body = "1EiB"
workers = 3
[tls]
min_version = "1.3"
certificates = [{{ cert = "{pem}", key = "{pem}", ocsp = "{staple}" }}, {{ cert = "{other}", key = "{pem}" }}]
client_ca = "{pem}"
client_auth = "request"
handshake_timeout = "1h"
[admin]
tokens = [{{ name = "deploy", role = "operator", file = "{token}" }}, {{ name = "see", role = "viewer", env = "PATH" }}]
[health]
path = "/healthz?full=1"
host = "app.example.com"
interval = "1h"
timeout = "10ms"
rise = 100
fall = 1
expect = "204"
[gate]
quorum = "51%"
passes = 3
timeout = "100ms"
[[gate.check]]
name = "log in"
upstream = "api"
method = "POST"
path = "/session?full=1"
host = "app.example.com"
headers = {{ X-Probe = "1", accept = "text/html" }}
header_files = {{ Authorization = "{token}" }}
body_file = "{token}"
expect = "201"
expect_headers = {{ Content-Type = "json", etag = "" }}
expect_body = "ü \"quoted\""
expect_json = {{ "/a~1b/0" = "x", "/n" = -7, "" = true }}
timeout = "10ms"
times = 10000
on_rollback = true
[[gate.check]]
path = "/"
body = "x\ny"
[linger]
paths = ["/assets/", "/static"]
for = "30days"
budget = "100%"
[drain]
timeout = "1day"
streams = "close"
[retry]
attempts = 0
budget = "100%"
[upstream.api]
protocol = "http2"
tls = {{ ca = "{pem}", server_name = "::1", client_cert = "{pem}", client_key = "{pem}" }}
balance = "round-robin"
eject = {{ consecutive = 1000, for = "1h" }}
slow_start = "1h"
connect_timeout = "10ms"
response_timeout = "1day"
idle_timeout = "90m"
max_in_flight = 10000000
[upstream."a b"]
tls = {{}}
eject = false
[[route]]
host = "*.Example.com."
path = "/v1/"
upstream = "api"
[[route]]
host = "[::1]"
upstream = "a b"
[[route]]
upstream = "default"
[blue]
release = "1 \"beta\" ü"
endpoints = ["10.0.0.1:80", "[::1]:80", "app.internal.:80", "unix:/run/a b.sock"]
upstreams = {{ api = ["a:1"], "a b" = ["b:1"] }}
[green]
release = "2"
endpoints = ["x:1"]
upstreams = {{ api = ["a:2"], "a b" = ["b:2"] }}
[green.schema]
"the orders" = {{ needs = ">40, <44", migrates_to = 43, barrier = "first-write" }}
users = {{ needs = "7", probe = {{ url = "http://db.internal:8080/_schema?now", json = "/a~1b/0" }} }}
[preview]
header = "X-Look"
secret_file = "{preview}"
allow = ["10.0.0.0/8", "::1"]
host = "Preview.Example.com."
name_color = true
[readiness]
path = "/up"
lame_duck = "0s"
fail_without_endpoints = true
[log]
format = "text"
access = "/var/log/access"
redact_query = true
[metrics]
buckets = ["250us", "1s 500ms"]
[trace]
endpoint = "https://collector.internal/otlp/"
ca = "{pem}"
timeout = "3s"
service = "edge"
begin = false
[service]
name = "shop"
environment = "prod"
instance = "edge-1"
links = {{ "Status page" = "https://x/{{from}}...{{to}}" }}
[[notify]]
name = "chat"
kind = "slack"
url_file = "{url}"
events = ["target.*", "deployment.rolled_back"]
min_severity = "page"
timeout = "1s 500ms"
retry = ["100ms", "1day"]
[[notify]]
name = "log"
kind = "webhook"
url_file = "{url}"
secret_files = ["{secret}", "{secret}"]
"#,
        url = url.display(),
        secret = secret.display(),
        token = token.display(),
        preview = preview.display(),
        staple = staple.display(),
        other = file_in(dir, "other.pem"),
    )
}

#[test]
fn what_is_rendered_reads_as_the_same_configuration() {
    let dir = TempDir::new().expect("a directory");
    let mut config = good(&everything(dir.path()));
    // Secrets are not rendered, and tokens without them can't be read.
    config.admin.tokens.clear();
    for config in [config, good(BASE), good(CUTOVER)] {
        let again = good(&config.render());
        assert_eq!(again, config);
        assert_eq!(again.render(), config.render());
        assert_eq!(config.differences(&again), Vec::<String>::new());
    }
}

#[test]
fn differences_name_the_key_and_both_values() {
    let next = with("\"blue\"", "\"green\"") + "[drain]\ntimeout = \"1m\"\n";
    let differences = good(BASE).differences(&good(&next));
    assert_eq!(differences, ["active: \"blue\" -> \"green\"", "drain.timeout: \"30s\" -> \"1m\""]);
}

#[test]
fn differences_of_a_long_list_name_the_entries_and_not_all_of_them() {
    let routes = |numbers: &mut dyn Iterator<Item = u32>| -> Config {
        let route = |number| format!("[[route]]\npath = \"/{number}\"\nupstream = \"default\"\n");
        good(&plus(&numbers.map(route).collect::<String>()))
    };
    let before = routes(&mut (0..100));
    let entry = |number: u32| format!("{{ path = \"/{number}\", upstream = \"default\" }}");
    let one = before.differences(&routes(&mut (0..50).chain([700]).chain(51..100)));
    assert_eq!(one, [format!("route: {} -> gone", entry(50)), format!("route: new, {}", entry(700))]);
    assert_eq!(before.differences(&routes(&mut (0..100).rev())), ["route: another order"]);
    let others = before.differences(&routes(&mut (200..300)));
    assert_eq!((others.len(), &*others[16]), (17, "route: 184 more changes"));
    let endpoints = |count: u32| {
        let list: Vec<_> = (1..=count).map(|number| format!("\"127.0.0.1:{number}\"")).collect();
        good(&with("[\"127.0.0.1:9001\"]", &format!("[{}]", list.join(", "))))
    };
    assert_eq!(endpoints(20).differences(&endpoints(19)), ["blue.upstreams.default: \"127.0.0.1:20\" -> gone"]);
    assert_eq!(
        endpoints(2).differences(&endpoints(1)),
        ["blue.upstreams.default: [\"127.0.0.1:1\", \"127.0.0.1:2\"] -> [\"127.0.0.1:1\"]"]
    );
}

#[test]
fn a_secret_appears_nowhere() {
    let dir = TempDir::new().expect("a directory");
    let text = everything(dir.path());
    let config = good(&text);
    let secrets: Vec<&str> =
        config.admin.tokens.iter().flat_map(|token| &token.secret).map(|secret| secret.0.as_str()).collect();
    assert_eq!(secrets[0], "s3cret-in-a-file");
    let preview = config.preview.as_ref().and_then(|preview| preview.secret.as_ref()).expect("it is there");
    assert_eq!(preview.secret, Some(Secret("look-s3cret".to_owned())));
    assert!(secrets[1].contains('/'), "the path of the commands, in place of a token");
    let mut other = config.clone();
    other.admin.tokens[0].secret = Some(Secret("0ther".to_owned()));
    let secret = PreviewSecret { secret: Some(Secret("0ther".to_owned())), ..preview.clone() };
    other.preview = other.preview.map(|preview| PreviewConfig { secret: Some(secret), ..preview });
    let wrong = bad(&text.replace("\"deploy\"", "\"see\"").replace("[log]", "[logs]"));
    let shown = [
        format!("{config:?} {config:#?}"),
        config.render(),
        format!("{:?}", config.differences(&other)),
        format!("{:?}", other.differences(&config)),
        format!("{wrong} {wrong:?} {}", wrong.render(true)),
    ];
    for shown in shown {
        assert!(!secrets.iter().any(|secret| shown.contains(secret)) && !shown.contains("look-s3cret"), "{shown}");
        assert!(!shown.contains("0ther"), "{shown}");
    }
    assert_eq!(config.differences(&other), ["admin.tokens: a secret", "preview.secret_file: a secret"]);
}

#[test]
fn a_secret_that_was_written_into_the_file_is_refused_without_showing_it() {
    let wrong = [
        "[admin]\ntokens = [{ name = 'a', role = 'viewer', secret = 's3cret' }]",
        "[admin]\ntokens = [{ name = 'a', role = 'boss', env = 'PATH', secret = { is = 's3cret' } }]",
        "[admin]\ntokens = ['s3cret']",
        "[admin]\ntokens = 's3cret'",
        "[admin]\ntoken = 's3cret'",
        "[[admin.tokens]]\nname = 'a'\nrole = 'viewer'\nfile = ['s3cret']",
        "[preview]\nallow = ['10.1.1.1']\nsecret = 's3cret'",
        "[preview]\nsecret_file = ['s3cret']",
        "preview = '127.0.0.1:1'\n[preview]\nsecret_files = 's3cret'",
        "[[admin.tokens]]\nname = 'a'\nrole = 'viewer'\nenv = 'PATH'\ntoken = \"\"\"\ns3cret\n\"\"\"\nfiles = 's3cret'",
    ];
    for text in wrong {
        let error = bad(&plus(text));
        let shown = format!("{error} {error:?} {}", error.render(false));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(!error.source.contains("s3cret") && error.source.lines().count() == plus(text).lines().count());
    }
}

#[test]
fn what_can_not_change_at_run_time_is_refused_with_its_place() {
    let current = good(&plus("workers = 1"));
    let refused = |text: &str| current.check_fixed(&good(text), Path::new("c.toml"), text).expect_err("it changed");
    let place = |text: &str| refused(text).to_string();
    let help = "; put it back, or restart the proxy";
    let text = plus("workers = 1");
    let cases = [
        (text.replace("8080", "8081"), "c.toml:15:8: `listen.http` can't change while the proxy runs"),
        (text.replace("9900", "9901"), "c.toml:16:9: `listen.admin` can't change while the proxy runs"),
        (
            text.replace("workers = 1", "workers = 2"),
            "c.toml:17:11: `listen.workers` can't change while the proxy runs",
        ),
        (text.replace("/lib/", "/run/"), "c.toml:4:7: `state.dir` can't change while the proxy runs"),
        (
            text.clone() + "[metrics]\nbuckets = [\"1s\"]",
            "c.toml:19:11: `metrics.buckets` can't change while the proxy runs",
        ),
        (text.clone() + "[log]\nformat = \"text\"", "c.toml:19:10: `log.format` can't change while the proxy runs"),
    ];
    for (text, expected) in cases {
        assert_eq!(place(&text), format!("{expected}{help}"));
    }
    // Defaults that replaced unusable values are shown in place, all at once.
    let gone = place(&text.replace("workers = 1", "").replace("/lib/", "/run/").replace("8080", "1"));
    let places: Vec<&str> = gone.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = if current.listen.workers == good(BASE).listen.workers {
        vec!["c.toml:4:7", "c.toml:15:8"]
    } else {
        vec!["c.toml:4:7", "c.toml:14:1", "c.toml:15:8"]
    };
    assert_eq!(places, expected, "{gone}");
}

#[test]
fn what_may_change_at_run_time_is_not_refused() {
    let next = with("\"blue\"", "\"green\"").replace("9001", "9003") + "idle_timeout = \"1s\"\n[log]\naccess = \"off\"";
    assert_eq!(good(BASE).check_fixed(&good(&next), Path::new("c.toml"), &next), Ok(()));
}

/// Runs what might hang.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("an answer")
}

#[test]
fn what_is_no_text_file_is_refused_and_never_waited_for() {
    let dir = TempDir::new().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    fs::write(path("latin1"), b"active = \"gr\xfcn\"").expect("written");
    fs::write(path("large"), vec![b'#'; (4 << 20) + 1]).expect("written");
    fs::write(path("limit"), [BASE.as_bytes(), &vec![b'#'; (4 << 20) - BASE.len()]].concat()).expect("written");
    fs::create_dir(path("directory")).expect("made");
    mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
    std::os::unix::fs::symlink("loop", path("loop")).expect("made");
    std::os::unix::fs::symlink("nothing", path("dangling")).expect("made");
    let refused = |name: &str| {
        let path = path(name);
        let error = in_time(move || Config::load(&path)).expect_err("it is no configuration");
        assert_eq!(error.render(false), format!("{error}\n"));
        error.to_string()
    };
    assert!(refused("latin1").ends_with("latin1: is not UTF-8 from byte 12 on"));
    assert!(refused("large").ends_with("large: is larger than 4 MiB, the most that is read"));
    assert!(refused("directory").ends_with("directory: is not a regular file"));
    assert!(refused("pipe").ends_with("pipe: is not a regular file"));
    assert!(refused("loop").contains("loop: can't be read: "));
    assert!(refused("dangling").contains("dangling: can't be read: No such file"));
    assert!(refused("nothing").contains("nothing: can't be read: No such file"));
    let limit = path("limit");
    in_time(move || Config::load(&limit)).expect("exactly the limit is read");
    let pipe = path("pipe").display().to_string();
    let text = plus(&format!("admin = \"x\"\n[[admin.tokens]]\nname = \"a\"\nrole = \"viewer\"\nfile = \"{pipe}\""))
        .replacen("admin = \"127.0.0.1:9900\"\n", "", 1);
    assert!(in_time(move || bad(&text)).to_string().contains("pipe\" is not a regular file"));
}

#[test]
fn hostile_text_is_refused_without_a_panic() {
    let many = |what: &str| what.repeat(100_000);
    let texts = [
        String::new(),
        "\0".to_owned(),
        "\u{feff}".to_owned(),
        BASE.replace('\n', "\0"),
        BASE.replace('\n', "\r"),
        format!("x = {}", many("[")),
        format!("x = {}", many("{a=")),
        format!("[{}a]", many("a.")),
        format!("{}a = 1", many("a.")),
        format!("x = \"{}", many("ü")),
        plus(&format!("{} = 1", many("k"))),
        plus(&format!("idle_timeout = \"{}\"", many("1\\u001b"))),
        plus(&format!("idle_timeout = \"{}s\"", many("9"))),
        plus(&format!("max_body = \"{}GiB\"", many("9"))),
        plus(&format!("workers = {}", many("9"))),
        with("127.0.0.1:9001", &many("a.")),
        with("\"blue\"", &format!("\"{}\"", many("blue"))),
    ];
    for text in texts {
        let (error, drawn) = in_time(move || {
            let error = bad(&text);
            let drawn = error.render(false);
            (error, drawn)
        });
        assert!(!error.diagnostics.is_empty());
        let shown = error.to_string();
        let longest = shown.lines().map(str::len).max().unwrap_or(0);
        assert!(longest < 500, "{longest} bytes of message: {shown:.300}");
        assert!(!shown.contains(['\u{1b}', '\0']), "{shown:?}");
        assert!(drawn.starts_with("error: ") || error.source.is_empty(), "{drawn:.300}");
    }
}

#[test]
fn a_file_that_is_cut_or_garbled_anywhere_is_read_without_a_panic() {
    let boundaries = (0..REFERENCE.len()).step_by(61).filter(|at| REFERENCE.is_char_boundary(*at));
    for at in boundaries {
        for garbled in ["", "\"", "[", "]]", "=", "ü", "\n", "'''"] {
            let rest = if garbled.is_empty() { "" } else { &REFERENCE[at..] };
            let text = format!("{}{garbled}{rest}", &REFERENCE[..at]);
            if let Err(error) = parse(&text) {
                assert!(!error.diagnostics.is_empty() && !error.render(false).is_empty());
            }
        }
    }
}

#[test]
fn a_very_long_list_is_read_in_time() {
    let endpoints: String = (0..30_000).map(|number| format!("\"host{number}:80\",")).collect();
    let routes: String =
        (0..30_000).map(|number| format!("[[route]]\nupstream = \"default\"\npath = \"/{number}\"\n")).collect();
    let upstreams: String = (0..10_000).map(|number| format!("[upstream.x{number}]\n")).collect();
    let text = with("[\"127.0.0.1:9001\"]", &format!("[{endpoints}]")) + &routes;
    let config = in_time(move || good(&text));
    assert_eq!(config.colors.blue.pools["default"].len(), 30_000);
    assert_eq!(config.routes.len(), 30_000);
    let error = in_time(move || bad(&plus(&(routes + &upstreams))));
    assert_eq!(error.diagnostics.len(), 10_000);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let text = format!("\u{feff}{}", BASE.replace('\n', "\r\n"));
    assert_eq!(good(&text), good(BASE));
    let error = bad(&text.replace("\"127.0.0.1:8080\"", "8080"));
    assert!(error.to_string().starts_with("c.toml:15:8: "), "{error}");
    assert!(bad("\u{feff}x = 1").to_string().contains("c.toml:1:1: the file has no key `x`"));
}
