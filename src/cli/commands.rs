//! The simple commands: one question to the running proxy, one printed answer.

use std::io::IsTerminal;
use std::time::Duration;

use crate::admin::api::{
    FreezeBody, FrozenAnswer, NotifyTestAnswer, NotifyTestBody, ReloadAnswer, StatusAnswer, UnfreezeBody,
};
use crate::cli::args::{Freeze, Status};
use crate::cli::client::Client;
use crate::cli::output::{self, complain, print};
use crate::cli::{Failure, asking, render};

pub(crate) const GLANCE: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(30);
/// A test sends a dozen notices one after the other.
const TEST: Duration = Duration::from_secs(300);

pub(crate) async fn status(client: &Client, options: &Status, json: bool) -> Result<(), Failure> {
    let Status { watch, check, verbose, all: _ } = *options;
    let terminal = std::io::stdout().is_terminal();
    loop {
        let found = client.get::<StatusAnswer>("/admin/status").await;
        if let (false, Ok(status)) = (watch, &found) {
            let words = |status: &StatusAnswer| {
                if check { render::headline(&status.headline) } else { render::status(status, verbose) }
            };
            if check && !status.headline.is_ok() {
                return Err(output::told_with(json, status, words, Failure::NotWell));
            }
            output::answer(json, status, words);
            return Ok(());
        }
        let text = match &found {
            Ok(status) if json => {
                output::document(status);
                String::new()
            }
            Ok(status) => render::status(status, verbose),
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
        // `print` decides on colors; only terminals get cursor movements.
        if !clear.is_empty() {
            print_raw(clear);
        }
        print(&format!("{text}{gap}"));
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
    output::answer(json, &answer, render::moves::frozen);
    Ok(())
}

pub(crate) async fn unfreeze(client: &Client, reason: Option<String>, json: bool) -> Result<(), Failure> {
    let answer: FrozenAnswer = client.delete("/admin/freeze", &UnfreezeBody { reason }, ANSWER).await?;
    output::answer(json, &answer, render::moves::frozen);
    Ok(())
}

pub(crate) async fn reload(client: &Client, json: bool) -> Result<(), Failure> {
    let answer: ReloadAnswer = client.post("/admin/reload", &serde_json::json!({}), ANSWER).await?;
    if let Some(refusal) = &answer.refusal {
        let detail = refusal.detail.lines().next().unwrap_or_default();
        let text = format!(
            "The configuration is in force, but its order was refused: {}: {}",
            refusal.code,
            render::plain(detail)
        );
        let failure = Failure::Ended(refusal.code.clone(), text, 3);
        return Err(output::told_with(json, &answer, |_| String::new(), failure));
    }
    let order = if answer.order == "pending" { " Its order is still pending." } else { "" };
    output::answer(json, &answer, |answer| match answer.changed {
        true => format!("The configuration was read and is in force.{order}\n"),
        false => format!("Nothing new: the proxy already runs this version of the file.{order}\n"),
    });
    Ok(())
}

pub(crate) async fn notify_test(client: &Client, body: NotifyTestBody, json: bool) -> Result<(), Failure> {
    let answer: NotifyTestAnswer = client.post("/admin/notify/test", &body, TEST).await?;
    if answer.delivered {
        output::answer(json, &answer, render::notify_test);
        return Ok(());
    }
    let failed = answer.notices.iter().filter(|notice| !notice.delivered).count();
    let text = format!("{failed} of {} notices were not delivered", answer.notices.len());
    let failure = Failure::Ended("not_delivered".to_owned(), text, 1);
    Err(output::told_with(json, &answer, render::notify_test, failure))
}

fn print_raw(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
