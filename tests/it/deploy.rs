//! Deploys: a release is put on the color that does not serve, and the traffic moves there, by one command or one request.

mod command;
mod documents;
mod first;
mod gate_checks;
mod interrupted;
mod load;
mod releases;
mod stage;

use std::process::Output;

use serde_json::{Value, json};

use crate::application::{Application, pair};
use crate::client::Answer;
use crate::proxy::{Proxy, Setup};

/// Two colors, and a release that is not deployed yet.
struct Stage {
    blue: Application,
    green: Application,
    next: Application,
    proxy: Proxy,
}

impl Stage {
    async fn build() -> Stage {
        Stage::build_with(|_| {}).await
    }

    /// With another setup. A release is known good at once, so that nothing guards the way back.
    async fn build_with(change: impl FnOnce(&mut Setup)) -> Stage {
        let (blue, green) = pair().await;
        let next = Application::start("next").await;
        let mut setup = Setup::new(&blue, &green);
        "[bake]\nduration = \"0s\"\n".clone_into(&mut setup.more);
        change(&mut setup);
        let proxy = setup.start().await;
        Stage { blue, green, next, proxy }
    }

    /// What puts the new release somewhere.
    fn body(&self) -> Value {
        json!({ "release": "3.0", "endpoints": [self.next.address.to_string()], "reason": "ticket 42" })
    }

    async fn put(&self, color: &str, body: &Value) -> Answer {
        put(&self.proxy, color, body).await
    }

    /// `cutover deploy` of the new release.
    async fn deploy(&self, more: &[&str]) -> Output {
        deploy(&self.proxy, "3.0", &self.next, more).await
    }
}

/// The words of a text, whatever lines they stand on.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn put(proxy: &Proxy, color: &str, body: &Value) -> Answer {
    proxy.admin("PUT", &format!("/admin/colors/{color}"), &body.to_string()).await
}

async fn deploy(proxy: &Proxy, release: &str, application: &Application, more: &[&str]) -> Output {
    let address = application.address.to_string();
    let mut args = vec!["deploy", "--release", release, "--endpoint", &address];
    args.extend(more);
    proxy.cli(&args).await
}
