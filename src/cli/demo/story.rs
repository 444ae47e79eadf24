//! `cutover demo --story`: a bad release, from its first requests to the message that it was taken back. The proxy, the
//! applications, the load and the message are real; nothing is told that did not happen, and what did not come out as it should
//! ends the story with an error.

mod telling;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::admin::api::{CanaryAnswer, CanaryBody, CanaryMoved};
use crate::app::Running;
use crate::cli::Failure;
use crate::cli::args::Story;
use crate::cli::client::{Client, LOOK};
use crate::cli::demo::load::{Load, Seen};
use crate::cli::demo::shop::{Manner, PAGES, Shop};
use crate::cli::demo::{channel, start};
use crate::control::handle::News;
use crate::domain::deployment::DeploymentId;
use crate::domain::transition::{Kind, Transition, Trigger};
use crate::domain::verdict::{Class, Judgement};

use telling::Telling;

const OLD: &str = "2.13.0";
const NEW: &str = "2.14.0";
/// Requests a second.
const RATE: u32 = 400;
/// What is usual is learnt in this time.
const USUAL: Duration = Duration::from_secs(5);
/// A story that is not over by then has come out otherwise.
const LONGEST: Duration = Duration::from_secs(45);
/// How often it is said where the judge stands.
const LOOKED_EVERY: Duration = Duration::from_secs(2);
/// What was under way at the rollback has ended by then.
const SETTLED: Duration = Duration::from_secs(1);

/// How a good release behaves.
const GOOD: Manner = Manner { errors: 0.001, median: Duration::from_millis(10), sigma: 0.6, slower: 1.0 };

impl Story {
    fn bad(self) -> Manner {
        match self {
            Story::Checkout => Manner { slower: 3.0, ..GOOD },
            Story::Spike => Manner { errors: 0.08, ..GOOD },
        }
    }

    fn title(self) -> &'static str {
        match self {
            Story::Checkout => "on its /checkout everything takes 3 times as long",
            Story::Spike => "8 % of its answers are errors, instead of 0.1 %",
        }
    }

    /// What the verdict has to rest on.
    fn is_found(self, judgement: &Judgement) -> bool {
        judgement.findings.iter().any(|finding| match self {
            Story::Checkout => finding.class != Class::Error && finding.route.as_deref() == Some("/checkout"),
            Story::Spike => finding.class == Class::Error,
        })
    }
}

/// All that takes part.
pub(super) struct Stage {
    pub(super) proxy: Running,
    load: Load,
    green: Shop,
    posts: UnboundedReceiver<Value>,
    telling: Telling,
}

/// What the story has come to.
struct Ending {
    deployment: DeploymentId,
    began: SystemTime,
    rollback: Arc<Transition>,
    judgement: Judgement,
    /// Its message is there as well.
    told: Duration,
}

impl Stage {
    /// With this file, and all that belongs to it beside it.
    pub(super) async fn build(file: &Path) -> Result<Stage, Failure> {
        let dir = file.parent().unwrap_or(file);
        let failed = |error: std::io::Error| Failure::Failed(format!("the demo could not start: {error}"));
        let blue = Shop::open("blue", GOOD).await.map_err(failed)?;
        let green = Shop::open("green", GOOD).await.map_err(failed)?;
        let (slack, posts) = channel::open().await.map_err(failed)?;
        let url = dir.join("slack.url");
        std::fs::write(&url, format!("http://{slack}/services/T0/B0/demo\n")).map_err(failed)?;
        let proxy = start(file, [0; 2], |[http, admin]| {
            format!(
                r#"active = "blue"

[listen]
http  = "{http}"
admin = "{admin}"

[service]
name        = "shop"
environment = "demo"

[state]
dir = {state:?}

[health]
path = "/healthz"

[log]
format = "text"
access = "off"

[analysis]                                   # all else is as it is by default
warmup = {{ requests = 50, time = "2s" }}      # by default 30 s, which is too long for a story

[[notify]]
name     = "team"
kind     = "slack"
url_file = {url:?}

[blue]
release   = "{OLD}"
endpoints = ["{blue}"]

[green]
release   = "{NEW}"
endpoints = ["{green}"]
"#,
                state = dir.join("state"),
                blue = blue.address,
                green = green.address,
            )
        })
        .await?;
        let load = Load::start(proxy.http_address(), RATE, &PAGES);
        Ok(Stage { proxy, load, green, posts, telling: Telling::begin() })
    }

    /// Plays it; an error where it does not come out as told.
    pub(super) async fn play(&mut self, story: Story) -> Result<DeploymentId, Failure> {
        let client = Client::at(&self.proxy.admin_address().to_string())?;
        self.telling.introduction(story.title(), RATE);
        tokio::time::sleep(USUAL).await;
        self.telling.usual(&self.load.seen(), USUAL);
        self.green.behaves(story.bad());
        let ending = self.until_taken_back(&client).await?;
        let refusal = self.ask_again(&client).await?;
        // What was under way then has ended, and nothing comes after it.
        tokio::time::sleep(SETTLED).await;
        let (seen, before) = (self.load.seen(), self.green.requests());
        tokio::time::sleep(SETTLED).await;
        let late = self.green.requests() - before;
        self.telling.refused(&refusal);
        self.telling.hurt(story, &ending, &seen, late);
        let faults = faults(story, &ending, &seen, late);
        if !faults.is_empty() {
            return Err(Failure::Failed(format!("it should have been otherwise: {}", faults.join("; "))));
        }
        Ok(ending.deployment)
    }

    /// From the first request to the message.
    async fn until_taken_back(&mut self, client: &Client) -> Result<Ending, Failure> {
        let mut news = self.proxy.handle().news.subscribe();
        let body = CanaryBody { reason: Some(format!("release {NEW}")), ..CanaryBody::default() };
        let _: CanaryMoved = client.post("/admin/canary", &body, LOOK).await?;
        let deadline = tokio::time::sleep_until((Instant::now() + LONGEST).into());
        let mut deadline = std::pin::pin!(deadline);
        let mut look = tokio::time::interval(LOOKED_EVERY);
        let mut began = None;
        let mut taken_back: Option<(Arc<Transition>, Instant)> = None;
        loop {
            tokio::select! {
                // What happened first: its message comes after it, and may be here when both are looked at.
                biased;
                heard = news.recv() => match heard {
                    Ok(News::Transition(_, transition)) => match transition.kind {
                        Kind::Canary => {
                            let deployment = transition.decision.deployment.as_ref().map(|deployment| deployment.id);
                            began = began.or(deployment.map(|id| (id, transition.at)));
                            self.telling.canary(&transition);
                        }
                        Kind::Rollback if transition.origin.trigger == Trigger::Automatic && taken_back.is_none() => {
                            self.telling.taken_back(&transition);
                            taken_back = Some((transition, Instant::now()));
                        }
                        _ => self.telling.happened(&transition),
                    },
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Failure::Failed("the proxy has ended".to_owned())),
                },
                Some(message) = self.posts.recv() => {
                    let of_rollback = channel::readable(&message).iter().any(|line| line.contains("deployment.rolled_back"));
                    self.telling.message(&message, of_rollback);
                    if let (true, Some((rollback, at)), Some((deployment, began))) = (of_rollback, &taken_back, began) {
                        let Some(judgement) = rollback.judgement.clone() else {
                            return Err(Failure::Failed("the rollback has no verdict".to_owned()));
                        };
                        return Ok(Ending { deployment, began, rollback: rollback.clone(), judgement, told: at.elapsed() });
                    }
                }
                _ = look.tick(), if taken_back.is_none() => {
                    let answer: CanaryAnswer = client.get("/admin/canary").await?;
                    if let Some(canary) = answer.canary {
                        self.telling.evidence(&canary);
                    }
                }
                () = &mut deadline => {
                    let what = if taken_back.is_some() { "no message came" } else { "the release was not taken back" };
                    return Err(Failure::Failed(format!("{what} in {} s", LONGEST.as_secs())));
                }
            }
        }
    }

    /// The same release once more: why not.
    async fn ask_again(&self, client: &Client) -> Result<String, Failure> {
        match client.post::<CanaryMoved>("/admin/canary", &CanaryBody::default(), LOOK).await {
            Err(Failure::Refused(problem)) if problem.code == "quarantined" => Ok(problem.detail),
            Err(Failure::Refused(problem)) => {
                Err(Failure::Failed(format!("refused, but not for quarantine: {}", problem.detail)))
            }
            Err(other) => Err(other),
            Ok(_) => Err(Failure::Failed("the release that was taken back may begin again".to_owned())),
        }
    }
}

/// What is not as it should be.
fn faults(story: Story, ending: &Ending, seen: &Seen, late: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    check(story.is_found(&ending.judgement), "the verdict does not name what is wrong");
    check(late == 0, "the release that was taken back still got requests");
    check(seen.lost == 0, "requests were lost");
    let decision = &ending.rollback.decision;
    check(decision.deployment.is_none() && decision.release.as_str() == OLD, "the old release does not serve alone");
    check(decision.quarantine.iter().any(|bad| bad.release.as_str() == NEW), "the release is not quarantined");
    faults
}
