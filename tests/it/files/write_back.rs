//! The write-back where the file belongs to somebody else: everything that it has stays, or the missing right is named.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Child;

use crate::application::{Application, pair};
use crate::client::Connection;
use crate::proxy::{Setup, command, copy_program};
use crate::until;

/// Nobody in particular.
const UID: u32 = 65_534;

/// A proxy of another user than the owner of its file.
struct Foreign {
    dir: tempfile::TempDir,
    _child: Child,
}

impl Foreign {
    /// `None` where this user can't be anybody else. `prepare` gets the directory with the file.
    async fn start(blue: &Application, green: &Application, prepare: impl Fn(&Path)) -> Option<Foreign> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (own, etc) = (dir.path().join("own"), dir.path().join("etc"));
        for (path, uid) in [(dir.path(), 0), (&own, UID), (&etc, 0)] {
            fs::create_dir_all(path).expect("a directory");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
            chown(path, Some(uid), Some(uid)).expect("root may");
        }
        let file = etc.join("cutover.toml");
        fs::write(&file, Setup::new(blue, green).text(&own)).expect("a file");
        prepare(&etc);
        // A copy that this user can reach, wherever the build is.
        let binary = dir.path().join("cutover");
        copy_program(Path::new(env!("CARGO_BIN_EXE_cutover")), &binary);
        let mut child = tokio::process::Command::new(&binary);
        child.args(["run", "--config"]).arg(&file).uid(UID).gid(UID).kill_on_drop(true).current_dir("/");
        child
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let child = child.spawn().expect("it starts");
        let foreign = Foreign { dir, _child: child };
        until("the proxy answers", async || foreign.ask("GET", "/admin/status", Value::Null).await).await;
        Some(foreign)
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Option<Value> {
        let mut connection = Connection::unix(&self.dir.path().join("own/admin.sock")).await.ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.try_send(format!("{head}{body}").as_str()).await.ok()?;
        Some(connection.try_answer(false).await?.json())
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("etc/cutover.toml")
    }

    async fn switched(&self) -> Value {
        let answer = self.ask("POST", "/admin/switch", json!({ "to": "green" })).await.expect("an answer");
        assert_eq!(answer["active"], "green", "{answer}");
        until("the write-back is over", async || {
            let status = self.ask("GET", "/admin/status", Value::Null).await?;
            let file = &status["file"];
            (file["disagrees"] == false || file["write_back_error"].is_string()).then(|| file.clone())
        })
        .await
    }
}

fn owner(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).expect("it is there");
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

#[tokio::test]
async fn a_file_of_root_that_the_group_may_write_is_written_in_place_and_stays_roots() {
    let (blue, green) = pair().await;
    let prepare = |etc: &Path| {
        chown(etc, Some(0), Some(UID)).expect("root may");
        fs::set_permissions(etc, fs::Permissions::from_mode(0o775)).expect("a mode");
        chown(etc.join("cutover.toml"), Some(0), Some(UID)).expect("root may");
        fs::set_permissions(etc.join("cutover.toml"), fs::Permissions::from_mode(0o664)).expect("a mode");
    };
    let Some(proxy) = Foreign::start(&blue, &green, prepare).await else { return };
    let (before, inode) = (owner(&proxy.file()), fs::metadata(proxy.file()).expect("it is there").ino());
    let file = proxy.switched().await;
    assert_eq!(file["write_back_error"], Value::Null, "{file}");
    assert!(fs::read_to_string(proxy.file()).expect("read").contains("active = \"green\""));
    assert_eq!(owner(&proxy.file()), before);
    assert_eq!(fs::metadata(proxy.file()).expect("it is there").ino(), inode);
    assert_eq!(fs::read_dir(proxy.dir.path().join("etc")).expect("read").count(), 1, "no copy is left");
}

#[tokio::test]
async fn a_file_in_a_directory_of_root_is_written_in_place_with_a_copy_elsewhere() {
    let (blue, green) = pair().await;
    let prepare = |etc: &Path| {
        chown(etc.join("cutover.toml"), Some(UID), Some(UID)).expect("root may");
        fs::set_permissions(etc.join("cutover.toml"), fs::Permissions::from_mode(0o600)).expect("a mode");
    };
    let Some(proxy) = Foreign::start(&blue, &green, prepare).await else { return };
    let file = proxy.switched().await;
    assert_eq!(file["write_back_error"], Value::Null, "{file}");
    assert!(fs::read_to_string(proxy.file()).expect("read").contains("active = \"green\""));
    assert_eq!(owner(&proxy.file()), (UID, UID, 0o600));
    assert!(!proxy.dir.path().join("own/state/.cutover.toml.cutover").exists(), "no copy is left");
}

#[tokio::test]
async fn where_nothing_is_allowed_the_missing_right_is_named_and_the_switch_stands() {
    let (blue, green) = pair().await;
    for writable_directory in [false, true] {
        let prepare = |etc: &Path| {
            let mode = if writable_directory { 0o777 } else { 0o755 };
            fs::set_permissions(etc, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        let Some(proxy) = Foreign::start(&blue, &green, prepare).await else { return };
        let before = fs::read_to_string(proxy.file()).expect("read");
        let file = proxy.switched().await;
        let error = file["write_back_error"].as_str().expect("an error");
        assert!(error.contains(&format!("uid {UID}")) && error.contains("chmod g+w"), "{error}");
        let why = if writable_directory { "its owner (uid 0)" } else { "Permission denied" };
        assert!(error.contains(why), "{error}");
        assert_eq!(fs::read_to_string(proxy.file()).expect("read"), before);
        assert_eq!(owner(&proxy.file()).0, 0);
    }
}

#[tokio::test]
async fn where_nothing_is_allowed_a_deploy_names_the_missing_right_and_stages_nothing() {
    let (blue, green) = pair().await;
    let Some(proxy) = Foreign::start(&blue, &green, |_| {}).await else { return };
    let before = fs::read_to_string(proxy.file()).expect("read");
    let mut body = json!({ "release": "3.0", "endpoints": ["127.0.0.1:9"], "dry_run": true });
    for _ in 0..2 {
        let told = proxy.ask("PUT", "/admin/colors/green", body.clone()).await.expect("an answer");
        assert_eq!((&told["status"], &told["code"]), (&json!(409), &json!("file_not_writable")), "{told}");
        let detail = told["detail"].as_str().expect("words");
        assert!(detail.contains(&format!("uid {UID}")) && detail.contains("chmod g+w"), "{detail}");
        assert!(detail.ends_with("nothing was staged") && !detail.contains("write_back"), "{detail}");
        body["dry_run"] = json!(false);
    }
    assert_eq!(fs::read_to_string(proxy.file()).expect("read"), before);
}

/// What the unit file runs at `systemctl reload`, with other paths.
#[tokio::test]
async fn systemctl_reload_ends_with_what_came_of_the_reload() {
    let (blue, green) = pair().await;
    let proxy = crate::proxy::Proxy::start(&blue, &green).await;
    let unit = include_str!("../../../systemd/cutover.service");
    let lines: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("ExecReload=")).collect();
    let [line] = lines[..] else { panic!("one command: {lines:?}") };
    let file = proxy.file().display().to_string();
    let words: Vec<_> = line.split(' ').map(|word| word.replace("/etc/cutover/cutover.toml", &file)).collect();
    assert_eq!(words[0], "cutover");
    let arguments: Vec<_> = words[1..].iter().map(String::as_str).collect();
    let reload = async || crate::soon("it ends", command(&arguments).output()).await.expect("it runs");

    let good = proxy.text();
    proxy.write_file(&good.replace("timeout = \"20s\"", "timeout = \"25s\""));
    let output = reload().await;
    assert!(output.status.success(), "{output:?}");
    assert!(proxy.admin("GET", "/admin/config", "").await.text().contains("25s"));
    proxy.write_file(&good.replace("rise = 1", "rise = 0"));
    let output = reload().await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("health.rise"), "{output:?}");
}
