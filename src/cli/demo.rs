//! `cutover demo`: two small applications, the real proxy with a real file and ledger in a temporary directory, a
//! trickle of traffic, one round of a switch and a rollback, and commands to paste. Or a story (`demo::story`).

mod application;
mod channel;
mod load;
mod shop;
mod story;
mod traffic;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::admin::api::{RollbackBody, SwitchAnswer, SwitchBody};
use crate::app::{self, Running};
use crate::cli::args::{Demo, Story};
use crate::cli::client::Client;
use crate::cli::demo::application::Application;
use crate::cli::demo::story::Stage;
use crate::cli::demo::traffic::Traffic;
use crate::cli::output::print;
use crate::cli::{Failure, on_runtime, render};
use crate::control::handle::News;
use crate::domain::color::Color;
use crate::domain::transition::Drained;
use crate::sys::signals::{Signal, Signals};
use crate::telemetry;

/// The default ports; another one replaces one that is taken.
const HTTP_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9900;
const TRIES: usize = 5;

pub(crate) fn run(options: &Demo) -> Result<(), Failure> {
    on_runtime(async {
        let failed = |error: std::io::Error| Failure::Failed(format!("the demo could not start: {error}"));
        let mut signals = Signals::listen().map_err(failed)?;
        let dir = tempfile::Builder::new().prefix("cutover-demo-").tempdir().map_err(failed)?;
        let file = dir.path().join("cutover.toml");
        // Log lines would interrupt the narration.
        telemetry::log_to(&dir.path().join("cutover.log")).map_err(failed)?;
        if let Some(story) = options.story {
            return play(story, options.stay, &file, &mut signals).await;
        }
        let blue = Application::start(Color::Blue, "2.13.0").await.map_err(failed)?;
        let green = Application::start(Color::Green, "2.14.0").await.map_err(failed)?;
        let proxy = start(&file, [HTTP_PORT, ADMIN_PORT], |listen| {
            configuration(dir.path(), listen, blue.address, green.address)
        })
        .await?;
        let traffic = Traffic::start(proxy.http_address());
        print(&introduction(&proxy, &file, &blue, &green));
        let shown = tokio::select! {
            shown = round(&proxy, &traffic) => shown,
            _ = signals.next() => Ok(()),
        };
        if shown.is_ok() && !options.once {
            print(&suggestions(&proxy, &file));
            tokio::select! {
                () = tell(&proxy, &traffic) => {}
                () = interrupted(&mut signals) => {}
            }
            print(&format!("\nEnded after {}.\n", traffic.summary()));
        }
        let _ = tokio::task::spawn_blocking(move || drop(proxy)).await;
        shown
    })
}

/// Replaces a taken port. The file has the new one, so that commands that read it find the proxy.
async fn start(
    file: &Path,
    ports: [u16; 2],
    configuration: impl Fn([SocketAddr; 2]) -> String,
) -> Result<Running, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the demo could not start: {error}"));
    for tried in 0.. {
        let listen = free(if tried == 0 { ports } else { [0; 2] }).map_err(|error| failed(&error))?;
        std::fs::write(file, configuration(listen)).map_err(|error| failed(&error))?;
        // Ending the proxy waits for its threads, which must not block the applications.
        let started = tokio::task::spawn_blocking({
            let file = file.to_owned();
            move || Running::start(&file)
        });
        match started.await {
            Ok(Ok(proxy)) => return Ok(proxy),
            Ok(Err(app::Error::Io { .. })) if tried < TRIES => {}
            Ok(Err(error)) => return Err(failed(&error)),
            Err(error) => return Err(failed(&error)),
        }
    }
    unreachable!("the last try returns")
}

async fn play(story: Story, stay: bool, file: &Path, signals: &mut Signals) -> Result<(), Failure> {
    let mut stage = Stage::build(story, file).await?;
    let played = tokio::select! {
        played = stage.play(story) => Some(played),
        _ = signals.next() => None,
    };
    let came_out = match played {
        None => Ok(()),
        Some(Err(failure)) => Err(failure),
        Some(Ok(deployment)) => {
            let program =
                std::env::current_exe().map_or_else(|_| "cutover".to_owned(), |path| path.display().to_string());
            let file = file.display();
            let until = if stay { "until Ctrl-C" } else { "with `--stay`, as long as you like" };
            print(&format!(
                "\nThe same is shown by ({until}):\n\n  {program} --config {file} canary status\n  {program} --config {file} history\n  \
                 {program} --config {file} replay {deployment}\n"
            ));
            if stay {
                interrupted(signals).await;
            }
            Ok(())
        }
    };
    let _ = tokio::task::spawn_blocking(move || drop(stage.proxy)).await;
    came_out
}

async fn interrupted(signals: &mut Signals) {
    while signals.next().await != Signal::Stop {}
}

fn configuration(dir: &Path, [http, admin]: [SocketAddr; 2], blue: SocketAddr, green: SocketAddr) -> String {
    format!(
        r#"# The demo's configuration. Edit it while the demo runs: `active` is an order.
active = "blue"

[listen]
http  = "{http}"
admin = "{admin}"

[state]
dir = {state:?}

[health]
path = "/healthz"

[log]
format = "text"
access = "off"

[blue]
release   = "2.13.0"
endpoints = ["{blue}"]

[green]
release   = "2.14.0"
endpoints = ["{green}"]
"#,
        state = dir.join("state"),
    )
}

/// Free addresses, with these ports if possible.
fn free(ports: [u16; 2]) -> std::io::Result<[SocketAddr; 2]> {
    let bind =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    // Both are bound at once, so that they differ.
    let (http, admin) = (bind(ports[0])?, bind(ports[1])?);
    Ok([http.local_addr()?, admin.local_addr()?])
}

fn introduction(proxy: &Running, file: &Path, blue: &Application, green: &Application) -> String {
    format!(
        "
Two applications, and Cutover in front of them:

  traffic        http://{}/
  admin API      http://{}/admin/status
  configuration  {}
  log            {}
  {}           release 2.13.0 at {}
  {}          release 2.14.0 at {}

One round, shown with ten requests a second going on:

",
        proxy.http_address(),
        proxy.admin_address(),
        file.display(),
        file.with_extension("log").display(),
        render::color("blue"),
        blue.address,
        render::color("green"),
        green.address,
    )
}

async fn round(proxy: &Running, traffic: &Arc<Traffic>) -> Result<(), Failure> {
    let client = Client::at(&proxy.admin_address().to_string())?;
    let seen = async |what: &str| {
        let text = traffic.ask().await.map_err(|error| Failure::Failed(format!("GET / failed: {error}")))?;
        print(&format!("  {what:<28} {text}"));
        Ok::<(), Failure>(())
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    seen("GET /").await?;
    let body = SwitchBody { to: Some("green".to_owned()), reason: Some("demo".to_owned()), ..SwitchBody::default() };
    let answer: SwitchAnswer = client.post("/admin/switch", &body, Duration::from_secs(30)).await?;
    print(&format!(
        "  {:<28} {}",
        "POST /admin/switch",
        render::moves::moved(&answer, "Switched").lines().next().unwrap_or("")
    ));
    print("\n");
    seen("GET /").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let body = RollbackBody { reason: Some("demo".to_owned()), ..RollbackBody::default() };
    let answer: SwitchAnswer = client.post("/admin/rollback", &body, Duration::from_secs(30)).await?;
    print(&format!(
        "  {:<28} {}",
        "POST /admin/rollback",
        render::moves::moved(&answer, "Rolled back").lines().next().unwrap_or("")
    ));
    print("\n");
    seen("GET /").await?;
    print(&format!("\n  Meanwhile: {}.\n", traffic.summary()));
    Ok(())
}

fn suggestions(proxy: &Running, file: &Path) -> String {
    let program = std::env::current_exe().map_or_else(|_| "cutover".to_owned(), |path| path.display().to_string());
    let (http, admin, file) = (proxy.http_address(), proxy.admin_address(), file.display());
    format!(
        r#"
Now you, in another terminal:

  curl http://{http}/
  curl -X POST http://{admin}/admin/switch
  curl -X POST http://{admin}/admin/rollback
  sed -i 's/^active = .*/active = "green"/' {file}
  {program} --config {file} status
  {program} --config {file} switch blue --wait drained --reason "back to work"
  {program} --config {file} history
  curl -N http://{http}/slow        # a minute long; switch meanwhile, it stays where it began
  curl -N http://{admin}/admin/events

Ctrl-C ends it. What happens:

"#
    )
}

async fn tell(proxy: &Running, traffic: &Traffic) {
    let mut news = proxy.handle().news.subscribe();
    loop {
        match news.recv().await {
            Ok(News::Drained(Drained { color, ended, .. })) => {
                let what = if ended.total() == 0 { "drained".to_owned() } else { format!("drained; {ended} ended") };
                print(&format!("  {} is {what}. {}\n", render::color(color.as_str()), traffic.summary()));
            }
            Ok(News::Transition(..) | News::Held(_) | News::Health { .. } | News::Reloaded(_) | News::Numbers(_))
            | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
