//! The end of a deploy: the other color's drain, and the time until the release is known good.

use std::time::{Duration, Instant};

use crate::admin::api::{HistoryAnswer, StageAnswer, StatusAnswer, SwitchAnswer};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::commands::GLANCE;
use crate::cli::deploy::DrainedReport;
use crate::cli::moves::drained;
use crate::cli::render;
use crate::cli::wait::{Looks, SECOND};
use crate::cli::waiting::Interrupts;

const TO_DISK: Duration = Duration::from_secs(2);

/// `None`: there was nothing to drain.
pub(super) async fn ended(
    client: &Client,
    moved: &SwitchAnswer,
    timeout: Duration,
    silent: bool,
    interrupts: &mut Interrupts,
) -> Result<Option<DrainedReport>, Failure> {
    let mut answer = moved.clone();
    drained(client, &mut answer, timeout, silent, interrupts).await?;
    let began = Instant::now();
    loop {
        let history: HistoryAnswer = client.get("/admin/history?limit=50&kind=switch").await?;
        let mut moves = history.transitions.into_iter();
        let Some(line) = moves.find(|line| line.generation == moved.generation) else { return Ok(None) };
        if let Some(end) = line.drained {
            return Ok(Some(DrainedReport { color: end.color, took_us: end.took_us, cut_off: end.cut_off }));
        }
        if !moved.changed || began.elapsed() >= TO_DISK {
            return Ok(None);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

pub(super) fn line(report: Option<&DrainedReport>, moved: &SwitchAnswer) -> String {
    let Some(report) = report else {
        let other = if moved.active == "blue" { "green" } else { "blue" };
        return format!("drain  {} has no requests\n", render::color(other));
    };
    let took = render::short(Duration::from_micros(report.took_us));
    let cut = match report.cut_off {
        0 => "nothing was cut off".to_owned(),
        1 => "1 request was cut off".to_owned(),
        n => format!("{n} requests were cut off"),
    };
    format!("drain  {} drained after {took}; {cut}\n", render::color(&report.color))
}

pub(super) async fn known_good(
    client: &Client,
    staged: &StageAnswer,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut looks = Looks::default();
    loop {
        let Some(status) = looks.found(client.get::<StatusAnswer>("/admin/status").await).await? else { continue };
        let serves = status.active == staged.color && status.release == staged.release;
        let on_its_way = status.canary.as_ref().is_some_and(|canary| canary.release == staged.release);
        if serves && status.known_good.is_some() {
            return Ok(());
        }
        if !serves && !on_its_way {
            let text = format!("{} was taken back; {} ({}) serves", staged.release, status.active, status.release);
            return Err(Failure::TakenBack(text));
        }
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            let limit = humantime::format_duration(timeout.unwrap_or_default());
            return Err(Failure::TimedOut(format!(
                "{} is not known good after {limit}; it keeps serving. Next: `cutover status`",
                staged.release
            )));
        }
        tokio::time::sleep(if began.elapsed() < SECOND { GLANCE } else { SECOND }).await;
    }
}
