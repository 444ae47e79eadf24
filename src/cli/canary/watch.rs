//! `cutover canary watch`: the live view. Elsewhere than on a terminal it prints a line per change, and now and then.
//! It survives a restart of the proxy.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::admin::api::{CanaryAnswer, CanaryStatus, HistoryAnswer, TransitionAnswer};
use crate::cli::Failure;
use crate::cli::args::canary::Until;
use crate::cli::client::Client;
use crate::cli::output::{self, complain, print};
use crate::cli::render::canary as render;
use crate::cli::wait::{Looks, SECOND};

const NOW_AND_THEN: Duration = Duration::from_secs(10);

/// Time for the last line to reach the disk, and the interval of looking for it.
const TO_DISK: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct End<'a> {
    /// `took_traffic`, `known_good` or `taken_back`.
    outcome: &'static str,
    deployment: &'a str,
    release: &'a str,
    active: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<&'a TransitionAnswer>,
}

enum Look {
    Under(Box<CanaryStatus>),
    Over,
}

pub(super) async fn run(client: &Client, begun: Option<CanaryStatus>, until: Until, json: bool) -> Result<(), Failure> {
    let mut view = View::new(json);
    let mut followed = begun;
    let mut looks = Looks::default();
    loop {
        let looked = client.get::<CanaryAnswer>("/admin/canary").await;
        // Until there is a deployment to follow, an unreachable proxy is an error.
        let answer = match &followed {
            Some(_) => looks.found(looked).await?,
            None => Some(looked?),
        };
        let Some(answer) = answer else { continue };
        match look(&answer, followed.as_ref()) {
            Look::Under(canary) => {
                view.show(&answer, &canary);
                if until == Until::Traffic && canary.stage == "bake" {
                    return ended(client, &answer, &canary, json).await;
                }
                followed = Some(*canary);
            }
            Look::Over => match &followed {
                Some(canary) => return ended(client, &answer, canary, json).await,
                None => {
                    let text = "no canary is running, and no release bakes; to begin one: `cutover canary start`";
                    return Err(Failure::Ended("no_canary".to_owned(), text.to_owned(), 1));
                }
            },
        }
        tokio::time::sleep(SECOND).await;
    }
}

fn look(answer: &CanaryAnswer, followed: Option<&CanaryStatus>) -> Look {
    match &answer.canary {
        Some(canary) if followed.is_none_or(|followed| followed.id == canary.id) => {
            Look::Under(Box::new(canary.clone()))
        }
        _ => Look::Over,
    }
}

async fn ended(client: &Client, answer: &CanaryAnswer, canary: &CanaryStatus, json: bool) -> Result<(), Failure> {
    let took = answer.active == canary.color && answer.release == canary.release;
    let bakes = answer.canary.as_ref().is_some_and(|now| now.id == canary.id);
    let last = told(client, canary, took, bakes).await?;
    let outcome = match (took, &last) {
        (true, Some(last)) if last.kind == "known_good" => "known_good",
        (true, _) => "took_traffic",
        (false, _) => "taken_back",
    };
    let (deployment, release, active) = (&*canary.id, &*canary.release, &*answer.active);
    let end = End { outcome, deployment, release, active, transition: last.as_ref() };
    let words = |_: &End| render::ended(canary, outcome, last.as_ref());
    if took {
        output::answer(json, &end, words);
        return Ok(());
    }
    let text = format!("release {} was taken back; {} serves", canary.release, answer.release);
    Err(output::told_with(json, &end, words, Failure::TakenBack(text)))
}

/// The transition that ended the deployment. It takes effect before it is on disk and in the history, hence the wait.
async fn told(
    client: &Client,
    canary: &CanaryStatus,
    took: bool,
    bakes: bool,
) -> Result<Option<TransitionAnswer>, Failure> {
    let began = Instant::now();
    loop {
        let history: HistoryAnswer = client.get("/admin/history?limit=50").await?;
        let found = history.transitions.into_iter().find(|transition| speaks_of(transition, canary, took));
        let enough = found.as_ref().is_some_and(|found| !took || bakes || found.kind == "known_good");
        if enough || began.elapsed() >= TO_DISK {
            return Ok(found);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn speaks_of(transition: &TransitionAnswer, canary: &CanaryStatus, took: bool) -> bool {
    // Both have the same format, so they sort by time.
    if transition.at < canary.since {
        return false;
    }
    let kind = transition.kind.as_str();
    if took {
        return ["switch", "known_good"].contains(&kind) && transition.release == canary.release;
    }
    ["rollback", "abort"].contains(&kind) && transition.from_release.as_ref().is_none_or(|from| *from == canary.release)
}

struct View {
    json: bool,
    terminal: bool,
    told: Option<(String, Instant)>,
}

impl View {
    fn new(json: bool) -> View {
        View { json, terminal: !json && std::io::stdout().is_terminal(), told: None }
    }

    fn show(&mut self, answer: &CanaryAnswer, canary: &CanaryStatus) {
        if self.json {
            return output::document(answer);
        }
        if self.terminal {
            // Overwrites line by line from the top, so that nothing flickers.
            let text = render::canary(answer).replace('\n', "\x1b[K\n");
            clear(if self.told.is_none() { "\x1b[H\x1b[2J" } else { "\x1b[H" });
            print(&text);
            clear("\x1b[J");
            self.told.get_or_insert_with(|| (String::new(), Instant::now()));
            return;
        }
        let (place, text) = (render::place(canary), render::tick(canary));
        let news = self.told.as_ref().is_none_or(|(before, at)| *before != place || at.elapsed() >= NOW_AND_THEN);
        if news {
            print(&text);
            self.told = Some((place, Instant::now()));
        }
    }
}

fn clear(how: &str) {
    let mut out = std::io::stdout();
    if let Err(error) = out.write_all(how.as_bytes()).and_then(|()| out.flush()) {
        complain(&format!("could not write the output: {error}"));
    }
}

#[cfg(test)]
mod tests;
