//! `cutover wait`: returns when a condition holds, for scripts that edit the file or start an application.

use std::time::{Duration, Instant};

use crate::admin::api::{Problem, StatusAnswer};
use crate::cli::Failure;
use crate::cli::args::Wait;
use crate::cli::client::Client;
use crate::cli::output::{self, complain};
use crate::cli::render;

const GLANCE: Duration = Duration::from_millis(50);
/// Time for a look, however little time is left.
const ONE_LOOK: Duration = Duration::from_secs(2);
/// Age up to which a refusal may belong to the awaited edit: longer than the file's slow poll.
const OLD_NEWS: Duration = Duration::from_secs(4);

pub(crate) async fn run(client: &Client, options: &Wait, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let mut refused_before = None;
    let mut told = false;
    loop {
        let left = options.timeout.saturating_sub(began.elapsed());
        let looked = look(client, left).await;
        let over = began.elapsed() >= options.timeout;
        let why = match looked {
            Ok(status) => match missing(&status, options) {
                None => {
                    output::answer(json, &status, |status| so(status, options));
                    return Ok(());
                }
                Some(why) => {
                    let refusal = refusal(&status, options);
                    let known = refused_before.get_or_insert_with(|| refusal.clone().map(|refusal| refusal.detail));
                    match refusal {
                        // A later refusal is new, even for the same reason.
                        None => *known = None,
                        Some(refusal) if known.as_ref() != Some(&refusal.detail) || began.elapsed() > OLD_NEWS => {
                            if told && refusal.status == 422 {
                                let text = "The configuration file is still not valid, so no order in it counts. Next: `cutover check`";
                                return Err(Failure::Ended(refusal.code, text.to_owned(), 2));
                            }
                            return Err(Failure::Refused(Box::new(refusal)));
                        }
                        // It may precede the awaited edit; printing it avoids a silent wait.
                        Some(refusal) if refusal.status == 422 && !told => {
                            told = true;
                            complain(&Failure::Refused(Box::new(refusal)).text());
                        }
                        Some(_) => {}
                    }
                    if told { format!("{why}; the configuration file is not valid") } else { why }
                }
            },
            Err(failure) if !may_pass(&failure) => return Err(failure),
            // An unreachable proxy has a code of its own.
            Err(failure @ Failure::Unreachable(_)) if over => return Err(failure),
            Err(failure) => failure.text(),
        };
        if over {
            let limit = humantime::format_duration(options.timeout);
            return Err(Failure::TimedOut(format!("timed out after {limit}: {why}")));
        }
        tokio::time::sleep(GLANCE.min(options.timeout.saturating_sub(began.elapsed()))).await;
    }
}

/// The proxy may be about to start or restart.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) | Failure::TimedOut(_) => true,
        Failure::Refused(problem) => problem.status == 503,
        Failure::Usage(_)
        | Failure::Failed(_)
        | Failure::NotWell
        | Failure::Told(_)
        | Failure::TakenBack(_)
        | Failure::Ended(..)
        | Failure::With(..) => false,
    }
}

/// Time for a watched proxy to restart.
const GONE: Duration = Duration::from_secs(30);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Looks at a proxy that may restart meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    gone_since: Option<Instant>,
}

impl Looks {
    /// `None`: no answer at the moment; the next look is due.
    pub(crate) async fn found<T>(&mut self, looked: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match looked {
            Ok(answer) => {
                self.gone_since = None;
                Ok(Some(answer))
            }
            Err(failure) if may_pass(&failure) => {
                if self.gone_since.get_or_insert_with(Instant::now).elapsed() >= GONE {
                    return Err(failure);
                }
                tokio::time::sleep(SECOND).await;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

async fn look(client: &Client, left: Duration) -> Result<StatusAnswer, Failure> {
    let looked = tokio::time::timeout(left.max(ONE_LOOK), async {
        // A stopping proxy is not ready, though its status still answers.
        client.get_text("/readyz").await?;
        client.get("/admin/status").await
    });
    looked.await.unwrap_or_else(|_| Err(Failure::TimedOut(format!("no answer from {}", client.address()))))
}

fn so(status: &StatusAnswer, options: &Wait) -> String {
    let Wait { active, healthy, drained, safe_to_stop, .. } = options;
    let mut said = Vec::new();
    if let Some(color) = active {
        said.push(format!("{} ({}) serves", render::color(color.as_str()), render::plain(&status.release)));
    }
    if let Some(color) = healthy {
        said.push(format!("every endpoint of {} is up", render::color(color.as_str())));
    }
    if *drained {
        said.push(match status.last_drain.as_ref().filter(|last| last.color != status.active) {
            None => "nothing is draining".to_owned(),
            Some(last) if last.cut_off == 0 => format!("{} is drained", render::color(&last.color)),
            Some(last) => {
                let cut = if last.cut_off == 1 {
                    "1 request was".to_owned()
                } else {
                    format!("{} requests were", last.cut_off)
                };
                format!("{} is drained; {cut} cut off", render::color(&last.color))
            }
        });
    }
    if let Some(color) = safe_to_stop {
        said.push(format!("{} may be stopped", render::color(color.as_str())));
    }
    if said.is_empty() {
        let (active, release) = (render::color(&status.active), render::plain(&status.release));
        said.push(format!("the proxy is ready; {active} ({release}) serves, and nothing is draining"));
    }
    said.join("; ") + "\n"
}

fn missing(status: &StatusAnswer, options: &Wait) -> Option<String> {
    let nothing_asked =
        options.active.is_none() && options.healthy.is_none() && options.safe_to_stop.is_none() && !options.drained;
    if let Some(color) = options.active
        && status.active != color.as_str()
    {
        return Some(format!("{} serves", status.active));
    }
    if let Some(color) = options.healthy {
        let of_color = if color.as_str() == "blue" { &status.blue } else { &status.green };
        if of_color.endpoints.is_empty() {
            return Some(format!("nothing is deployed on {color}"));
        }
        if let Some(endpoint) = of_color.endpoints.iter().find(|endpoint| endpoint.health != "up") {
            return Some(format!("{} of {color} is {}: {}", endpoint.endpoint, endpoint.health, endpoint.detail));
        }
    }
    if let Some(color) = options.safe_to_stop {
        let of_color = if color.as_str() == "blue" { &status.blue } else { &status.green };
        if let Some(need) = of_color.safe_to_stop.needed_by.first() {
            return Some(format!("{color} is needed: {}", render::needed(need)));
        }
    }
    if (options.drained || nothing_asked)
        && let Some(draining) = &status.draining
    {
        return Some(format!("draining {}", render::left(draining)));
    }
    if nothing_asked && !["steady", "canary", "baking"].contains(&status.phase.as_str()) {
        return Some(format!("a move is {}", status.phase));
    }
    None
}

/// The file's order for the awaited color was refused, or the file can't order anything.
fn refusal(status: &StatusAnswer, options: &Wait) -> Option<Problem> {
    options.active.filter(|color| status.active != color.as_str())?;
    let invalid = status.file.error.as_ref().map(|error| Problem {
        status: 422,
        code: "invalid_config".to_owned(),
        title: "The configuration file is not valid".to_owned(),
        detail: format!(
            "{}\nNo order in the file counts before it is repaired. Next: `cutover check`",
            error.trim_end()
        ),
        endpoints: Vec::new(),
        generation: None,
        rollback_unsafe: None,
        checks: Vec::new(),
        errors: Vec::new(),
    });
    invalid.or_else(|| status.file.refusal.clone())
}

#[cfg(test)]
mod tests;
