//! The narration of a story: a line per event, when it happens.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ending, NEW, OLD, RATE};
use crate::admin::api::CanaryStatus;
use crate::cli::args::Story;
use crate::cli::demo::channel;
use crate::cli::demo::load::{Seen, Side};
use crate::cli::output::print;
use crate::cli::render::evidence::ratio;
use crate::cli::render::layout::wrapped;
use crate::cli::render::numbers::thousands;
use crate::cli::render::{self, count};
use crate::domain::transition::{Kind, Transition};

const TEXT: usize = 23;

pub(super) struct Telling {
    began: Instant,
}

impl Telling {
    pub(super) fn begin() -> Telling {
        Telling { began: Instant::now() }
    }

    fn line(&self, what: &str, text: &str) {
        let head = format!("{:>6.1} s  {what:<12} ", self.began.elapsed().as_secs_f64());
        print(&wrapped(&head, text, TEXT));
    }

    pub(super) fn introduction(&self, story: Story) {
        print("\n");
        paragraph(&format!(
            "{NEW} is a bad release: {}. The story shows how the proxy finds out, how soon, and how many users are hurt.",
            story.title()
        ));
        print("\n");
        paragraph(&format!(
            "A shop has two releases: {OLD} on {} and {NEW} on {}. The real proxy is in front of them; {RATE} requests a second \
             come for three pages. {} A good release is rolled back in at most one of a thousand deployments.",
            render::color("blue"),
            render::color("green"),
            story.settings(),
        ));
        print("\n");
        self.line("traffic", &format!("{RATE} requests a second, all of them to {OLD}"));
    }

    pub(super) fn usual(&self, story: Story, seen: &Seen, after: Duration) {
        let blue = seen.blue;
        let more = match story {
            Story::Checkout => format!("; a checkout takes {}", render::short(blue.checkout())),
            Story::Login => format!(", {} answers with 401, all of /login", thousands(blue.refused)),
            Story::Spike | Story::Sticky => String::new(),
        };
        let (answered, failed) = (thousands(blue.answered), count(blue.failed, "error"));
        self.line("usual", &format!("after {} s: {answered} requests, {failed}{more}", after.as_secs()));
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

    pub(super) fn turn(&self, what: &str) {
        self.line("turn", what);
    }

    pub(super) fn evidence(&self, story: Story, canary: &CanaryStatus) {
        let (Some(evidence), Some(all)) = (&canary.evidence, canary.routes.first()) else { return };
        let (requests, errors) = (thousands(all.candidate.assigned), count(all.candidate.errors, "error"));
        let mut text =
            format!("{} of a regression (rollback at {}). ", ratio(evidence.worse.odds), ratio(evidence.worse.limit));
        let of_clients = evidence.hold.as_ref().filter(|_| story.is_withdrawn());
        if let Some(hold) = of_clients {
            text = format!("{} of more 4xx (pause at {}). ", ratio(hold.odds), ratio(hold.limit));
        }
        text.push_str(&format!("{NEW}: {requests} requests, {errors}"));
        if of_clients.is_some() {
            text.push_str(&format!(", {} 4xx", thousands(all.candidate.client_errors)));
        }
        let checkout = canary.routes.iter().find(|route| route.route.as_deref() == Some("/checkout"));
        let latency = checkout.and_then(|route| Some((route.candidate.latency?, route.stable.latency?)));
        if let (Story::Checkout, Some((new, old))) = (story, latency) {
            text.push_str(&format!("; /checkout p90 {:.0} ms ({OLD}: {:.0} ms)", new.p90_ms, old.p90_ms));
        }
        self.line("evidence", &text);
    }

    pub(super) fn taken_back(&self, story: Story, transition: &Transition) {
        let reason = transition.origin.reason.as_deref().unwrap_or_default();
        self.line("verdict", reason);
        let decision = &transition.decision;
        let (what, serves) = (
            if story.is_withdrawn() { "withdrawn" } else { "rolled back" },
            format!("{} ({})", decision.release, render::color(decision.active.as_str())),
        );
        self.line(what, &format!("by itself, and at once: {serves} has all of the traffic"));
        for bad in &decision.quarantine {
            self.line("quarantined", &format!("{} is refused until it is replaced, or forced", bad.release));
        }
        if story.is_withdrawn() {
            self.line("quarantine", "none, since a 401 can be intended: `cutover canary start` begins again");
        }
    }

    pub(super) fn happened(&self, transition: &Transition) {
        let reason = transition.origin.reason.clone();
        let verdict = transition.judgement.as_ref().map(ToString::to_string);
        let what = match transition.kind {
            Kind::BaselineUnhealthy => "both fail",
            kind => kind.name(),
        };
        self.line(what, &verdict.or(reason).unwrap_or_default());
    }

    pub(super) fn message(&self, message: &Value, in_full: bool) {
        if !in_full {
            let headline = message["blocks"][0]["text"]["text"].as_str().unwrap_or_default();
            return self.line("to Slack", headline);
        }
        self.line("to Slack", "the message in full:");
        print("\n");
        for line in channel::readable(message) {
            let margin = "    | ";
            let text = wrapped(margin, &line, margin.len());
            for (place, line) in text.lines().enumerate() {
                let line = if place == 0 { line } else { line.trim_start() };
                print(&format!("{}{line}\n", if place == 0 { "" } else { margin }));
            }
        }
        print("\n");
    }

    pub(super) fn refused(&self, why: &str) {
        self.line("once more?", &format!("`cutover canary start` is refused: {why}"));
    }

    pub(super) fn hurt(&self, story: Story, ending: &Ending, seen: &Seen, late: u64) {
        let (green, blue) = (seen.green, seen.blue);
        self.line("now", &format!("{late} requests to {NEW} in the last second; {} requests were lost", seen.lost));
        let lasted = ending.transition.at.duration_since(ending.began).unwrap_or_default();
        let all = green.answered + blue.answered;
        let failed = |side: Side| format!("{} of {}", thousands(side.failed), thousands(side.answered));
        print("\n");
        paragraph(&format!(
            "Harm: {} of {} requests went to {NEW}, in {:.1} s. Errors: {} of them; of {OLD}, {}.",
            thousands(green.answered),
            thousands(all),
            lasted.as_secs_f64(),
            thousands(green.failed),
            failed(blue),
        ));
        match story {
            Story::Checkout => paragraph(&format!(
                "{} checkouts took {} on average, where {} is usual.",
                green.checkouts,
                render::short(green.checkout()),
                render::short(blue.checkout()),
            )),
            Story::Login => paragraph(&format!(
                "{NEW} answered 401 to {} logins, all that it got; {OLD} to {}.",
                thousands(green.refused),
                thousands(blue.refused),
            )),
            Story::Sticky => {
                let (before, since) = &ending.turned;
                paragraph(&format!(
                    "The disturbance caused {} of the errors, on both releases. The break of {NEW} caused the other {}, in {:.1} s.",
                    thousands(before.green.failed + before.blue.failed),
                    thousands((green.failed + blue.failed).saturating_sub(before.green.failed + before.blue.failed)),
                    since.as_secs_f64(),
                ));
            }
            Story::Spike => {}
        }
        paragraph(&format!(
            "The verdict took {} requests to {NEW}: {:.1} s at {RATE} requests a second. The message came {} later.",
            thousands(ending.judgement.exposed),
            lasted.as_secs_f64(),
            render::short(ending.told),
        ));
    }
}

fn paragraph(text: &str) {
    print(&wrapped("", text, 0));
}
