//! Arguments of a deploy.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;

use crate::admin::api::StoreBody;
use crate::domain::color::Color;
use crate::domain::split::Weight;

/// `deploy`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cutover deploy --release 2.15.0 --endpoint 127.0.0.1:9003 --reason \"ticket 42\"
  cutover deploy --release 2.15.0 --endpoint 10.0.0.7:80 --upstream api=10.0.0.8:80 --canary
  cutover deploy --release 2.15.0 --endpoint 127.0.0.1:9003 --stage-only

The phases are stage, gate, move and drain. A gate that refuses leaves the release staged and everything else as it was: exit code 3. \
The same command again continues where the first one ended.")]
pub(crate) struct Deploy {
    /// The label of the release
    #[arg(long, value_name = "LABEL")]
    pub(crate) release: String,
    /// An address of the release, such as "127.0.0.1:9003", "app:80" or "unix:/run/app.sock"; once for each endpoint
    #[arg(long = "endpoint", value_name = "ADDRESS", required_unless_present = "upstreams")]
    pub(crate) endpoints: Vec<String>,
    /// An address for a further upstream; once for each endpoint
    #[arg(long = "upstream", value_name = "NAME=ADDRESS", value_parser = upstream)]
    pub(crate) upstreams: Vec<(String, String)>,
    /// The schema labels of a data store, such as 'orders={ needs = ">=41", migrates_to = 43 }'; "none": no labels
    #[arg(long = "schema", value_name = "STORE=LABELS", value_parser = schema)]
    pub(crate) schema: Vec<Schema>,
    /// The color that gets the release [default: the one that does not serve]
    #[arg(long, value_name = "COLOR")]
    pub(crate) color: Option<Color>,
    /// Begin a canary instead of moving all traffic; its first share [default: canary.steps]
    #[arg(long, value_name = "SHARE", num_args = 0..=1)]
    pub(crate) canary: Option<Option<Weight>>,
    /// Stage the release; move no traffic
    #[arg(long, conflicts_with_all = ["canary", "wait"])]
    pub(crate) stage_only: bool,
    /// When the command returns
    #[arg(long, value_enum, default_value_t = WaitFor::Drained, value_name = "FOR")]
    pub(crate) wait: WaitFor,
    /// The longest time for the gate, and again for --wait [default: gate.timeout; drained: 90s; known-good: no limit]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// Exit with 1 if the drain cut requests off; waits for the drain
    #[arg(long, conflicts_with_all = ["canary", "stage_only"])]
    pub(crate) fail_on_cut: bool,
    /// How long the release has to serve before it is known good, a target of rollbacks [default: bake.duration]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION", conflicts_with = "stage_only")]
    pub(crate) known_good_after: Option<Duration>,
    /// Replace the release that a rollback would go to; afterwards no rollback is possible
    #[arg(long)]
    pub(crate) replace_way_back: bool,
    /// The reason, kept in the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `--wait`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// As soon as all new requests go to the color
    None,
    /// When the color that served before is drained
    Drained,
    /// When the release is known good; with --canary, when the canary is over
    KnownGood,
}

/// `--schema`
#[derive(Clone, Debug)]
pub(crate) enum Schema {
    /// The release names no store.
    None,
    /// The schema that it needs of one store.
    Store(String, StoreBody),
}

fn upstream(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => Ok((name.to_owned(), address.to_owned())),
        _ => Err("write NAME=ADDRESS, such as api=10.0.0.3:8080".to_owned()),
    }
}

fn schema(text: &str) -> Result<Schema, String> {
    if text == "none" {
        return Ok(Schema::None);
    }
    let form = "write STORE={ needs = \">=41\", migrates_to = 43 }, or \"none\"";
    let (store, labels) = text.split_once('=').ok_or(form)?;
    let labels = labels.trim();
    if !labels.starts_with('{') {
        return Err(form.to_owned());
    }
    let parsed: Result<BTreeMap<String, StoreBody>, _> = toml::from_str(&format!("labels = {labels}"));
    match parsed {
        Ok(mut parsed) => Ok(Schema::Store(store.trim().to_owned(), parsed.remove("labels").unwrap_or_default())),
        Err(error) => Err(format!("{}; {form}", error.message().lines().next().unwrap_or_default())),
    }
}
