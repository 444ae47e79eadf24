//! `cutover deploy`: stages a release on the color that does not serve and moves the traffic to it, in one command.
//! Each phase asks the proxy for its state, so a repeat continues where an interrupted one ended.

mod drain;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::admin::api::{
    CanaryBody, CanaryMoved, NeedAnswer, Percent, Problem, ReplacedAnswer, SafeToStop, StageAnswer, StageBody,
    StatusAnswer, StoreBody, SwitchAnswer, SwitchBody,
};
use crate::cli::Failure;
use crate::cli::args::deploy::{Deploy, Schema, WaitFor};
use crate::cli::client::Client;
use crate::cli::output::{self, print};
use crate::cli::render::layout::wrapped;
use crate::cli::waiting::{self, Interrupts, Patience};
use crate::cli::{render, when};

const DRAINS: Duration = Duration::from_secs(90);
const STAGE: Duration = Duration::from_secs(30);

#[derive(Debug, Default, Serialize)]
struct Report {
    changed: bool,
    /// Last begun phase: `stage`, `gate`, `move`, `canary`, `drain`, `known_good` or `done`.
    phase: &'static str,
    color: String,
    release: String,
    generation: u64,
    active: String,
    replaced: Option<ReplacedAnswer>,
    weight: f64,
    /// Drain of the other color; absent: there was none, or it was not awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    drained: Option<DrainedReport>,
    safe_to_stop: StopReport,
    /// Reason that a rollback would be refused.
    #[serde(skip)]
    no_rollback: Option<String>,
    /// Reasons that the release serves no requests all the same, each with the command that mends it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct DrainedReport {
    color: String,
    took_us: u64,
    /// In-flight requests, streams and tunnels that were cut off.
    cut_off: u64,
}

#[derive(Debug, Default, Serialize)]
struct StopReport {
    color: String,
    #[serde(skip)]
    release: String,
    safe: bool,
    needed_by: Vec<NeedAnswer>,
}

pub(crate) async fn run(client: &Client, options: Deploy, json: bool) -> Result<(), Failure> {
    let mut report = Report { phase: "stage", release: options.release.clone(), ..Report::default() };
    let done = carry_out(client, options, json, &mut report).await;
    if !json {
        return done.map_err(|failure| stays_staged(failure, &report));
    }
    let Err(failure) = done else {
        report.phase = "done";
        output::document(&report);
        return Ok(());
    };
    if let Failure::Refused(problem) = &failure {
        report.problem = Some(Problem::clone(problem));
    } else {
        report.error = Some(failure.text());
    }
    Err(output::told_with(json, &report, |_| String::new(), failure))
}

/// A refused or cancelled move leaves the release staged, which people have to know.
fn stays_staged(failure: Failure, report: &Report) -> Failure {
    let text = format!(
        "{} stays staged on {}; {} keeps serving. Next: the same command again",
        report.release,
        render::color(&report.color),
        render::color(&report.active)
    );
    match failure {
        // `target_changed`: another release is staged there.
        Failure::Refused(problem)
            if report.phase == "gate" && problem.status == 409 && problem.code != "target_changed" =>
        {
            let said = Failure::Refused(problem);
            Failure::Ended(said.name().to_owned(), format!("{}\n{text}", said.text().trim_end()), said.code())
        }
        Failure::Ended(name, said, code) if report.phase == "gate" && name == "cancelled" => {
            Failure::Ended(name, format!("{said}\n{text}"), code)
        }
        other => other,
    }
}

async fn carry_out(client: &Client, options: Deploy, json: bool, report: &mut Report) -> Result<(), Failure> {
    let tell = |text: String| {
        if !json {
            print(&text);
        }
    };
    let mut body = body(&options)?;
    let staged = stage(client, &options, &mut body, report).await?;
    tell(staged_line(&staged, &body));
    let status: StatusAnswer = client.get("/admin/status").await?;
    note(report, &status);
    if options.stage_only {
        tell(staged_only(&staged, &status));
        return Ok(());
    }
    // The proxy bounds the gate, and says why it did not open.
    let patience = Patience { timeout: None, detach: false };
    let timeout = options.timeout.map(|timeout| humantime::format_duration(timeout).to_string().replace(' ', ""));
    let known_good_after = options.known_good_after.map(|after| humantime::format_duration(after).to_string());
    let mut interrupts = Interrupts::listen();
    let reason = options.reason.clone();
    let serves = status.active == staged.color;
    let begun =
        status.canary.as_ref().is_some_and(|canary| canary.color == staged.color && canary.release == staged.release);
    match options.canary {
        Some(_) if serves || begun => tell(format!("canary {} has its share already\n", on(&staged))),
        Some(weight) => {
            report.phase = "gate";
            let weight = weight.map(|weight| Percent::Text(weight.to_string()));
            let if_staged = Some(staged.staged.clone());
            let body = CanaryBody { weight, if_staged, timeout, known_good_after, reason, ..CanaryBody::default() };
            let moved: CanaryMoved = waiting::ask(client, "/admin/canary", &body, patience, &mut interrupts).await?;
            tell("gate   passed\n".to_owned());
            report.phase = "canary";
            report.changed = true;
            report.warnings.clone_from(&moved.warnings);
            tell(format!("canary {}", render::canary::moved(&moved, "Started")));
        }
        None => {
            report.phase = "gate";
            let if_staged = Some(staged.staged.clone());
            let to = Some(staged.color.clone());
            let body = SwitchBody { to, if_staged, timeout, known_good_after, reason, ..SwitchBody::default() };
            let moved: SwitchAnswer = waiting::ask(client, "/admin/switch", &body, patience, &mut interrupts).await?;
            report.phase = "move";
            report.changed |= moved.changed;
            if moved.changed {
                tell("gate   passed\n".to_owned());
            }
            tell(moved_line(&moved));
            report.warnings.clone_from(&moved.warnings);
            tell(warned(&moved.warnings));
            if options.wait != WaitFor::None || options.fail_on_cut {
                report.phase = "drain";
                let timeout = options.timeout.unwrap_or(DRAINS);
                report.drained = drain::ended(client, &moved, timeout, json, &mut interrupts).await?;
                tell(drain::line(report.drained.as_ref(), &moved));
            }
        }
    }
    if options.wait == WaitFor::KnownGood {
        report.phase = "known_good";
        let known_good = tokio::select! {
            known_good = drain::known_good(client, &staged, options.timeout) => known_good,
            code = interrupts.next() => {
                let text = format!("Stopped waiting; {} keeps its traffic. Next: cutover status", on(&staged));
                Err(Failure::Ended("interrupted".to_owned(), text, code))
            }
        };
        tell(known_good.map(|()| format!("good   {} is known good\n", on(&staged)))?);
    }
    let status: StatusAnswer = client.get("/admin/status").await?;
    note(report, &status);
    tell(stop_line(report));
    match &report.drained {
        Some(drained) if options.fail_on_cut && drained.cut_off > 0 => {
            let DrainedReport { color, cut_off, .. } = drained;
            let text = format!("the drain of {color} cut off {cut_off} of its requests; {} serves", report.active);
            Err(Failure::Ended("cut_off".to_owned(), text, 1))
        }
        _ => Ok(()),
    }
}

fn phase(title: &str, texts: &[&str]) -> String {
    let gap = format!("{title:<7}");
    let heads = std::iter::once(gap.as_str()).chain(std::iter::repeat("       "));
    heads.zip(texts).map(|(head, text)| wrapped(head, text, 7)).collect()
}

fn on(staged: &StageAnswer) -> String {
    format!("{} on {}", staged.release, render::color(&staged.color))
}

fn body(options: &Deploy) -> Result<StageBody, Failure> {
    let mut upstreams: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, address) in &options.upstreams {
        upstreams.entry(name.clone()).or_default().push(address.clone());
    }
    let mut schema: Option<BTreeMap<String, StoreBody>> = None;
    for said in &options.schema {
        let stores = schema.get_or_insert_default();
        match said {
            Schema::None if options.schema.len() == 1 => {}
            Schema::None => return Err(Failure::Usage("--schema none stands alone".to_owned())),
            Schema::Store(store, labels) => drop(stores.insert(store.clone(), labels.clone())),
        }
    }
    Ok(StageBody {
        release: options.release.clone(),
        endpoints: options.endpoints.clone(),
        upstreams,
        schema,
        replace_way_back: options.replace_way_back,
        reason: options.reason.clone(),
        ..StageBody::default()
    })
}

async fn stage(
    client: &Client,
    options: &Deploy,
    body: &mut StageBody,
    report: &mut Report,
) -> Result<StageAnswer, Failure> {
    let status: StatusAnswer = client.get("/admin/status").await?;
    note(report, &status);
    let path = |color: &str| format!("/admin/colors/{color}");
    let staged: StageAnswer = match options.color {
        Some(color) => client.put(&path(color.as_str()), body, STAGE).await?,
        None => {
            // The same command may have come this far before.
            let asked = StageBody { dry_run: true, ..body.clone() };
            match client.put::<StageAnswer>(&path(&status.active), &asked, STAGE).await {
                Ok(same) if !same.changed => same,
                Ok(_) | Err(Failure::Refused(_)) => {
                    let other = if status.active == "blue" { "green" } else { "blue" };
                    client.put(&path(other), body, STAGE).await?
                }
                Err(failure) => return Err(failure),
            }
        }
    };
    report.changed = staged.changed;
    report.color.clone_from(&staged.color);
    report.replaced.clone_from(&staged.replaced);
    Ok(staged)
}

fn note(report: &mut Report, status: &StatusAnswer) {
    report.active.clone_from(&status.active);
    report.generation = status.generation;
    let back = &status.rollback;
    report.no_rollback = (!back.possible).then(|| back.why.clone()).flatten();
    if report.color.is_empty() {
        return;
    }
    let split = &status.split;
    report.weight = if report.color == "blue" { split.blue } else { split.green };
    let other = if report.color == "blue" { "green" } else { "blue" };
    let there = if other == "blue" { &status.blue } else { &status.green };
    let SafeToStop { safe, needed_by } = there.safe_to_stop.clone();
    report.safe_to_stop = StopReport { color: other.to_owned(), release: there.release.clone(), safe, needed_by };
}

fn staged_line(staged: &StageAnswer, body: &StageBody) -> String {
    let upstreams = body.upstreams.iter().flat_map(|(name, all)| all.iter().map(move |one| format!("{name}={one}")));
    let addresses: Vec<String> = body.endpoints.iter().cloned().chain(upstreams).collect();
    let had = match &staged.replaced {
        Some(replaced) => format!(", instead of {}", replaced.release),
        None if staged.changed => String::new(),
        None => ", as before".to_owned(),
    };
    phase("stage", &[&format!("{}: {}{had}", on(staged), addresses.join(", "))])
}

fn staged_only(staged: &StageAnswer, status: &StatusAnswer) -> String {
    let preview = status.preview.as_ref().filter(|preview| preview.color == staged.color);
    let preview = preview.map(|preview| format!(" To preview: the header {}.", preview.header)).unwrap_or_default();
    let stays = format!("Nothing moved; {} serves.{preview}", render::color(&status.active));
    phase("", &[&stays, &format!("Next: cutover switch {}", staged.color)])
}

fn warned(warnings: &[String]) -> String {
    warnings.iter().map(|warning| phase("", &[&render::moves::warning(warning)])).collect()
}

fn moved_line(moved: &SwitchAnswer) -> String {
    let (color, release) = (render::color(&moved.active), &moved.release);
    if !moved.changed {
        let text = format!("{color} serves {release} already (generation {})", moved.generation);
        return phase("move", &[&text]);
    }
    let took = render::short(Duration::from_micros(moved.took_us));
    let text = format!("all traffic goes to {color} ({release}), generation {}, after {took}", moved.generation);
    if moved.durable {
        return phase("move", &[&text]);
    }
    phase("move", &[&text, "The decision is in force, but not on disk yet.", "Next: cutover status"])
}

fn stop_line(report: &Report) -> String {
    let StopReport { color: name, release, needed_by, .. } = &report.safe_to_stop;
    let color = render::color(name);
    let Some(need) = needed_by.first() else {
        let stopped = format!("the processes of {color} may be stopped");
        return match &report.no_rollback {
            Some(why) => phase("done", &[&stopped, &format!("No rollback is possible now: {why}")]),
            None => phase("done", &[&stopped]),
        };
    };
    let why = if need.need == "way_back" {
        let at = need.until.as_deref().map(|until| format!(" at {}", when::shown(until))).unwrap_or_default();
        format!("it is the way back until {} is known good{at}", report.release)
    } else {
        render::needed(need)
    };
    let keep = format!("Keep {color} ({release}) running: {why}.");
    phase("done", &[&keep, &format!("Then: cutover wait --safe-to-stop {name}")])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_move_names_what_stays_staged_unless_another_release_took_its_place() {
        let report =
            Report { phase: "gate", color: "green".to_owned(), active: "blue".to_owned(), ..Report::default() };
        let refused = |code: &str| {
            let problem = json!({ "status": 409, "code": code, "title": "t", "detail": "why" });
            let failure = Failure::Refused(serde_json::from_value(problem).expect("a problem"));
            stays_staged(failure, &report)
        };
        assert!(refused("unhealthy").text().contains("stays staged on"));
        assert!(!refused("target_changed").text().contains("stays staged on"));
        assert_eq!((refused("unhealthy").code(), refused("target_changed").code()), (3, 3));
    }
}
