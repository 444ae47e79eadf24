//! The wait for the gate: what it waits for is told, and whoever gives up calls the move off.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::api::{RollbackBody, StatusAnswer, SwitchAnswer};
use crate::cli::Failure;
use crate::cli::client::{Client, LOOK};
use crate::cli::output::complain;

/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(250);
/// Where it is no terminal, a line is printed so often.
const NOW_AND_THEN: Duration = Duration::from_secs(5);

/// A move on its way through the gate.
pub(super) struct Gate<'a> {
    client: &'a Client,
    color: &'a str,
    timeout: Duration,
    silent: bool,
}

impl<'a> Gate<'a> {
    pub(super) fn new(client: &'a Client, color: &'a str, timeout: Duration, silent: bool) -> Gate<'a> {
        Gate { client, color, timeout, silent }
    }

    /// Asks for the move, and waits for what becomes of it.
    pub(super) async fn through<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        // The answer is waited for until the move was called off.
        let asked = self.client.post(path, body, self.timeout + 2 * LOOK);
        tokio::pin!(asked);
        let told = self.tell();
        tokio::pin!(told);
        let given_up = tokio::select! {
            answer = &mut asked => return answer,
            () = tokio::time::sleep(self.timeout) => true,
            _ = tokio::signal::ctrl_c() => false,
            () = &mut told => true,
        };
        let called_off = self.call_off().await;
        let answer = asked.await;
        match (answer, given_up) {
            // It was too late to call it off.
            (Ok(moved), _) => Ok(moved),
            (Err(Failure::Refused(problem)), true) if called_off && problem.code == "withdrawn" => {
                let limit = humantime::format_duration(self.timeout);
                Err(Failure::TimedOut(format!(
                    "The gate of {} did not open in {limit}; the move was called off, and nothing moved. {} keeps what was staged. Next: `cutover status`",
                    self.color, self.color
                )))
            }
            (Err(Failure::Refused(problem)), false) if called_off && problem.code == "withdrawn" => {
                Err(Failure::Failed(format!(
                    "Cancelled: nothing moved. {} keeps what was staged. Next: the same command again",
                    self.color
                )))
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// Takes the move back while it is none yet. True if it was.
    async fn call_off(&self) -> bool {
        let Ok(status) = self.client.get::<StatusAnswer>("/admin/status").await else { return false };
        if status.moving_to.as_deref() != Some(self.color) {
            return false;
        }
        // Not once it has moved: then the generation is another one.
        let reason = Some("the deploy gave up its wait for the gate".to_owned());
        let body = RollbackBody { if_generation: Some(status.generation), reason, ..RollbackBody::default() };
        let answer = self.client.post::<SwitchAnswer>("/admin/rollback", &body, LOOK).await;
        answer.is_ok_and(|answer| !answer.changed)
    }

    /// Says again and again what the gate waits for.
    async fn tell(&self) {
        let began = Instant::now();
        let bar = if self.silent { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("gate   {spinner} {msg}") {
            bar.set_style(style);
        }
        let mut told = began;
        loop {
            tokio::time::sleep(GLANCE).await;
            let Ok(status) = self.client.get::<StatusAnswer>("/admin/status").await else { continue };
            let left = self.timeout.saturating_sub(began.elapsed()).as_secs();
            let text = format!("waiting for {}: {}, {left} s left; Ctrl-C cancels", self.color, self.obstacle(&status));
            if self.silent {
                continue;
            }
            bar.set_message(text.clone());
            bar.tick();
            if bar.is_hidden() && told.elapsed() >= NOW_AND_THEN {
                told = Instant::now();
                complain(&format!("gate   {text}"));
            }
        }
    }

    fn obstacle(&self, status: &StatusAnswer) -> String {
        let of_color = if self.color == "blue" { &status.blue } else { &status.green };
        match of_color.endpoints.iter().find(|endpoint| endpoint.health != "up") {
            Some(endpoint) => format!("{} {}", endpoint.endpoint, endpoint.detail),
            None => status.phase.clone(),
        }
    }
}
