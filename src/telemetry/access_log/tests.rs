use super::*;
use crate::domain::split::Weight;

fn entry<'a>() -> Entry<'a> {
    Entry {
        request_id: b"abc",
        trace_id: None,
        client: "1.2.3.4",
        peer: SocketAddr::from(([10, 0, 0, 1], 5000)),
        method: "GET",
        host: b"shop.example.com",
        path: "/a?b=c",
        protocol: "HTTP/1.1",
        status: 200,
        color: "blue",
        release: "2.13.0",
        upstream: "default",
        endpoint: "127.0.0.1:9001",
        generation: 41,
        preview: false,
        duration: Duration::from_micros(12_345),
        ttfb: Some(Duration::from_micros(5)),
        upstream_time: None,
        bytes_in: 0,
        bytes_out: 18,
        retries: 0,
        grpc_status: None,
        shielded: false,
        lingered: false,
        refused: None,
        error: None,
        blame: None,
        header: Header(&sent),
    }
}

fn sent<'a>(name: &[u8]) -> Option<&'a [u8]> {
    (name == b"user-agent").then_some(b"curl/8 \"x\"")
}

fn to(target: &AccessLog, format: LogFormat) -> LogConfig {
    LogConfig { access: target.clone(), format, ..LogConfig::default() }
}

fn chosen() -> Vec<Field> {
    let field = |header: &str, key: &str| Field { header: header.to_owned(), key: key.to_owned() };
    vec![field("user-agent", "user_agent"), field("referer", "referer")]
}

fn json(entry: &Entry<'_>, redact_query: bool) -> serde_json::Value {
    let mut out = Vec::new();
    line::json(&mut out, Clock::default().now(), entry, &[], redact_query);
    assert_eq!(out.last(), Some(&b'\n'));
    serde_json::from_slice(&out).expect("valid JSON")
}

#[test]
fn a_line_is_json_with_every_field_of_the_contract() {
    let value = json(&entry(), false);
    assert_eq!(value["duration_ms"], 12.345);
    assert_eq!(value["ttfb_ms"], 0.005);
    assert_eq!(value["path"], "/a?b=c");
    assert_eq!(value["generation"], 41);
    assert!(value["ts"].as_str().is_some_and(|ts| ts.len() == 24 && ts.ends_with('Z')));
    assert!(value.get("upstream_ms").is_none() && value.get("error").is_none(), "what is not known is left out");
}

#[test]
fn a_query_is_left_out_where_it_may_hold_secrets() {
    assert_eq!(json(&entry(), true)["path"], "/a");
}

#[test]
fn nothing_a_client_sends_breaks_the_line() {
    let hostile = Entry { host: b"a\"b\\c\n\x01\xff\x7f", ..entry() };
    assert_eq!(json(&hostile, false)["host"], "a\"b\\c\n\u{1}\u{fffd}\u{7f}");
}

#[test]
fn a_long_value_is_cut_and_the_line_says_so() {
    let (host, path) = ("h".repeat(3000), format!("/{}", "p".repeat(60_000)));
    let mut long = Entry { host: host.as_bytes(), path: &path, ..entry() };
    let value = json(&long, false);
    assert_eq!(value["path"].as_str().map(str::len), Some(2048));
    assert_eq!(value["host"].as_str().map(str::len), Some(2048));
    assert_eq!(value["truncated"], serde_json::json!(["host", "path"]));
    let mut line = Vec::new();
    line::terminal(&mut line, Clock::default().now(), &long, &[], false);
    assert!(line.len() < 5000 && String::from_utf8_lossy(&line).matches('…').count() == 2);
    let exact = "x".repeat(2048);
    long = Entry { path: &exact, ..entry() };
    assert_eq!((&json(&long, false)["path"], json(&long, false).get("truncated")), (&exact.into(), None));
}

#[test]
fn a_cut_leaves_no_half_character() {
    for begin in 0..4 {
        let path = format!("{}{}", "x".repeat(begin), "€".repeat(2000));
        let value = json(&Entry { path: &path, ..entry() }, false);
        let cut = value["path"].as_str().expect("text");
        assert!(path.starts_with(cut) && cut.len() > 2044, "{cut}");
    }
    let rubbish = [0xff; 5000];
    let value = json(&Entry { host: &rubbish, ..entry() }, false);
    assert_eq!(value["host"].as_str().map(|host| host.chars().count()), Some(2047));
}

#[test]
fn lines_reach_the_file_and_go_on_in_a_new_one_after_a_rotation() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let target = AccessLog::File(path.clone());
    let writer = AccessLogWriter::start(&to(&target, LogFormat::Json)).expect("starts");
    let mut logger = writer.logger();
    logger.log(&entry());
    logger.flush();
    while std::fs::read(&path).expect("reads").is_empty() {
        std::thread::yield_now();
    }
    std::fs::rename(&path, dir.path().join("access.log.1")).expect("renames");
    writer.reopen();
    logger.log(&entry());
    logger.log(&entry());
    logger.flush();
    drop((logger, writer));
    let lines = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("reads").lines().count();
    assert_eq!((lines("access.log.1"), lines("access.log")), (1, 2));
}

#[test]
fn a_full_disk_costs_lines_and_counts_them() {
    let target = AccessLog::File("/dev/full".into());
    let writer = AccessLogWriter::start(&to(&target, LogFormat::Text)).expect("starts");
    let mut logger = writer.logger();
    logger.log(&entry());
    logger.log(&entry());
    logger.flush();
    while writer.dropped() < 2 {
        std::thread::yield_now();
    }
}

#[test]
fn a_pipe_that_nobody_reads_costs_lines_and_holds_nobody_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from(0o600)).expect("a pipe");
    let writer = AccessLogWriter::start(&to(&AccessLog::File(path.clone()), LogFormat::Text)).expect("starts");
    let mut logger = writer.logger();
    logger.log(&entry());
    logger.flush();
    while writer.dropped() < 1 {
        std::thread::yield_now();
    }
    assert!(writer.trouble().is_some_and(|reason| reason.contains("no process reads")), "{:?}", writer.trouble());
    let (lines, read) = mpsc::channel();
    std::thread::spawn(move || {
        use std::io::BufRead;
        let pipe = std::fs::File::open(path).expect("opens");
        for line in std::io::BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let line = loop {
        writer.reopen();
        logger.log(&entry());
        logger.flush();
        if let Ok(line) = read.recv_timeout(Duration::from_millis(50)) {
            break line;
        }
    };
    assert!(line.contains("\"GET /a?b=c HTTP/1.1\" 200"), "{line}");
}

#[test]
fn a_pipe_whose_reader_does_not_read_costs_whole_lines_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from(0o600)).expect("a pipe");
    let reading = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
    let writer = AccessLogWriter::start(&to(&AccessLog::File(path), LogFormat::Json)).expect("starts");
    let mut logger = writer.logger();
    while writer.dropped() == 0 {
        logger.log(&entry());
    }
    logger.flush();
    drop(writer);
    let mut text = Vec::new();
    rustix::io::ioctl_fionbio(&reading, true).expect("does not block");
    let _ = std::io::Read::read_to_end(&mut { reading }, &mut text);
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let mut count = 0;
    for line in whole {
        count += 1;
        serde_json::from_slice::<serde_json::Value>(line).expect("a whole line");
    }
    assert!(count > 10, "{count}");
}

#[test]
fn chosen_fields_of_the_request_are_in_the_line_where_they_were_sent() {
    let (mut json, mut text) = (Vec::new(), Vec::new());
    line::json(&mut json, Clock::default().now(), &entry(), &chosen(), false);
    let json: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
    assert_eq!(json["user_agent"], "curl/8 \"x\"");
    assert!(json.get("referer").is_none());
    line::terminal(&mut text, Clock::default().now(), &entry(), &chosen(), false);
    let text = String::from_utf8(text).expect("text");
    assert!(text.ends_with(" user_agent=\"curl/8 \\\"x\\\"\"\n"), "{text}");
}

#[test]
fn a_sample_leaves_out_successes_and_no_failure() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let none = LogConfig { sample: Weight::NONE, ..to(&AccessLog::File(path.clone()), LogFormat::Json) };
    let writer = AccessLogWriter::start(&none).expect("starts");
    let mut logger = writer.logger();
    let failures = [
        Entry { status: 404, ..entry() },
        Entry { status: 502, ..entry() },
        Entry { grpc_status: Some(13), ..entry() },
        Entry { error: Some("connection_terminated"), ..entry() },
        Entry { blame: Some("endpoint"), ..entry() },
        Entry { shielded: true, ..entry() },
        Entry { retries: 1, ..entry() },
    ];
    for failure in &failures {
        logger.log(&entry());
        logger.log(failure);
    }
    logger.flush();
    drop((logger, writer));
    let text = std::fs::read_to_string(&path).expect("reads");
    assert_eq!(text.lines().count(), failures.len(), "{text}");
}

fn combined(entry: &Entry<'_>, fields: &[Field], redact_query: bool) -> String {
    let mut out = Vec::new();
    combined::combined(&mut out, b"2026-11-30T23:05:09.123Z", entry, fields, redact_query);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn a_line_of_the_combined_format_is_that_of_apache_and_nginx() {
    let line = combined(&entry(), &[], false);
    let expected =
        "1.2.3.4 - - [30/Nov/2026:23:05:09 +0000] \"GET /a?b=c HTTP/1.1\" 200 18 \"-\" \"curl/8 \\x22x\\x22\"\n";
    assert_eq!(line, expected);
    let http2 = combined(&Entry { protocol: "HTTP/2", client: "2001:db8::1", ..entry() }, &[], true);
    assert!(http2.starts_with("2001:db8::1 - - [") && http2.contains("\"GET /a HTTP/2.0\" 200"), "{http2}");
}

#[test]
fn a_connection_without_a_request_has_the_dash_of_the_combined_format() {
    let ended =
        Entry { method: "", path: "", protocol: "", status: 0, bytes_out: 0, header: Header(&|_| None), ..entry() };
    assert!(combined(&ended, &[], false).ends_with("] \"-\" 000 0 \"-\" \"-\"\n"));
}

#[test]
fn no_client_ends_a_quote_or_a_line_of_the_combined_format() {
    fn hostile<'a>(_: &[u8]) -> Option<&'a [u8]> {
        Some(b"\" 200 0\n\x1b[31m\\\xff\xc3\xa9\x7f")
    }
    let line = combined(&Entry { header: Header(&hostile), ..entry() }, &chosen(), false);
    assert_eq!(line.matches('"').count(), 6, "{line}");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(
        line.is_ascii()
            && !line.contains('\x1b')
            && line.contains("\\x22 200 0\\x0A\\x1B[31m\\x5C\\xFF\\xC3\\xA9\\x7F")
    );
}

#[test]
fn chosen_fields_follow_the_combined_format_by_name() {
    let field = |header: &str, key: &str| Field { header: header.to_owned(), key: key.to_owned() };
    let chosen = [field("user-agent", "user_agent"), field("x-tenant", "x_tenant")];
    let line = combined(&entry(), &chosen, false);
    assert!(line.ends_with(" \"-\" \"curl/8 \\x22x\\x22\" x_tenant=\"-\"\n"), "{line}");
}

#[test]
fn a_referer_has_no_query_where_queries_are_left_out() {
    fn referer<'a>(name: &[u8]) -> Option<&'a [u8]> {
        (name == b"referer").then_some(b"https://shop.test/a?token=s3cret")
    }
    let entry = Entry { header: Header(&referer), ..entry() };
    assert!(combined(&entry, &[], true).contains("\"https://shop.test/a\""));
    assert!(combined(&entry, &[], false).contains("s3cret"));
    let mut json = Vec::new();
    line::json(&mut json, Clock::default().now(), &entry, &chosen(), true);
    assert!(!String::from_utf8_lossy(&json).contains("s3cret"));
}
