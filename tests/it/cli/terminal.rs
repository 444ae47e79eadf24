//! What is asked for on a terminal, and what is shown there. The terminal is a real one.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::application::pair;
use crate::proxy::{Proxy, Setup, command};
use crate::{soon, until};

/// A command on a terminal of its own.
struct Session {
    child: tokio::process::Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
}

impl Session {
    fn run(proxy: &Proxy, args: &[&str]) -> Session {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&pty).expect("a terminal");
        unlockpt(&pty).expect("a terminal");
        let path = ptsname(&pty, Vec::new()).expect("a name").into_string().expect("text");
        let end = || File::options().read(true).write(true).open(&path).expect("the other end");
        let size =
            std::process::Command::new("stty").args(["cols", "80", "rows", "40"]).stdin(Stdio::from(end())).status();
        assert!(size.expect("stty runs").success());
        let mut command = command(args);
        command.env("CUTOVER_CONFIG", proxy.file()).env("TERM", "xterm-256color").env("NO_COLOR", "1");
        command.stdin(Stdio::from(end())).stdout(Stdio::from(end())).stderr(Stdio::from(end()));
        let child = command.spawn().expect("it starts");
        // It holds the other end.
        drop(command);
        let keyboard = File::from(pty);
        let mut output = keyboard.try_clone().expect("a terminal");
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of the other side is an error here.
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Session { child, keyboard, screen, reader }
    }

    async fn shows(&self, text: &str) {
        until(&format!("it shows {text:?}"), async || {
            self.screen.lock().expect("no panic").contains(text).then_some(())
        })
        .await;
    }

    fn types(&mut self, line: &str) {
        self.keyboard.write_all(line.as_bytes()).expect("a terminal");
    }

    async fn ends(mut self) -> (Option<i32>, String) {
        let status = soon("the command ends", self.child.wait()).await.expect("it was started");
        // All that was written is there when the other side is closed.
        let reader = tokio::task::spawn_blocking(move || self.reader.join());
        soon("the terminal ends", reader).await.expect("a thread").expect("no panic");
        let screen = self.screen.lock().expect("no panic").replace('\r', "");
        (status.code(), screen)
    }
}

#[tokio::test]
async fn a_missing_reason_is_asked_for_and_kept() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut session = Session::run(&proxy, &["switch", "green"]);
    session.shows("Reason, kept in the history (Enter for none): ").await;
    session.types("release 2\n");
    let (code, screen) = session.ends().await;
    assert_eq!(code, Some(0), "{screen}");
    let last = async || proxy.admin("GET", "/admin/history?limit=1", "").await.json()["transitions"][0].clone();
    assert_eq!(last().await["reason"], "release 2");
    // A plain rollback is typed in a hurry, and asks nothing.
    let (code, screen) = Session::run(&proxy, &["rollback"]).ends().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("Reason"), "{screen}");
    for args in
        [&["switch", "green", "--yes"][..], &["switch", "blue", "--reason", "x"], &["switch", "green", "--json"]]
    {
        let (code, screen) = Session::run(&proxy, args).ends().await;
        assert_eq!((code, screen.contains("Reason")), (Some(0), false), "{args:?}: {screen}");
    }
    let mut session = Session::run(&proxy, &["switch", "blue"]);
    session.shows("Reason").await;
    session.types("\n");
    let (code, screen) = session.ends().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(last().await["reason"].is_null());
}

#[tokio::test]
async fn what_hurts_clients_is_asked_first_with_what_will_happen() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    proxy.until("green is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    for (args, what) in [
        (&["pause", "--timeout", "40s"][..], "Every new request will wait for up to 40s"),
        (&["maintenance", "on"], "Every request will get the maintenance answer, also after a restart"),
        (&["switch", "green", "--force"], "0 of 1 endpoints of green (2.0) are up."),
        (&["rollback", "--to", "green", "--force=health"], "--force overrides health."),
    ] {
        for no in ["n\n", "\n", "what\n"] {
            let mut session = Session::run(&proxy, args);
            session.shows("Continue? [y/N] ").await;
            session.types(no);
            let (code, screen) = session.ends().await;
            assert_eq!(code, Some(1), "{screen}");
            let flowing = screen.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flowing.contains(what) && screen.contains("Nothing was changed."), "{screen}");
        }
    }
    let status = proxy.status().await;
    assert_eq!(
        (&status["generation"], &status["hold"], &status["maintenance"]),
        (&json!(1), &json!(null), &json!(false))
    );
    let (code, screen) = Session::run(&proxy, &["pause", "--yes"]).ends().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(proxy.status().await["hold"].is_object());
    let (code, screen) = Session::run(&proxy, &["unpause"]).ends().await;
    assert_eq!(code, Some(0), "{screen}");
    let mut session = Session::run(&proxy, &["switch", "green", "--force", "--reason", "it is the check"]);
    session.shows("Continue? [y/N] ").await;
    session.types("y\n");
    let (code, screen) = session.ends().await;
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_switch_that_waits_shows_for_what_and_ctrl_c_on_the_terminal_cancels_it() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text =
        Setup::new(&blue, &green).text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"10m\"");
    let proxy = Proxy::start_in(dir, &text).await;
    green.set_healthy(false);
    let session = Session::run(&proxy, &["switch", "green", "--yes"]);
    session.shows(&format!("Waiting for green: {} 503, ", green.address)).await;
    session.shows(" s left; Ctrl-C cancels").await;
    let pid = i32::try_from(session.child.id().expect("it runs")).expect("a pid");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::INT)
        .expect("it runs");
    let (code, screen) = session.ends().await;
    assert_eq!(code, Some(130), "{screen}");
    assert!(screen.contains("Cancelled; blue keeps serving."), "{screen}");
}

/// The lines of a screen that are too long, but for commands that stand alone.
fn too_long(screen: &str) -> Vec<String> {
    let plain = anstream::adapter::strip_str(screen).to_string();
    let lines = plain.split(['\n', '\r']).map(str::to_owned);
    let alone = |line: &String| line.trim_start().starts_with("cutover ");
    lines.filter(|line| unicode_width::UnicodeWidthStr::width(line.as_str()) > 80 && !alone(line)).collect()
}

#[tokio::test]
async fn every_command_fits_into_80_columns_and_its_commands_stay_whole() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let long = "the payments team moves the ledger to the new cluster, and nobody may touch this before noon";
    let address = green.address.to_string();
    let deploy = ["deploy", "--release", "2.0", "--endpoint", &address, "--reason", long];
    let cases: &[(&[&str], &str)] = &[
        (&["status"], "cutover"),
        (&["status", "-v"], ""),
        (&["check"], ""),
        (&["switch"], "cutover switch green"),
        (&["switch", "--to-release", "9", "--yes"], "cutover deploy --release 9 --endpoint ADDRESS"),
        (&["switch", "green", "--dry-run"], ""),
        (&["switch", "green", "--reason", long], ""),
        (&["history"], ""),
        (&["rollback", "--quarantine", "--reason", long, "--yes"], ""),
        (&["switch", "green", "--yes"], "cutover switch green --force=quarantine"),
        (&deploy, "cutover switch green --force=quarantine"),
        (&["canary", "start", "--yes"], "cutover canary start --force=quarantine"),
        (&["status"], "cutover switch green --force=quarantine --reason"),
        (&["freeze", "--reason", long], ""),
        (&["freeze", "--reason", "another"], "cutover freeze --replace --reason …"),
        (&["switch", "green", "--yes"], "cutover unfreeze"),
        (&["status"], "cutover unfreeze"),
        (&["unfreeze"], ""),
        (&["pause", "--yes", "--reason", long], ""),
        (&["pause", "--yes", "--reason", "another"], "cutover pause --replace"),
        (&["switch", "green", "--force", "--yes", "--reason", long], "cutover unpause"),
        (&["unpause"], ""),
        (&["rollback", "--to", "blue"], ""),
        (&["rollback"], "cutover rollback --to green"),
        (&["canary", "start", "--yes", "--reason", long], "cutover canary abort"),
        (&["canary", "status"], ""),
        (&["canary", "start", "--yes"], "cutover canary status"),
        (&["canary", "abort", "--reason", long], ""),
        (&["history", "releases"], ""),
        (&["history", "verify"], ""),
        (&["wait", "--active", "green", "--timeout", "50ms"], ""),
        (&["reload"], ""),
        (&["notify", "test"], ""),
        (&["status", "--admin", "127.0.0.1:1"], "systemctl status cutover"),
    ];
    for &(args, command) in cases {
        let (_, screen) = Session::run(&proxy, args).ends().await;
        assert!(too_long(&screen).is_empty(), "{args:?}: {:#?} in\n{screen}", too_long(&screen));
        assert!(screen.lines().any(|line| line.contains(command)), "{args:?}: {command} is not in\n{screen}");
    }
    let mut asked = Session::run(&proxy, &["switch", "green", "--force=health,quarantine,schema,file,cooldown,bake"]);
    asked.shows("Continue? [y/N] ").await;
    asked.types("n\n");
    let (_, screen) = asked.ends().await;
    assert!(too_long(&screen).is_empty(), "{screen}");
    let broken =
        proxy.text().replace("rise = 1", &format!("rise = 0 # {long}, {long}")) + "\n[unknown_section_of_a_file]\n";
    proxy.write_file(&broken);
    proxy.until("it is not valid", |status| status["file"]["error"].is_string()).await;
    for args in [&["status", "-v"][..], &["check"], &["reload"], &["switch", "green", "--yes"], &deploy] {
        let (_, screen) = Session::run(&proxy, args).ends().await;
        assert!(too_long(&screen).is_empty(), "{args:?}: {:#?} in\n{screen}", too_long(&screen));
        assert!(screen.contains("health.rise"), "{args:?}: {screen}");
    }
}
