//! TLS, the PROXY protocol, retries and the policy of upstreams: what is read, and what is refused.

use tempfile::TempDir;

use super::refused::{Row, check, row};
use super::*;

/// Files for TLS, all of them empty.
struct Files {
    _dir: TempDir,
    pem: String,
}

impl Files {
    fn new() -> Files {
        let dir = TempDir::new().expect("a directory");
        let pem = file_in(dir.path(), "a.pem");
        Files { _dir: dir, pem }
    }

    /// The base with https. `added` is under [tls]; `PEM` stands for a file that is there.
    fn https(&self, listen: &str, added: &str) -> String {
        let certificates = "certificates = [{ cert = \"PEM\", key = \"PEM\" }]";
        let text = plus(&format!("https = \"127.0.0.1:8443\"\n{listen}\n[tls]\n{certificates}\n{added}"));
        text.replace("PEM", &self.pem)
    }

    /// The base with https and these certificates.
    fn certificates(&self, certificates: &str) -> String {
        plus(&format!("https = \"127.0.0.1:8443\"\n«[tls]\n{certificates}")).replace("PEM", &self.pem)
    }

    fn row(&self, text: &str, reason: &'static str, repair: &'static str) -> Row {
        row(text.replace("PEM", &self.pem), reason, repair)
    }
}

fn upstream(keys: &str) -> String {
    plus(&format!("[upstream.default]\n{keys}"))
}

fn policy(keys: &str) -> UpstreamConfig {
    good(&upstream(keys)).upstreams.remove("default").expect("an upstream")
}

#[test]
fn tls_with_clients_has_its_defaults() {
    let files = Files::new();
    let config = good(&files.https("", ""));
    let pem = PathBuf::from(&files.pem);
    let expected = TlsConfig {
        min_version: TlsVersion::V12,
        certificates: vec![CertificateFiles { cert: pem.clone(), key: pem, ocsp: None }],
        client_ca: None,
        client_auth: ClientAuth::Require,
        handshake_timeout: Duration::from_secs(10),
    };
    assert_eq!(config.tls, Some(expected));
    assert_eq!(config.listen.https, Some("127.0.0.1:8443".parse().expect("an address")));
    assert_eq!(config.listen.https_redirect, None);
}

#[test]
fn the_redirect_goes_to_the_port_of_https_or_to_another() {
    let files = Files::new();
    let redirect = |listen: &str| good(&files.https(listen, "")).listen.https_redirect;
    assert_eq!(redirect("https_redirect = false"), None);
    assert_eq!(redirect("https_redirect = true"), Some(HttpsRedirect { port: 8443 }));
    assert_eq!(redirect("https_redirect = 443"), Some(HttpsRedirect { port: 443 }));
    assert_eq!(redirect("https_redirect = 65535"), Some(HttpsRedirect { port: 65535 }));
    assert_eq!(good(&plus("https_redirect = false")).listen.https_redirect, None);
    // A port that is not known here can still be redirected to by its number.
    let any_port = files.https("https_redirect = 443", "").replace("8443", "0");
    assert_eq!(good(&any_port).listen.https_redirect, Some(HttpsRedirect { port: 443 }));
}

#[test]
fn addresses_and_networks_of_balancers_are_read() {
    let config = good(&plus("proxy_protocol = [\"10.0.0.0/8\", \"::1\"]"));
    let networks: Vec<String> = config.listen.proxy_protocol.iter().map(IpNet::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.listen.trusted_proxies, []);
}

#[test]
fn a_network_of_ipv4_is_the_same_in_the_form_of_ipv6() {
    let written = "[\"::ffff:10.0.0.0/104\", \"::ffff:192.0.2.1\", \"::/0\", \"2001:db8::/32\"]";
    let config = good(&plus(&format!("trusted_proxies = {written}")));
    let networks: Vec<String> = config.listen.trusted_proxies.iter().map(IpNet::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32"]);
}

#[test]
fn the_policy_of_an_upstream_is_read() {
    let files = Files::new();
    let tls = |keys: &str| policy(&format!("tls = {}", keys.replace("PEM", &files.pem))).tls;
    let nothing = UpstreamTls { ca: None, server_name: None, client_cert: None, client_key: None };
    let pem = Some(PathBuf::from(&files.pem));
    assert_eq!(policy("").tls, None);
    assert_eq!(tls("{}"), Some(nothing.clone()));
    assert_eq!(tls("{ ca = \"PEM\" }"), Some(UpstreamTls { ca: pem.clone(), ..nothing.clone() }));
    let both = tls("{ client_cert = \"PEM\", client_key = \"PEM\" }");
    assert_eq!(both, Some(UpstreamTls { client_cert: pem.clone(), client_key: pem, ..nothing.clone() }));
    for name in ["app.internal", "app_1.internal.", "10.0.0.1", "::1"] {
        let named = UpstreamTls { server_name: Some(name.to_owned()), ..nothing.clone() };
        assert_eq!(tls(&format!("{{ server_name = \"{name}\" }}")), Some(named));
    }
    assert_eq!(policy("protocol = \"http2\"").protocol, UpstreamProtocol::Http2);
    assert_eq!(policy("protocol = \"http1\"").protocol, UpstreamProtocol::Http1);
    assert_eq!(policy("balance = \"round-robin\"").balance, Balance::RoundRobin);
    assert_eq!(policy("balance = \"least-requests\"").balance, Balance::LeastRequests);
    assert_eq!(policy("slow_start = \"30s\"").slow_start, Duration::from_secs(30));
}

#[test]
fn ejection_is_on_unless_it_is_turned_off() {
    let eject = |consecutive, ms| Some(Eject { consecutive, base: Duration::from_millis(ms) });
    assert_eq!(policy("").eject, eject(5, 10_000));
    assert_eq!(policy("eject = {}").eject, eject(5, 10_000));
    assert_eq!(policy("eject = { consecutive = 1 }").eject, eject(1, 10_000));
    assert_eq!(policy("eject = { for = \"100ms\" }").eject, eject(5, 100));
    assert_eq!(policy("eject = false").eject, None);
}

#[test]
fn retries_may_be_turned_off() {
    let retry = |keys: &str| good(&plus(&format!("[retry]\n{keys}"))).retry;
    assert_eq!(retry(""), RetryConfig { attempts: 2, budget_percent: 10 });
    assert_eq!(retry("attempts = 0\nbudget = \"0%\""), RetryConfig { attempts: 0, budget_percent: 0 });
    assert_eq!(retry("attempts = 10\nbudget = \"100%\""), RetryConfig { attempts: 10, budget_percent: 100 });
}

#[test]
fn https_without_a_certificate_and_certificates_without_https_are_refused() {
    let files = Files::new();
    check(&[
        row(plus("https = «\"0.0.0.0:8443\""), "`listen.https` needs [tls]", "certificates = [{ cert = "),
        files.row(
            &plus("«[tls]\ncertificates = [{ cert = \"PEM\", key = \"PEM\" }]"),
            "[tls] needs `listen.https`",
            "add `https = \"0.0.0.0:8443\"` under [listen], or remove this",
        ),
        row(files.certificates(""), "[tls] has no `certificates`", "add `certificates = [{ cert = "),
        row(
            files.certificates("certificates = «[]").replacen('«', "", 1),
            "`tls.certificates` has no certificate",
            "name at least one",
        ),
        row(files.https("", "").replace("\"127.0.0.1:8443\"", "«8443"), "`listen.https` is an integer", ""),
        row(
            files.https("", "").replace("\"127.0.0.1:8443\"", "«\"https\""),
            "`listen.https` is \"https\", which is not an address with a port",
            "0.0.0.0:8080",
        ),
        row(
            files.https("", "").replace("\"127.0.0.1:8443\"", "«\"127.0.0.1:8080\""),
            "`listen.http` and `listen.https` are both 127.0.0.1:8080",
            "a port of its own",
        ),
        row(
            format!("tls = «true\n{}", plus("https = \"127.0.0.1:8443\"")),
            "`tls` is a boolean; it has to be a table",
            "",
        ),
    ]);
}

#[test]
fn a_redirect_that_leads_nowhere_is_refused() {
    let files = Files::new();
    check(&[
        row(plus("https_redirect = «true"), "`listen.https_redirect` needs `listen.https`", "or remove this"),
        row(plus("https_redirect = «443"), "`listen.https_redirect` needs `listen.https`", "or remove this"),
        row(files.https("https_redirect = «0", ""), "`listen.https_redirect` is 0; it goes from 1 to 65535", ""),
        row(files.https("https_redirect = «65536", ""), "it goes from 1 to 65535", ""),
        row(files.https("https_redirect = «-1", ""), "it goes from 1 to 65535", ""),
        row(files.https("https_redirect = «\"443\"", ""), "is a string; it has to be true, false or a port", ""),
        row(
            files.https("https_redirect = «true", "").replace("8443", "0"),
            "the port of `listen.https` is 0, which is any port",
            "write the port",
        ),
        row(plus("proxy_protocol = [«\"balancer\"]"), "\"balancer\" is not a network", "10.0.0.0/8"),
        row(plus("proxy_protocol = «true"), "`listen.proxy_protocol` is a boolean; it has to be a list", ""),
    ]);
}

#[test]
fn what_is_wrong_under_tls_is_refused_with_its_place() {
    let files = Files::new();
    let one = |entry: &str| files.certificates(&format!("certificates = [{entry}]")).replacen('«', "", 1);
    let tls = |added: &str| files.https("", added);
    check(&[
        row(tls("min_version = «\"1.1\""), "`tls.min_version` is \"1.1\"", "it is \"1.2\" or \"1.3\""),
        row(tls("min_version = «1.2"), "`tls.min_version` is a float; it has to be a string", ""),
        row(tls("client_auth = «\"request\""), "`tls.client_auth` needs `tls.client_ca`", "add `client_ca = "),
        row(
            tls("client_ca = \"PEM\"\nclient_auth = «\"maybe\""),
            "`tls.client_auth` is \"maybe\"",
            "\"require\" or \"request\"",
        ),
        row(tls("client_ca = «\"\"\nclient_auth = \"request\""), "`tls.client_ca` is empty", "name a file"),
        row(tls("handshake_timeout = «\"99ms\""), "`tls.handshake_timeout` is \"99ms\"; it goes from 100ms to 1h", ""),
        row(tls("handshake_timeout = «\"61m\""), "it goes from 100ms to 1h", ""),
        row(tls("handshake_timeout = «10"), "is a number without a unit", "\"30s\""),
        row(tls("«ciphers = []"), "[tls] has no key `ciphers`", "it knows `certificates`"),
        row(one("«\"PEM\""), "`tls.certificates` is a string; it has to be a table", ""),
        row(one("«{ key = \"PEM\" }"), "[tls.certificates] has no `cert`", "add `cert = "),
        row(one("«{ cert = \"PEM\" }"), "[tls.certificates] has no `key`", "add `key = "),
        row(one("{ cert = «\"\", key = \"PEM\" }"), "`tls.certificates.cert` is empty", "name a file"),
        row(one("{ cert = \"PEM\", key = «7 }"), "`tls.certificates.key` is an integer", ""),
        row(
            one("{ cert = \"PEM\", key = \"PEM\", «chain = \"PEM\" }"),
            "[tls.certificates] has no key `chain`",
            "it knows",
        ),
        row(
            one("{ cert = \"PEM\", key = \"PEM\" }, { cert = «\"PEM\", key = \"PEM\" }"),
            "a.pem\" is there twice",
            "keep one of them",
        ),
        row(tls("client_ca = «\"/no/such\""), "the file \"/no/such\" can't be read: No such file", ""),
        row(one("{ cert = «\"/no/such\", key = \"PEM\" }"), "the file \"/no/such\" can't be read: No such", ""),
        row(one("{ cert = \"PEM\", key = «\"/dev/null\" }"), "the file \"/dev/null\" is not a regular file", ""),
        row(
            one("{ cert = \"PEM\", key = \"PEM\", ocsp = «\"/no/such\" }"),
            "the file \"/no/such\" can't be read: No such file",
            "",
        ),
    ]);
}

#[test]
fn a_policy_that_means_nothing_is_refused_with_its_place() {
    let files = Files::new();
    let row = |keys: &str, reason, repair| files.row(&upstream(keys), reason, repair);
    check(&[
        row("protocol = «\"http3\"", "`upstream.default.protocol` is \"http3\"", "\"http1\" or \"http2\""),
        row(
            "balance = «\"random\"",
            "`upstream.default.balance` is \"random\"",
            "\"least-requests\" or \"round-robin\"",
        ),
        row("eject = «true", "`upstream.default.eject` is true; it has to be a table or false", "or remove this"),
        row("eject = «5", "`upstream.default.eject` is an integer; it has to be a table or false", ""),
        row("eject = { consecutive = «0 }", "`upstream.default.eject.consecutive` is 0; it goes from 1 to 1000", ""),
        row("eject = { consecutive = «1001 }", "it goes from 1 to 1000", ""),
        row("eject = { for = «\"99ms\" }", "`upstream.default.eject.for` is \"99ms\"; it goes from 100ms to 1h", ""),
        row("eject = { for = «10 }", "is a number without a unit", "\"30s\""),
        row(
            "eject = { «base = \"10s\" }",
            "[upstream.default.eject] has no key `base`",
            "it knows `consecutive`, `for`",
        ),
        row("slow_start = «\"61m\"", "`upstream.default.slow_start` is \"61m\"; it goes from 0s to 1h", ""),
        row("tls = «true", "`upstream.default.tls` is a boolean; it has to be a table", ""),
        row("tls = { «verify = false }", "[upstream.default.tls] has no key `verify`", "it knows `ca`"),
        row("tls = { ca = «\"\" }", "`upstream.default.tls.ca` is empty", "name a file"),
        row("tls = { ca = «\"/no/such\" }", "the file \"/no/such\" can't be read: No such file", ""),
        row("tls = { server_name = «\"app:443\" }", "is \"app:443\", which is not a name", "without a port"),
        row("tls = { server_name = «\"10.0.0.300\" }", "is \"10.0.0.300\", which is not a name", "an address"),
        row("tls = { server_name = «\"*.internal\" }", "is \"*.internal\", which is not a name", "app.internal"),
        row("tls = { server_name = «\"app-.internal\" }", "which is not a name", "app.internal"),
        row("tls = { server_name = «\"\" }", "which is not a name", "app.internal"),
        row(
            "tls = { client_cert = «\"PEM\" }",
            "`upstream.default.tls.client_cert` needs `client_key`",
            "or remove this",
        ),
        row(
            "tls = { client_key = «\"PEM\" }",
            "`upstream.default.tls.client_key` needs `client_cert`",
            "or remove this",
        ),
        row(
            "tls = { client_cert = \"PEM\", client_key = «\"/no/such\" }",
            "the file \"/no/such\" can't be read: No such file",
            "",
        ),
    ]);
    check(&[
        super::refused::row(
            upstream("tls = «{}").replace("127.0.0.1:9002", "unix:/run/app.sock"),
            "`upstream.default.tls` has no `server_name`, and the endpoint \"unix:/run/app.sock\" has no name",
            "add `server_name = ",
        ),
        super::refused::row(
            upstream("tls = { server_name = «\"\" }").replace("127.0.0.1:9002", "unix:/run/app.sock"),
            "which is not a name",
            "app.internal",
        ),
        super::refused::row(plus("[retry]\nattempts = «11"), "`retry.attempts` is 11; it goes from 0 to 10", ""),
        super::refused::row(
            plus("[retry]\nbudget = «\"101%\""),
            "`retry.budget` is \"101%\"; it goes from 0% to 100%",
            "",
        ),
        super::refused::row(plus("[retry]\nbudget = «10"), "a percentage is a string", "\"100%\""),
        super::refused::row(
            plus("[retry]\n«budgets = \"1%\""),
            "[retry] has no key `budgets`",
            "did you mean `budget`?",
        ),
    ]);
}

#[test]
fn all_problems_of_tls_are_reported_at_once() {
    let error = bad(&plus(
        "https_redirect = 0\n[tls]\nmin_version = \"1\"\nclient_auth = \"request\"\n\
         certificates = [{ cert = \"/no/cert\", key = \"/no/key\", ocsp = \"/no/ocsp\" }, {}]\n\
         [upstream.default]\ntls = { ca = \"/no/ca\", client_key = \"\", server_name = \":\" }",
    ));
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    let expected = [
        "c.toml:17:18: `listen.https_redirect` is 0",
        "c.toml:17:18: `listen.https_redirect` needs `listen.https`",
        "c.toml:18:1: [tls] needs `listen.https`",
        "c.toml:19:15: `tls.min_version` is \"1\"",
        "c.toml:20:15: `tls.client_auth` needs `tls.client_ca`",
        "c.toml:21:26: the file \"/no/cert\" can't be read",
        "c.toml:21:44: the file \"/no/key\" can't be read",
        "c.toml:21:62: the file \"/no/ocsp\" can't be read",
        "c.toml:21:76: [tls.certificates] has no `cert`",
        "c.toml:21:76: [tls.certificates] has no `key`",
        "c.toml:23:14: the file \"/no/ca\" can't be read",
        "c.toml:23:37: `upstream.default.tls.client_key` is empty",
        "c.toml:23:37: `upstream.default.tls.client_key` needs `client_cert`",
        "c.toml:23:55: `upstream.default.tls.server_name` is \":\"",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn a_key_that_was_written_into_the_file_is_refused_without_showing_it() {
    let files = Files::new();
    let pem = "-----BEGIN PRIVATE KEY-----\ns3cret\ns3cret\n-----END PRIVATE KEY-----\n";
    let inline = format!("\"{}\"", pem.replace('\n', "\\n"));
    let lines = format!("'''\n{pem}'''");
    let not_closed = "\"-----BEGIN EC PRIVATE KEY-----s3cret\"".to_owned();
    for key in [inline, lines, not_closed] {
        let wrong = [
            files.https("", &format!("client_ca = {key}")),
            files.https("", &format!("keys = {key}")),
            files.https("", &format!("min_version = [{key}]")),
            files.certificates(&format!("certificates = [{{ cert = 'PEM', key = {key} }}]")).replace('«', ""),
            plus(&format!("tls = {key}")),
            upstream(&format!("protocol = {key}")),
            upstream(&format!("tls = {{ server_name = {key} }}")),
            upstream(&format!("tls = {key}")),
            format!("{}\nnot TOML", upstream(&format!("slow_start = {key}"))),
        ];
        for text in wrong {
            let error = bad(&text);
            let shown = format!("{error} {error:?} {}", error.render(true));
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(error.source.lines().count(), text.lines().count());
        }
    }
    let text = files.https("", "client_ca = «\"-----BEGIN CERTIFICATE-----\"");
    check(&[row(text, "`tls.client_ca` is what belongs into a file", "put it into a file")]);
}

#[test]
fn the_address_of_https_can_not_change_at_run_time_and_its_certificates_can() {
    let files = Files::new();
    let (with_https, path) = (files.https("", ""), Path::new("c.toml"));
    let refused = |before: &str, after: &str| {
        good(before).check_fixed(&good(after), path, after).expect_err("it changed").to_string()
    };
    let reason = "`listen.https` can't change while the proxy runs; put it back, or restart the proxy";
    let moved = with_https.replace("8443", "8444");
    assert_eq!(refused(&with_https, &moved), format!("c.toml:17:9: {reason}"));
    assert_eq!(refused(BASE, &with_https), format!("c.toml:17:9: {reason}"));
    assert_eq!(refused(&with_https, BASE), format!("c.toml:14:1: {reason}"));
    let next = files.https("https_redirect = true\nproxy_protocol = [\"::1\"]", "min_version = \"1.3\"")
        + "[retry]\nattempts = 1\n[upstream.default]\nprotocol = \"http2\"\ntls = {}\neject = false";
    assert_eq!(good(&with_https).check_fixed(&good(&next), path, &next), Ok(()));
    let differences = good(&with_https).differences(&good(&next));
    let expected = [
        "listen.https_redirect: false -> 8443",
        "listen.proxy_protocol: [] -> [\"::1/128\"]",
        "retry.attempts: 2 -> 1",
        "tls.min_version: \"1.2\" -> \"1.3\"",
        "upstream.default.eject: { consecutive = 5, for = \"10s\" } -> false",
        "upstream.default.protocol: \"http1\" -> \"http2\"",
        "upstream.default.tls: new, {}",
    ];
    assert_eq!(differences, expected);
}
