//! The story in words: a line for each thing that happens, at the moment when it happens.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ending, NEW, OLD, RATE};
use crate::admin::api::CanaryStatus;
use crate::cli::args::Story;
use crate::cli::demo::channel;
use crate::cli::demo::load::Seen;
use crate::cli::output::print;
use crate::cli::render;
use crate::domain::transition::Transition;

/// Tells, with the time since it began.
pub(super) struct Telling {
    began: Instant,
}

impl Telling {
    pub(super) fn begin() -> Telling {
        Telling { began: Instant::now() }
    }

    fn line(&self, what: &str, text: &str) {
        print(&format!("{:>6.1} s  {what:<12} {text}\n", self.began.elapsed().as_secs_f64()));
    }

    pub(super) fn introduction(&self, title: &str, rate: u32) {
        print(&format!(
            "\n{NEW} is a bad release: {title}. Who finds it out, how soon, and who is hurt?\n\n\
             A shop with two releases, {OLD} on {} and {NEW} on {}; the proxy in front of them; {rate} requests a second, for three\n\
             pages. The analysis is as it is by default: one good release of a thousand may be taken back. Only latencies are\n\
             judged after 2 s, not after 30, to be done within a minute.\n\n",
            render::color("blue"),
            render::color("green"),
        ));
        self.line("traffic", &format!("{rate} requests a second, all of them to {OLD}"));
    }

    pub(super) fn usual(&self, seen: &Seen, after: Duration) {
        let blue = seen.blue;
        self.line(
            "usual",
            &format!(
                "after {} s: {} requests, {} errors; a checkout takes {}",
                after.as_secs(),
                blue.answered,
                blue.failed,
                render::short(blue.checkout())
            ),
        );
    }

    pub(super) fn canary(&self, transition: &Transition) {
        let Some(deployment) = &transition.decision.deployment else { return };
        self.line(
            "canary",
            &format!(
                "`cutover canary start`: {} ({}) gets {} of the requests, {} the rest ({})",
                deployment.release,
                render::color(deployment.candidate.as_str()),
                deployment.weight,
                deployment.stable,
                deployment.id,
            ),
        );
    }

    /// Where the judge stands.
    pub(super) fn evidence(&self, canary: &CanaryStatus) {
        let (Some(evidence), Some(all)) = (&canary.evidence, canary.routes.first()) else { return };
        let mut text = format!(
            "{}:1 that it is worse, of {}:1; it has had {} requests, {} errors",
            odds(evidence.worse.odds),
            odds(evidence.worse.limit),
            all.candidate.assigned,
            all.candidate.errors
        );
        let checkout = canary.routes.iter().find(|route| route.route.as_deref() == Some("/checkout"));
        if let Some((new, old)) = checkout.and_then(|route| Some((route.candidate.latency?, route.stable.latency?))) {
            let [new, old] = [new.p90_ms, old.p90_ms].map(|p90| format!("{p90:.0} ms"));
            text.push_str(&format!("; /checkout p90 {new}, on {OLD} {old}"));
        }
        self.line("evidence", &text);
    }

    /// The way back.
    pub(super) fn taken_back(&self, transition: &Transition) {
        let reason = transition.origin.reason.as_deref().unwrap_or_default();
        self.line("verdict", reason);
        let decision = &transition.decision;
        self.line(
            "rolled back",
            &format!(
                "by itself, and at once: {} ({}) has all of the traffic",
                decision.release,
                render::color(decision.active.as_str())
            ),
        );
        for bad in &decision.quarantine {
            self.line("quarantined", &format!("{} is refused until it is replaced, or forced", bad.release));
        }
    }

    /// What else happens.
    pub(super) fn happened(&self, transition: &Transition) {
        let reason = transition.origin.reason.clone();
        let verdict = transition.judgement.as_ref().map(ToString::to_string);
        self.line(transition.kind.name(), &verdict.or(reason).unwrap_or_default());
    }

    pub(super) fn message(&self, message: &Value, in_full: bool) {
        if !in_full {
            let headline = message["blocks"][0]["text"]["text"].as_str().unwrap_or_default();
            return self.line("to Slack", headline);
        }
        self.line("to Slack", "the message in full:");
        print("\n");
        for line in channel::readable(message) {
            print(&format!("    | {line}\n"));
        }
        print("\n");
    }

    pub(super) fn refused(&self, why: &str) {
        self.line("once more?", &format!("`cutover canary start` is refused: {why}"));
    }

    /// Who was hurt.
    pub(super) fn hurt(&self, story: Story, ending: &Ending, seen: &Seen, late: u64) {
        let (green, blue) = (seen.green, seen.blue);
        self.line("now", &format!("{late} requests to {NEW} in the last second; {} requests were lost", seen.lost));
        let lasted = ending.rollback.at.duration_since(ending.began).unwrap_or_default();
        let all = green.answered + blue.answered;
        print(&format!(
            "\nWho was hurt: {} of {all} requests went to {NEW}, in {:.1} s. {} of them ended in an error (of {OLD}, {} of {}).\n",
            green.answered,
            lasted.as_secs_f64(),
            green.failed,
            blue.failed,
            blue.answered,
        ));
        if story == Story::Checkout {
            print(&format!(
                "{} checkouts took {} on average, where {} is usual.\n",
                green.checkouts,
                render::short(green.checkout()),
                render::short(blue.checkout()),
            ));
        }
        print(&format!(
            "To the verdict it took {} requests to {NEW}: {:.1} s at {RATE} requests a second. The message came {} later.\n",
            ending.judgement.exposed,
            lasted.as_secs_f64(),
            render::short(ending.told),
        ));
    }
}

fn odds(odds: f64) -> String {
    if odds < 10.0 { format!("{odds:.1}") } else { format!("{odds:.0}") }
}
