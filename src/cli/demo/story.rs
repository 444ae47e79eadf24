//! `cutover demo --story`: a bad release, from its first requests to the notice of its rollback. Proxy, applications,
//! load and notice are real; an unexpected outcome ends the story with an error.

mod plot;
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
use crate::cli::demo::shop::Shop;
use crate::cli::demo::{channel, start};
use crate::control::handle::News;
use crate::domain::deployment::DeploymentId;
use crate::domain::transition::{Kind, Transition};
use crate::domain::verdict::Judgement;

use plot::GOOD;
use telling::Telling;

const OLD: &str = "2.13.0";
const NEW: &str = "2.14.0";
const RATE: u32 = 400;
const USUAL: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(45);
const LOOKED_EVERY: Duration = Duration::from_secs(2);
/// Requests in flight at the rollback have ended by then.
const SETTLED: Duration = Duration::from_secs(1);

pub(super) struct Stage {
    pub(super) proxy: Running,
    load: Load,
    blue: Shop,
    green: Shop,
    posts: UnboundedReceiver<Value>,
    telling: Telling,
}

struct Ending {
    deployment: DeploymentId,
    began: SystemTime,
    transition: Arc<Transition>,
    judgement: Judgement,
    told: Duration,
    /// Users' requests before the last act, and its time.
    turned: (Seen, Duration),
}

impl Stage {
    /// Everything is in the directory of `file`.
    pub(super) async fn build(story: Story, file: &Path) -> Result<Stage, Failure> {
        let dir = file.parent().unwrap_or(file);
        let failed = |error: std::io::Error| Failure::Failed(format!("the demo could not start: {error}"));
        let blue = Shop::open("blue", GOOD).await.map_err(failed)?;
        let green = Shop::open("green", GOOD).await.map_err(failed)?;
        let (slack, posts) = channel::open().await.map_err(failed)?;
        let url = dir.join("slack.url");
        std::fs::write(&url, format!("http://{slack}/services/T0/B0/demo\n")).map_err(failed)?;
        let (listen, section) = story.configuration();
        let proxy = start(file, [0; 2], |[http, admin]| {
            format!(
                r#"active = "blue"

[listen]
http  = "{http}"
admin = "{admin}"
{listen}
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

{section}
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
        let load = Load::start(proxy.http_address(), RATE, story.pages(), story.users());
        Ok(Stage { proxy, load, blue, green, posts, telling: Telling::begin() })
    }

    pub(super) async fn play(&mut self, story: Story) -> Result<DeploymentId, Failure> {
        let client = Client::at(&self.proxy.admin_address().to_string())?;
        self.telling.introduction(story);
        tokio::time::sleep(USUAL).await;
        self.telling.usual(story, &self.load.seen(), USUAL);
        self.green.behaves(story.new_release());
        let ending = self.until_taken_back(story, &client).await?;
        let refusal = if story.is_withdrawn() { None } else { Some(self.ask_again(&client).await?) };
        tokio::time::sleep(SETTLED).await;
        let (seen, before) = (self.load.seen(), self.green.requests());
        tokio::time::sleep(SETTLED).await;
        let late = self.green.requests() - before;
        if let Some(refusal) = refusal {
            self.telling.refused(&refusal);
        }
        self.telling.hurt(story, &ending, &seen, late);
        let faults = faults(story, &ending, &seen, late);
        if !faults.is_empty() {
            return Err(Failure::Failed(format!("it should have been otherwise: {}", faults.join("; "))));
        }
        Ok(ending.deployment)
    }

    async fn until_taken_back(&mut self, story: Story, client: &Client) -> Result<Ending, Failure> {
        let mut news = self.proxy.handle().news.subscribe();
        let body = CanaryBody { reason: Some(format!("release {NEW}")), ..CanaryBody::default() };
        let _: CanaryMoved = client.post("/admin/canary", &body, LOOK).await?;
        let started = Instant::now();
        let deadline = tokio::time::sleep_until((started + LONGEST).into());
        let mut deadline = std::pin::pin!(deadline);
        let mut look = tokio::time::interval(LOOKED_EVERY);
        let mut acts = story.acts().iter().peekable();
        let mut turned = (Seen::default(), started);
        let mut began = None;
        let mut end: Option<(Arc<Transition>, Instant)> = None;
        loop {
            let next_act = acts.peek().map_or(LONGEST, |act| act.at);
            tokio::select! {
                // In order of occurrence: the notice follows its transition, and both may be ready.
                biased;
                heard = news.recv() => match heard {
                    Ok(News::Transition(_, transition)) if end.is_none() && story.is_end(&transition) => {
                        self.telling.taken_back(story, &transition);
                        end = Some((transition, Instant::now()));
                    }
                    Ok(News::Transition(_, transition)) if transition.kind == Kind::Canary => {
                        let deployment = transition.decision.deployment.as_ref().map(|deployment| deployment.id);
                        began = began.or(deployment.map(|id| (id, transition.at)));
                        self.telling.canary(&transition);
                    }
                    Ok(News::Transition(_, transition)) => self.telling.happened(&transition),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Failure::Failed("the proxy has ended".to_owned())),
                },
                Some(message) = self.posts.recv() => {
                    let is_end = channel::readable(&message).iter().any(|line| line.contains(story.notice()));
                    self.telling.message(&message, is_end);
                    if let (true, Some((transition, at)), Some((deployment, began))) = (is_end, &end, began) {
                        let Some(judgement) = transition.judgement.clone() else {
                            return Err(Failure::Failed("the way back has no verdict".to_owned()));
                        };
                        let turned = (turned.0, at.duration_since(turned.1));
                        return Ok(Ending {
                            deployment,
                            began,
                            transition: transition.clone(),
                            judgement,
                            told: at.elapsed(),
                            turned,
                        });
                    }
                }
                () = tokio::time::sleep_until((started + next_act).into()), if acts.peek().is_some() => {
                    if let Some(act) = acts.next() {
                        turned = (self.load.seen(), Instant::now());
                        self.blue.behaves(act.old);
                        self.green.behaves(act.new);
                        self.telling.turn(act.told);
                    }
                }
                _ = look.tick(), if end.is_none() => {
                    let answer: CanaryAnswer = client.get("/admin/canary").await?;
                    if let Some(canary) = answer.canary {
                        self.telling.evidence(story, &canary);
                    }
                }
                () = &mut deadline => {
                    let what = if end.is_some() { "no message came" } else { "the release was not taken back" };
                    return Err(Failure::Failed(format!("{what} in {} s", LONGEST.as_secs())));
                }
            }
        }
    }

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
    let decision = &ending.transition.decision;
    check(decision.deployment.is_none() && decision.release.as_str() == OLD, "the old release does not serve alone");
    let quarantined = decision.quarantine.iter().any(|bad| bad.release.as_str() == NEW);
    check(quarantined != story.is_withdrawn(), "its quarantine is not as it should be");
    faults
}
