//! Staging: a release is put on the color that does not serve, by an edit of the file.
//!
//! It first takes in the file as it stands. The configuration in force decides whether it is allowed; the watch writes
//! only while that is still the newest one, else the decision is repeated.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::error::ConfigError;
use crate::config::stage::Unwritable;
use crate::config::watch::{LookError, Looked, PATIENCE, Stage, StageError, Staged, Write};
use crate::config::{ColorConfig, Config};
use crate::control::handle::{Need, StageOrder, StageOutcome};
use crate::control::{Controller, Input, order};
use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::rollout::{Command, Event, Refusal, StageRefusal};
use crate::domain::transition::Origin;

const DISK_PATIENCE: Duration = Duration::from_secs(5);

type Answer = oneshot::Sender<Result<StageOutcome, Refusal>>;

#[derive(Debug, Default)]
pub(super) struct Staging {
    last: u64,
    pending: BTreeMap<u64, Pending>,
    by: PerColor<Option<Origin>>,
}

#[derive(Debug)]
struct Pending {
    order: StageOrder,
    answer: Answer,
    began: Instant,
    /// The watch may be writing; this configuration allowed it.
    writing: Option<Arc<Config>>,
    /// Its refusal, unless the file says the same already.
    objection: Option<Refusal>,
    withdrawn: Arc<AtomicBool>,
}

impl Staging {
    /// Nothing is on its way into the file.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn is_writing(&self, color: Color) -> bool {
        self.pending.values().any(|pending| pending.order.color == color && pending.writing.is_some())
    }

    /// The color gets requests: an unwritten release comes too late.
    pub(super) fn withdraw(&self, color: Color) {
        for pending in self.pending.values().filter(|pending| pending.order.color == color) {
            pending.withdrawn.store(true, Ordering::SeqCst);
        }
    }
}

fn later(color: Color) -> String {
    format!("`cutover wait --safe-to-stop {color}`, then the same command")
}

impl Controller {
    pub(super) fn stage(&mut self, order: StageOrder, answer: Answer) {
        self.staging.last += 1;
        let number = self.staging.last;
        let (began, withdrawn) = (Instant::now(), Arc::default());
        let pending = Pending { order, answer, began, writing: None, objection: None, withdrawn };
        self.staging.pending.insert(number, pending);
        self.look_for_stage(number);
    }

    fn look_for_stage(&mut self, number: u64) {
        let (sender, looked) = oneshot::channel();
        self.watch.look(PATIENCE, move |found| {
            let _ = sender.send(found);
        });
        let (inputs, busy) = (self.inputs.clone(), self.too_slow("read", PATIENCE + DISK_PATIENCE));
        tokio::spawn(async move {
            let looked = tokio::time::timeout(PATIENCE + DISK_PATIENCE, looked).await;
            let looked = looked.ok().and_then(Result::ok).unwrap_or(Err(LookError::Busy(busy)));
            let _ = inputs.send(Input::StageLooked(number, looked));
        });
    }

    fn too_slow(&self, what: &str, after: Duration) -> String {
        format!("{} could not be {what} in {} s", self.file.path().display(), after.as_secs())
    }

    pub(super) fn stage_looked(&mut self, number: u64, looked: Looked) {
        let refusal = order::taken_in(looked, self.file.not_in_force()).err();
        let Some(pending) = self.staging.pending.get(&number) else { return };
        if let Some(refusal) = refusal {
            return self.end_stage(number, Err(refusal));
        }
        let order = pending.order.clone();
        let objection = self.objection(&order);
        let write = match (&objection, order.dry_run) {
            (Some(_), _) => Write::No,
            (None, true) => Write::Rehearse,
            (None, false) => Write::Yes,
        };
        let Some(pending) = self.staging.pending.get_mut(&number) else { return };
        pending.objection = objection;
        pending.writing = Some(Arc::clone(&self.config));
        let (color, section) = (order.color, order.section);
        let withdrawn = Arc::clone(&pending.withdrawn);
        let (sender, staged) = oneshot::channel();
        let stage = Stage { color, section, write, upon: Arc::clone(&self.config), withdrawn: Arc::clone(&withdrawn) };
        self.watch.stage(stage, PATIENCE, move |staged| {
            let _ = sender.send(staged);
        });
        let (inputs, slow) = (self.inputs.clone(), self.too_slow("written", PATIENCE + DISK_PATIENCE));
        tokio::spawn(async move {
            let staged = tokio::time::timeout(PATIENCE + DISK_PATIENCE, staged).await;
            let staged = staged.ok().and_then(Result::ok).unwrap_or_else(|| {
                withdrawn.store(true, Ordering::SeqCst);
                Err(StageError::Busy(slow))
            });
            // Queued behind the file's event, so that the edit is in force.
            let _ = inputs.send(Input::Staged(number, staged));
        });
    }

    fn objection(&self, order: &StageOrder) -> Option<Refusal> {
        let decision = self.rollout.decision();
        if let Some(expected) = order.if_generation.filter(|expected| *expected != decision.generation) {
            return Some(Refusal::StaleGeneration { expected, current: decision.generation });
        }
        if let Some(refusal) = self.rollout.busy() {
            return Some(refusal);
        }
        let (color, release) = (order.color, self.config.colors[order.color].release.clone());
        let in_use = |by: String, next: String| {
            Some(Refusal::Stage(StageRefusal::InUse { color, release: release.clone(), by, next }))
        };
        for need in self.needs(color) {
            match need {
                Need::Serves => {
                    return in_use(
                        "serves".to_owned(),
                        format!("stage on {}, the default of `cutover deploy`", color.other()),
                    );
                }
                Need::Share(share) => {
                    let next = "wait for the end of the canary with `cutover canary watch`, or end it with `cutover canary abort`";
                    return in_use(format!("gets {share} of the requests"), next.to_owned());
                }
                // The staged release takes its place, and may be the way out itself.
                Need::Move | Need::Lingering { .. } | Need::WayOut { .. } => {}
                Need::Drain { left, ends_in } => {
                    let left = if left.total() == 0 { String::new() } else { format!(" {left}") };
                    let by = format!("still drains{left}, for {} s at most", ends_in.as_secs() + 1);
                    return in_use(by, later(color));
                }
                Need::Predecessor { pid, left, .. } => {
                    let left = left.map(|left| format!(" {left}")).unwrap_or_default();
                    let by = format!("still drains{left} in process {pid}, which served before the upgrade");
                    return in_use(by, later(color));
                }
                Need::WayBack { release, serving, until } => {
                    if !order.replace_way_back && release.as_str() != order.section.release {
                        return Some(Refusal::Stage(StageRefusal::WayBack { color, release, serving, until }));
                    }
                }
            }
        }
        let serving = &self.config.colors[color.other()];
        let shared = order.section.pools().find(|(upstream, endpoint)| {
            let theirs = serving.pools.get(*upstream).into_iter().flatten();
            theirs.into_iter().any(|one| one.to_string() == **endpoint)
        });
        shared.map(|(_, endpoint)| {
            let (endpoint, serving) = (endpoint.clone(), serving.release.clone());
            Refusal::Stage(StageRefusal::SameProcess { endpoint, color: color.other(), serving })
        })
    }

    pub(super) fn staged(&mut self, number: u64, staged: Result<Staged, StageError>) {
        let Some(pending) = self.staging.pending.get_mut(&number) else { return };
        let upon = pending.writing.take().unwrap_or_else(|| Arc::clone(&self.config));
        let (color, dry_run) = (pending.order.color, pending.order.dry_run);
        let result = match staged {
            Err(StageError::Superseded) if pending.began.elapsed() < PATIENCE => return self.look_for_stage(number),
            Err(error) => Err(self.stage_refusal(color, error)),
            Ok(Staged::Differs) if pending.objection.is_some() => {
                Err(pending.objection.take().unwrap_or_else(superseded))
            }
            // Its certificates changed at the same moment.
            Ok(Staged::Written) if self.file.not_in_force().is_some() => {
                order::taken_in(Ok(true), self.file.not_in_force()).map(|_| None)
            }
            Ok(Staged::Same) => Ok(None),
            Ok(Staged::Differs | Staged::Written) => Ok(Some(upon.colors[color].clone())),
        };
        let result = result.map(|replaced| StageOutcome {
            changed: replaced.is_some(),
            dry_run,
            color,
            release: Release::new(self.staging.pending[&number].order.section.release.as_str()),
            generation: self.rollout.decision().generation,
            mark: mark(&self.config.colors[color]),
            replaced: replaced.filter(|replaced| !replaced.is_empty()),
        });
        self.end_stage(number, result);
    }

    fn stage_refusal(&self, color: Color, error: StageError) -> Refusal {
        match error {
            StageError::Superseded => {
                Refusal::FileBusy(format!("{} is edited again and again", self.file.path().display()))
            }
            StageError::Withdrawn => {
                let release = self.config.colors[color].release.clone();
                let by = "has begun to serve".to_owned();
                Refusal::Stage(StageRefusal::InUse { color, release, by, next: later(color) })
            }
            StageError::Busy(why) => Refusal::FileBusy(why),
            StageError::Invalid(error) => match order::taken_in(Err(LookError::Invalid(error)), None) {
                Err(refusal) => refusal,
                Ok(_) => superseded(),
            },
            StageError::Wrong(error) => Refusal::Stage(StageRefusal::Unfit(reasons(&error))),
            StageError::Unwritable(Unwritable::Form(why)) => {
                Refusal::Stage(StageRefusal::FileNotWritable(format!("{}: {why}", self.file.path().display())))
            }
            StageError::Unwritable(Unwritable::SchemaUnsaid(stores)) => Refusal::Stage(StageRefusal::Unfit(format!(
                "[{color}.schema] says what the release there needs of {}, and nothing was said for the new one: say it with --schema (`schema`), or `--schema none` (`{{}}`)",
                stores.join(", "),
            ))),
            StageError::Refused(why) => Refusal::Stage(StageRefusal::FileNotWritable(why)),
        }
    }

    fn end_stage(&mut self, number: u64, result: Result<StageOutcome, Refusal>) {
        let Some(Pending { order, answer, .. }) = self.staging.pending.remove(&number) else { return };
        let StageOrder { color, section, origin, dry_run, .. } = order;
        let release = Release::new(&section.release);
        let Origin { actor, source, reason, .. } = &origin;
        let reason = reason.as_deref().unwrap_or_default();
        match &result {
            // A dry run is not recorded.
            Err(_) if dry_run => {}
            Err(refusal) => {
                tracing::warn!(code = refusal.code(), %refusal, actor, source, reason, %color, %release, "Staging refused");
                self.handle(Event::Staged(color, release, origin, Some(refusal.clone())));
            }
            Ok(outcome) if outcome.changed && !dry_run => {
                let replaced = outcome.replaced.as_ref().map(|replaced| replaced.release.as_str()).unwrap_or_default();
                tracing::info!(%color, %release, replaced, actor, source, reason, "Release staged");
                self.staging.by[color] = Some(origin.clone());
                self.handle(Event::Staged(color, release, origin, None));
            }
            Ok(_) => {}
        }
        let _ = answer.send(result);
    }

    /// Refuses a command whose target is not the staged release. `mark`: the answer of staging.
    pub(super) fn differs_from_staged(&self, command: &Command, mark: &str) -> Option<Refusal> {
        let other = self.rollout.active().other();
        let to = match command {
            Command::Switch { to, .. } => self.rollout.target(to).unwrap_or(other),
            _ => other,
        };
        let of_color = &self.config.colors[to];
        (self::mark(of_color) != mark).then(|| {
            let by = self.staging.by[to].as_ref().map(|by| (by.actor.clone(), by.reason.clone()));
            Refusal::Stage(StageRefusal::Replaced { color: to, now: of_color.release.clone(), by })
        })
    }
}

fn superseded() -> Refusal {
    Refusal::Withdrawn("a newer edit of the file".to_owned())
}

/// A hash of the color's release, endpoints and labels. The same after a restart.
fn mark(color: &ColorConfig) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    format!("{color:?}").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn reasons(error: &ConfigError) -> String {
    let reason = |diagnostic: &crate::config::error::Diagnostic| match &diagnostic.help {
        Some(help) => format!("{} ({help})", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    error.diagnostics.iter().map(reason).collect::<Vec<_>>().join("; ")
}
