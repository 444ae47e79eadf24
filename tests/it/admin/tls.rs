//! The admin API over real TLS: certificates of both sides, tokens, and what a command says when one of them is wrong.

use std::path::Path;
use std::process::Output;

use rcgen::DnType;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Guarded, OPERATOR, VIEWER, keep_private, tokens};
use crate::application::pair;
use crate::certificates::Authority;
use crate::cli::{bare, document, done, failed};
use crate::proxy::{Setup, command};
use crate::{soon, until};

/// A proxy whose admin address speaks TLS, and the files of its authority.
struct Setting {
    proxy: Guarded,
    _applications: (crate::application::Application, crate::application::Application),
}

async fn start(tokens_too: bool, client_ca: bool) -> Setting {
    let applications = pair().await;
    let setup = Setup::new(&applications.0, &applications.1);
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    write(dir.path(), "ca.pem", &authority.pem());
    certificate(dir.path(), &authority);
    let alice = authority.issue_to(&["alice"], &[(DnType::CommonName, "alice")]);
    write(dir.path(), "alice.pem", &(alice.cert + &alice.key));
    keep_private(dir.path());
    write(dir.path(), "operator", OPERATOR);
    write(dir.path(), "viewer", VIEWER);
    let unix = format!("unix:{}/admin.sock", dir.path().display());
    let text = setup.text(dir.path()).replace(&unix, "127.0.0.1:0");
    let place = dir.path().display();
    let tokens = if tokens_too { tokens(dir.path()) } else { String::new() };
    let client_ca = if client_ca { format!("client_ca = \"{place}/ca.pem\"\n") } else { String::new() };
    let tls = format!("[admin.tls]\ncert = \"{place}/admin.pem\"\nkey = \"{place}/admin.key\"\n{client_ca}");
    let proxy = Guarded::start(dir, &format!("{text}\n[admin]\n{tokens}{tls}")).await;
    Setting { proxy, _applications: applications }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("a file");
}

/// A certificate for the admin address, with its key; moved into place, as tools that renew certificates do it.
fn certificate(dir: &Path, authority: &Authority) {
    let pair = authority.issue(&["localhost", "127.0.0.1"]);
    for (name, text) in [("admin.key", pair.key), ("admin.pem", pair.cert)] {
        write(dir, "new", &text);
        std::fs::rename(dir.join("new"), dir.join(name)).expect("moves");
    }
}

impl Setting {
    fn dir(&self) -> &TempDir {
        &self.proxy.dir
    }

    fn file(&self, name: &str) -> String {
        self.dir().path().join(name).display().to_string()
    }

    fn address(&self) -> String {
        format!("https://{}", self.proxy.admin)
    }

    async fn cli(&self, args: &[&str]) -> Output {
        let admin = self.address();
        bare(&[args, &["--admin", &admin]].concat()).await
    }

    async fn curl(&self, args: &[&str], path: &str) -> (String, String) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert", &self.file("ca.pem")]).args(args);
        curl.arg(format!("{}{path}", self.address()));
        let output = soon("curl ends", curl.output()).await.expect("curl is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }
}

#[tokio::test]
async fn a_certificate_says_who_and_a_token_says_what() {
    let setting = start(true, true).await;
    let (ca, alice, viewer) = (setting.file("ca.pem"), setting.file("alice.pem"), setting.file("viewer"));
    let by_certificate = ["--ca", &ca, "--cert", &alice];
    done(&setting.cli(&[&["switch", "green", "--reason", "a test"], &by_certificate[..]].concat()).await);
    let history = document(&setting.cli(&[&["history", "--json"], &by_certificate[..]].concat()).await);
    assert_eq!(history["transitions"][0]["actor"], "CN=alice", "{history}");
    assert!(setting.proxy.log().contains("CN=alice"), "the log names her");

    let looks = [&["rollback", "--token-file", &viewer], &by_certificate[..]].concat();
    let (_, said) = failed(&setting.cli(&looks).await, 6);
    assert!(said.contains("may only read"), "{said}");
    let neither = setting.cli(&["status", "--ca", &ca]).await;
    let (_, said) = failed(&neither, 6);
    assert!(said.contains("needs a token") && said.contains("--cert"), "{said}");
    done(&setting.cli(&["status", "--ca", &ca, "--token-file", &viewer]).await);
    done(&setting.cli(&["healthcheck", "--ca", &ca]).await);
}

#[tokio::test]
async fn an_upgrade_that_would_lose_the_certificate_the_client_ca_or_a_token_fails() {
    let setting = start(true, true).await;
    let (ca, alice) = (setting.file("trusted.pem"), setting.file("alice.pem"));
    std::fs::copy(setting.file("ca.pem"), &ca).expect("a copy");
    let before = document(&setting.cli(&["status", "--json", "--ca", &ca, "--cert", &alice]).await);
    for name in ["admin.key", "admin.pem", "ca.pem", "viewer"] {
        let (file, aside) = (setting.file(name), setting.file("aside"));
        std::fs::rename(&file, &aside).expect("moves");
        let (_, said) = failed(&setting.cli(&["upgrade", "--ca", &ca, "--cert", &alice]).await, 1);
        assert!(said.contains("upgrade_failed") && said.contains(&file), "{name}: {said}");
        std::fs::rename(&aside, &file).expect("moves");
    }
    let after = document(&setting.cli(&["status", "--json", "--ca", &ca, "--cert", &alice]).await);
    assert_eq!(after["pid"], before["pid"]);
}

#[tokio::test]
async fn without_tokens_a_client_certificate_is_needed() {
    let setting = start(false, true).await;
    let (ca, alice) = (setting.file("ca.pem"), setting.file("alice.pem"));
    let (_, said) = failed(&setting.cli(&["status", "--ca", &ca]).await, 6);
    assert!(said.contains("needs a client certificate"), "{said}");
    done(&setting.cli(&["status", "--ca", &ca, "--cert", &alice]).await);

    let stranger = Authority::new().issue(&["mallory"]);
    write(setting.dir().path(), "stranger.pem", &(stranger.cert + &stranger.key));
    let stranger = setting.file("stranger.pem");
    let refused = setting.cli(&["status", "--json", "--ca", &ca, "--cert", &stranger]).await;
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    assert_eq!(document(&refused)["code"], "client_certificate");
}

#[tokio::test]
async fn name_connection_certificate_and_token_are_told_apart() {
    let setting = start(true, false).await;
    let ca = setting.file("ca.pem");
    let port = setting.proxy.admin.rsplit_once(':').expect("a port").1.to_owned();
    let (_, said) = failed(&bare(&["status", "--admin", &format!("https://no-such-host.invalid:{port}")]).await, 4);
    assert!(said.contains("no-such-host.invalid can't be resolved"), "{said}");
    let (_, said) = failed(&bare(&["status", "--admin", "https://127.0.0.1:1", "--ca", &ca]).await, 4);
    assert!(said.contains("can't be reached at https://127.0.0.1:1") && said.contains("refused"), "{said}");

    let other = Authority::new();
    write(setting.dir().path(), "other.pem", &other.pem());
    let other = setting.cli(&["status", "--json", "--ca", &setting.file("other.pem")]).await;
    assert_eq!(other.status.code(), Some(4));
    let told = document(&other);
    assert_eq!(told["code"], "certificate");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("--ca FILE")), "{told}");
    let plain = format!("http://{}", setting.proxy.admin);
    let (_, said) = failed(&bare(&["status", "--ca", &ca, "--admin", &plain]).await, 4);
    assert!(said.contains(&format!("name it as {}", setting.address())), "{said}");

    write(setting.dir().path(), "wrong", "wrong");
    let (_, said) = failed(&setting.cli(&["status", "--ca", &ca, "--token-file", &setting.file("wrong")]).await, 6);
    assert!(said.contains("not one of admin.tokens"), "{said}");
    let (_, said) = failed(&setting.cli(&["status", "--ca", &setting.file("nothing")]).await, 2);
    assert!(said.contains("nothing"), "{said}");
}

#[tokio::test]
async fn check_names_an_expired_certificate_of_the_admin_address() {
    let setting = start(true, false).await;
    let file = setting.file("cutover.toml");
    let pair = Authority::new().expired(&["localhost"]);
    write(setting.dir().path(), "admin.key", &pair.key);
    write(setting.dir().path(), "admin.pem", &pair.cert);
    let (_, said) = failed(&bare(&["check", "--config", &file, "--admin", "unix:/nowhere.sock"]).await, 1);
    assert!(said.contains("admin.pem") && said.contains("expired"), "{said}");
}

#[tokio::test]
async fn by_its_file_the_proxy_of_this_machine_is_found_without_an_authority() {
    let setting = start(true, false).await;
    let text = std::fs::read_to_string(setting.dir().path().join("cutover.toml")).expect("a file");
    let text = text.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{}\"", setting.proxy.admin));
    write(setting.dir().path(), "copy.toml", &text);
    let (copy, token) = (setting.file("copy.toml"), setting.file("operator"));
    done(&bare(&["status", "--config", &copy, "--token-file", &token]).await);
    let mut by_variables = command(&["status"]);
    by_variables.env("CUTOVER_ADMIN", setting.address()).env("CUTOVER_CA", setting.file("ca.pem"));
    by_variables.env("CUTOVER_TOKEN", OPERATOR);
    done(&soon("it ends", by_variables.output()).await.expect("it runs"));
}

#[tokio::test]
async fn curl_page_events_and_a_renewed_certificate_work() {
    let setting = start(true, false).await;
    let (page, _) = setting.curl(&[], "/").await;
    assert!(page.contains("<title>"), "{page}");
    let authorization = format!("Authorization: Bearer {VIEWER}");
    let (status, said) = setting.curl(&["-H", &authorization], "/admin/status").await;
    let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}{said}"));
    assert_eq!(status["active"], "blue");
    let (events, _) = setting.curl(&["-N", "--max-time", "3", "-H", &authorization], "/admin/events").await;
    assert!(events.contains("event:"), "{events}");
    let (metrics, _) = setting.curl(&["-H", &authorization], "/metrics").await;
    assert!(metrics.contains("cutover_tls_certificate_not_after_seconds{name=\"localhost\""), "{metrics}");

    let serial = async || {
        let (_, said) = setting.curl(&["-v", "-o", "/dev/null"], "/livez").await;
        said
    };
    assert!(serial().await.contains("SSL certificate verify ok"));
    // The same names by another authority: only the new certificate fits it.
    let renewed = Authority::new();
    write(setting.dir().path(), "ca.pem", &renewed.pem());
    certificate(setting.dir().path(), &renewed);
    until("the renewed certificate is shown", async || {
        serial().await.contains("SSL certificate verify ok").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_file_that_everybody_can_read_is_not_taken() {
    let applications = pair().await;
    let setup = Setup::new(&applications.0, &applications.1);
    let (dir, text) = super::guarded(&setup);
    let open = tempfile::Builder::new().prefix("open").tempdir_in("/tmp").expect("a directory");
    let let_in = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("a mode");
    };
    let_in(open.path(), 0o755);
    let token = open.path().join("operator");
    std::fs::write(&token, OPERATOR).expect("a file");
    let_in(&token, 0o644);
    let text = text.replace(&format!("{}/operator", dir.path().display()), &token.display().to_string());
    let proxy = Guarded::start(dir, &text).await;
    let answer = proxy.with_token(OPERATOR, "GET", "/admin/status", "").await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(proxy.log().contains("can be read by every user of this machine"), "{}", proxy.log());
    let status = proxy.with_token(VIEWER, "GET", "/admin/status", "").await;
    assert_eq!(status.status, 200, "the other token is good");

    let config = proxy.dir.path().join("cutover.toml");
    let (_, said) = failed(&bare(&["check", "--config", config.to_str().expect("text")]).await, 2);
    assert!(said.contains("chmod o-r"), "{said}");
    let_in(&token, 0o640);
    let mended = text.clone() + "\n# mended\n";
    std::fs::write(&config, mended).expect("a file");
    until("the token counts", async || {
        let answer = proxy.with_token(OPERATOR, "GET", "/admin/status", "").await;
        (answer.status == 200).then_some(())
    })
    .await;
}
