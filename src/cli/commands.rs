//! The commands that ask the running proxy for something: one question, one answer, printed.

use std::io::IsTerminal;
use std::time::Duration;

use serde::Serialize;

use crate::admin::api::{
    FreezeBody, FrozenAnswer, NotifyTestAnswer, NotifyTestBody, ReloadAnswer, StatusAnswer, UnfreezeBody,
};
use crate::cli::args::{Freeze, Status};
use crate::cli::client::Client;
use crate::cli::output::{complain, print};
use crate::cli::{Failure, asking, render};

/// How often a drain is looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);
/// What nothing has to be waited for is answered by then.
const ANSWER: Duration = Duration::from_secs(30);
/// A test sends a dozen notices, one after the other.
const TEST: Duration = Duration::from_secs(300);

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
    let reason = asking::reason(options.reason, false).ok_or_else(|| {
        Failure::Usage(
            "a freeze needs a reason, because everybody who is refused is told: `cutover freeze --reason …`".to_owned(),
        )
    })?;
    let body = FreezeBody { reason, until, replace: options.replace };
    let answer: FrozenAnswer = client.post("/admin/freeze", &body, ANSWER).await?;
    print(&if json { line(&answer) } else { render::moves::frozen(&answer) });
    Ok(())
}

pub(crate) async fn unfreeze(client: &Client, reason: Option<String>, json: bool) -> Result<(), Failure> {
    let answer: FrozenAnswer = client.delete("/admin/freeze", &UnfreezeBody { reason }, ANSWER).await?;
    print(&if json { line(&answer) } else { render::moves::frozen(&answer) });
    Ok(())
}

pub(crate) async fn reload(client: &Client, json: bool) -> Result<(), Failure> {
    let answer: ReloadAnswer = client.post("/admin/reload", &serde_json::json!({}), ANSWER).await?;
    if let Some(refusal) = &answer.refusal {
        if json {
            print(&line(&answer));
        }
        let detail = refusal.detail.lines().next().unwrap_or_default();
        let text = format!(
            "The configuration is in force, but its order was refused: {}: {}",
            refusal.code,
            render::plain(detail)
        );
        return Err(Failure::Ended(text, 3));
    }
    let order = if answer.order == "pending" { " Its order is still pending." } else { "" };
    print(&match (json, answer.changed) {
        (true, _) => line(&answer),
        (false, true) => format!("The configuration was read and is in force.{order}\n"),
        (false, false) => format!("Nothing new: the proxy already runs this version of the file.{order}\n"),
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

fn print_raw(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One JSON document a line.
pub(crate) fn line(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string(value).unwrap_or_default())
}
