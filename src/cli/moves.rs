//! `cutover switch` and `cutover rollback`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::admin::api::{Draining, Forced, RollbackBody, StatusAnswer, SwitchAnswer, SwitchBody};
use crate::cli::args::moves::{Rollback, Switch, WaitFor, Waits};
use crate::cli::client::Client;
use crate::cli::commands::GLANCE;
use crate::cli::output::{self, complain, print};
use crate::cli::waiting::{self, Interrupts, Patience};
use crate::cli::{Failure, asking, render};
use crate::domain::color::Color;

const DRAINS: Duration = Duration::from_secs(90);

impl From<Waits> for Patience {
    fn from(Waits { timeout, detach }: Waits) -> Patience {
        Patience { timeout, detach }
    }
}

pub(crate) async fn switch(client: &Client, options: Switch, json: bool) -> Result<(), Failure> {
    let Some(to) = target(&options) else { return Err(which(client).await) };
    let forced = options.force.forced();
    if !options.dry_run {
        confirmed(client, options.color, &forced, options.force.yes).await?;
    }
    let asks = !options.dry_run && !json;
    let patience = Patience::from(options.waits);
    let body = SwitchBody {
        force: forced,
        if_generation: options.expected.if_generation,
        dry_run: options.dry_run,
        overlap: options.overlap.named(),
        timeout: patience.gate(),
        known_good_after: options.known_good_after.map(|after| humantime::format_duration(after).to_string()),
        detach: options.waits.detach,
        reason: if asks { asking::reason(options.reason, options.force.yes) } else { options.reason },
        ..to
    };
    let client = &client.once(options.once.idempotency_key.as_deref())?;
    let mut interrupts = Interrupts::listen();
    let mut answer: SwitchAnswer = waiting::ask(client, "/admin/switch", &body, patience, &mut interrupts).await?;
    let wait = options.wait == WaitFor::Drained || options.fail_on_cut;
    if wait && !json {
        print(&render::moves::moved(&answer, "Switched"));
    }
    let timeout = options.waits.timeout.unwrap_or(DRAINS);
    let waited = if wait { drained(client, &mut answer, timeout, false, &mut interrupts).await } else { Ok(()) };
    let words = |answer: &SwitchAnswer| match (wait, answer.draining.is_some()) {
        (true, true) => String::new(),
        (true, false) => render::moves::drained(answer.drained.as_ref()),
        (false, _) => render::moves::moved(answer, "Switched"),
    };
    // The switch was made all the same, and a script has to know.
    waited.map_err(|failure| output::told_with(json, &answer, |_| String::new(), failure))?;
    let cut_off = answer.drained.as_ref().map_or(0, |drained| drained.cut_off);
    if options.fail_on_cut && cut_off > 0 {
        let (previous, active) = (&answer.previous, &answer.active);
        let text = format!("the drain of {previous} cut off {cut_off} of its requests; {active} serves");
        return Err(output::told_with(json, &answer, words, Failure::Ended("cut_off".to_owned(), text, 1)));
    }
    output::answer(json, &answer, words);
    Ok(())
}

fn target(options: &Switch) -> Option<SwitchBody> {
    let body = SwitchBody::default();
    match (&options.color, options.other, &options.to_release) {
        (Some(color), ..) => Some(SwitchBody { to: Some(color.to_string()), ..body }),
        (None, true, _) => Some(body),
        (None, false, Some(release)) => Some(SwitchBody { to_release: Some(release.clone()), ..body }),
        (None, false, None) => None,
    }
}

/// Without a color, each repeat would switch back.
async fn which(client: &Client) -> Failure {
    let commands = match client.get::<StatusAnswer>("/admin/status").await {
        Ok(status) => {
            let (active, release) = (&status.active, &status.release);
            let (other, there) = if active == "blue" { ("green", &status.green) } else { ("blue", &status.blue) };
            format!(
                "\nTo move all traffic to {other} ({}): cutover switch {other}\nTo change nothing, because {active} ({release}) serves: cutover switch {active}",
                there.release
            )
        }
        Err(_) => "\n  cutover switch blue\n  cutover switch green".to_owned(),
    };
    Failure::Usage(format!("A switch needs a color, --other or --to-release.{commands}"))
}

async fn confirmed(client: &Client, to: Option<Color>, forced: &Forced, yes: bool) -> Result<(), Failure> {
    if forced.is_none() {
        return Ok(());
    }
    let guards = match forced {
        Forced::Guards(guards) => guards.join(", "),
        Forced::All(_) => "every guard (health, quarantine, schema, file)".to_owned(),
    };
    let mut what = format!("--force overrides {guards}.");
    if !yes && let Ok(status) = client.get::<StatusAnswer>("/admin/status").await {
        let other = if status.active == "blue" { "green" } else { "blue" };
        let to = to.map_or(other, Color::as_str);
        let there = if to == "blue" { &status.blue } else { &status.green };
        let up = there.endpoints.iter().filter(|endpoint| endpoint.health == "up").count();
        let all = there.endpoints.len();
        what.push_str(&format!(" {up} of {all} endpoints of {to} ({}) are up.", there.release));
    }
    asking::confirmed(&what, yes)
}

pub(crate) async fn rollback(client: &Client, options: Rollback, json: bool) -> Result<(), Failure> {
    let forced = options.force.forced();
    if !options.dry_run {
        confirmed(client, options.to, &forced, options.force.yes).await?;
    }
    // A plain rollback asks nothing: it is typed in a hurry.
    let asks = !json && !options.dry_run && (!forced.is_none() || options.quarantine);
    let body = RollbackBody {
        to: options.to.as_ref().map(Color::to_string),
        if_generation: options.expected.if_generation,
        force: forced,
        dry_run: options.dry_run,
        quarantine: options.quarantine,
        overlap: options.overlap.named(),
        reason: if asks { asking::reason(options.reason, options.force.yes) } else { options.reason },
    };
    let client = &client.once(options.once.idempotency_key.as_deref())?;
    let mut interrupts = Interrupts::listen();
    let patience = Patience::from(options.waits);
    let answer: SwitchAnswer = waiting::ask(client, "/admin/rollback", &body, patience, &mut interrupts).await?;
    output::answer(json, &answer, |answer| render::moves::moved(answer, "Rolled back"));
    Ok(())
}

/// Waits for a drain's end: a bar on a terminal, a line now and then elsewhere. The remaining requests go into the
/// answer.
pub(crate) async fn drained(
    client: &Client,
    answer: &mut SwitchAnswer,
    timeout: Duration,
    silent: bool,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let began = Instant::now();
    let total = |draining: &Draining| draining.requests + draining.streams + draining.tunnels;
    let mut most = answer.draining.as_ref().map_or(0, total);
    // Draws on standard error, and only on a terminal.
    let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(most) };
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len} ended · {wide_msg}") {
        bar.set_style(style);
    }
    let (mut told, mut seen) = (began, false);
    loop {
        let status: StatusAnswer = client.get("/admin/status").await?;
        let Some(draining) = status.draining.filter(|draining| draining.color != answer.active) else {
            bar.finish_and_clear();
            answer.draining = None;
            // An earlier drain does not concern this switch.
            let of_this = answer.changed || seen;
            answer.drained = status.last_drain.filter(|drained| of_this && drained.color != answer.active);
            return Ok(());
        };
        seen = true;
        let left = total(&draining);
        most = most.max(left);
        bar.set_length(most);
        bar.set_position(most - left);
        bar.set_message(render::left(&draining));
        if !silent && bar.is_hidden() && told.elapsed() >= Duration::from_secs(5) {
            told = Instant::now();
            complain(&format!("draining {}", render::left(&draining)));
        }
        let ended = if began.elapsed() >= timeout {
            let text = format!(
                "{} serves; {} is not drained after {}: {}",
                answer.active,
                draining.color,
                humantime::format_duration(timeout),
                render::left(&draining),
            );
            Some(Failure::TimedOut(text))
        } else {
            tokio::select! {
                () = tokio::time::sleep(GLANCE) => None,
                code = interrupts.next() => {
                    let (active, color) = (&answer.active, &draining.color);
                    let text = format!("Stopped waiting; {active} serves, and {color} still drains.");
                    Some(Failure::Ended("interrupted".to_owned(), text, code))
                }
            }
        };
        if let Some(failure) = ended {
            bar.finish_and_clear();
            answer.draining = Some(draining);
            return Err(failure);
        }
    }
}
