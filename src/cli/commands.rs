//! The commands that ask the running proxy for something: one question, one answer, printed.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::admin::api::{
    Draining, FreezeBody, FrozenAnswer, NotifyTestAnswer, NotifyTestBody, ReloadAnswer, RollbackBody, StatusAnswer,
    SwitchAnswer, SwitchBody, UnfreezeBody,
};
use crate::cli::Failure;
use crate::cli::args::{Freeze, Overlap, Rollback, Status, Switch, WaitFor};
use crate::cli::client::Client;
use crate::cli::output::{complain, print};
use crate::cli::render;
use crate::domain::color::Color;

/// How often a drain is looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);
/// What nothing has to be waited for is answered by then.
const ANSWER: Duration = Duration::from_secs(30);
/// A test sends a dozen notices, one after the other.
const TEST: Duration = Duration::from_secs(300);

pub(crate) async fn switch(client: &Client, options: Switch, json: bool) -> Result<(), Failure> {
    let body = SwitchBody {
        to: options.color.as_ref().map(Color::to_string),
        if_generation: options.if_generation,
        force: options.force,
        dry_run: options.dry_run,
        overlap: overlap(options.overlap, options.no_overlap),
        wait: None,
        if_staged: None,
        reason: options.reason,
    };
    let mut answer: SwitchAnswer = client.post("/admin/switch", &body, options.timeout).await?;
    let wait = options.wait == WaitFor::Drained;
    if wait && !json {
        print(&render::moved(&answer, "Switched"));
    }
    let waited = if wait { drained(client, &mut answer, options.timeout, false).await } else { Ok(()) };
    if json && waited.is_err() {
        // The switch was made all the same, and a script has to know.
        print(&line(&answer));
    }
    waited?;
    if json {
        print(&line(&answer));
    } else if wait {
        print("Drained: nothing is left on the color that served before.\n");
    } else {
        print(&render::moved(&answer, "Switched"));
    }
    Ok(())
}

pub(crate) async fn rollback(client: &Client, options: Rollback, json: bool) -> Result<(), Failure> {
    let body = RollbackBody {
        if_generation: options.if_generation,
        force: options.force,
        quarantine: options.quarantine,
        overlap: overlap(options.overlap, options.no_overlap),
        reason: options.reason,
    };
    let answer: SwitchAnswer = client.post("/admin/rollback", &body, options.timeout).await?;
    print(&if json { line(&answer) } else { render::moved(&answer, "Rolled back") });
    Ok(())
}

fn overlap(overlap: Overlap, no_overlap: bool) -> Option<String> {
    (no_overlap || overlap == Overlap::None).then(|| "none".to_owned())
}

pub(crate) async fn status(client: &Client, options: &Status, json: bool) -> Result<(), Failure> {
    let Status { watch, check, verbose } = *options;
    let terminal = std::io::stdout().is_terminal();
    loop {
        let found = client.get::<StatusAnswer>("/admin/status").await;
        let text = match &found {
            Ok(status) if json => line(status),
            Ok(status) if check => render::headline(&client.pasteable(&status.headline)),
            Ok(status) => {
                let headline = client.pasteable(&status.headline);
                render::status(&StatusAnswer { headline, ..status.clone() }, verbose)
            }
            // Who watches wants to see it come back.
            Err(failure @ (Failure::Unreachable(_) | Failure::TimedOut(_))) if watch => {
                if json {
                    complain(&failure.text());
                    String::new()
                } else {
                    format!("{}\n", failure.text())
                }
            }
            Err(_) => return found.map(|_| ()),
        };
        let clear = if watch && terminal && !json { "\x1b[H\x1b[2J" } else { "" };
        let gap = if watch && !terminal && !json { "\n" } else { "" };
        // Colors are decided on by `print`; the cursor is moved on terminals alone.
        if !clear.is_empty() {
            print_raw(clear);
        }
        print(&format!("{text}{gap}"));
        if !watch {
            let status = found?;
            return match check && !status.headline.is_ok() {
                true => Err(Failure::NotWell),
                false => Ok(()),
            };
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

pub(crate) async fn freeze(client: &Client, options: Freeze, json: bool) -> Result<(), Failure> {
    let until = options.until.map(|until| humantime::format_rfc3339_millis(until).to_string());
    let body = FreezeBody { reason: options.reason, until };
    let answer: FrozenAnswer = client.post("/admin/freeze", &body, ANSWER).await?;
    print(&if json { line(&answer) } else { render::frozen(&answer) });
    Ok(())
}

pub(crate) async fn unfreeze(client: &Client, reason: Option<String>, json: bool) -> Result<(), Failure> {
    let answer: FrozenAnswer = client.delete("/admin/freeze", &UnfreezeBody { reason }, ANSWER).await?;
    print(&if json { line(&answer) } else { render::frozen(&answer) });
    Ok(())
}

pub(crate) async fn reload(client: &Client, json: bool) -> Result<(), Failure> {
    let answer: ReloadAnswer = client.post("/admin/reload", &serde_json::json!({}), ANSWER).await?;
    print(&match (json, answer.changed) {
        (true, _) => line(&answer),
        (false, true) => "The configuration was read and is in force.\n".to_owned(),
        (false, false) => "The configuration is as it was.\n".to_owned(),
    });
    Ok(())
}

pub(crate) async fn notify_test(client: &Client, body: NotifyTestBody, json: bool) -> Result<(), Failure> {
    let answer: NotifyTestAnswer = client.post("/admin/notify/test", &body, TEST).await?;
    print(&if json { line(&answer) } else { render::notify_test(&answer) });
    if answer.delivered {
        return Ok(());
    }
    let failed = answer.notices.iter().filter(|notice| !notice.delivered).count();
    Err(Failure::Failed(format!("{failed} of {} notices did not get there", answer.notices.len())))
}

/// Waits for the end of a drain: a bar on a terminal, a line now and then otherwise. What is left goes into the answer.
pub(crate) async fn drained(
    client: &Client,
    answer: &mut SwitchAnswer,
    timeout: Duration,
    silent: bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    let total = |draining: &Draining| draining.requests + draining.streams + draining.tunnels;
    let mut most = answer.draining.as_ref().map_or(0, total);
    // Draws on standard error, and nothing where that is no terminal.
    let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(most) };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} ended · {msg}") {
        bar.set_style(style);
    }
    let mut told = began;
    loop {
        let status: StatusAnswer = client.get("/admin/status").await?;
        let Some(draining) = status.draining.filter(|draining| draining.color != answer.active) else {
            bar.finish_and_clear();
            answer.draining = None;
            return Ok(());
        };
        let left = total(&draining);
        most = most.max(left);
        bar.set_length(most);
        bar.set_position(most - left);
        bar.set_message(render::left(&draining));
        if !silent && bar.is_hidden() && told.elapsed() >= Duration::from_secs(5) {
            told = Instant::now();
            complain(&format!("draining {}", render::left(&draining)));
        }
        if began.elapsed() >= timeout {
            bar.finish_and_clear();
            let text = format!(
                "{} serves; {} is not drained after {}: {}",
                answer.active,
                draining.color,
                humantime::format_duration(timeout),
                render::left(&draining),
            );
            answer.draining = Some(draining);
            return Err(Failure::TimedOut(text));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn print_raw(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One JSON document a line.
pub(crate) fn line(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string(value).unwrap_or_default())
}
