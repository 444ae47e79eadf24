//! Wire types of staging, and of the remaining needs of a color.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `PUT /admin/colors/{color}`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageBody {
    /// The label.
    #[serde(default)]
    pub release: String,
    /// The endpoints of the upstream `default`, written as in the configuration file.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// The endpoints of further upstreams. An upstream that is not named has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<String, Vec<String>>,
    /// Schema labels of the release, by data store. `{}`: the release has none. Absent: the labels in the file stay if
    /// they belong to the same release; labels of another release are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<BTreeMap<String, StoreBody>>,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// Also where a rollback would go to the release that it replaces. Afterwards a rollback has nowhere to go.
    #[serde(default)]
    pub replace_way_back: bool,
    /// Answer whether it would be refused, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Labels of a release for one data store, as in `[COLOR.schema]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreBody {
    /// The versions that the release can run on, such as `>=41, <=43`.
    #[serde(default)]
    pub needs: String,
    /// The version to which the release migrates the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrates_to: Option<u64>,
    /// From when on nobody goes back over it: `none`, `applied` or `first-write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<String>,
    /// Probe that reports the version of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeBody>,
}

/// Probe that reports the version of a data store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeBody {
    /// An http address.
    #[serde(default)]
    pub url: String,
    /// A JSON pointer into the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
}

/// Outcome of a staging.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StageAnswer {
    /// False: the color had exactly that already.
    pub changed: bool,
    /// True: a question only; nothing changed.
    #[serde(default)]
    pub dry_run: bool,
    /// The color.
    pub color: String,
    /// Its release.
    pub release: String,
    /// The generation in force. Staging moves no traffic, so it is not a new one.
    pub generation: u64,
    /// The name of the staged content, for `if_staged`.
    pub staged: String,
    /// The release that the color had before.
    pub replaced: Option<ReplacedAnswer>,
}

/// A release that a color does not have any more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReplacedAnswer {
    /// The label.
    pub release: String,
    /// The endpoints of the upstream `default`.
    pub endpoints: Vec<String>,
    /// The endpoints of further upstreams.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<String, Vec<String>>,
}

/// Whether the processes of a color may be stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SafeToStop {
    /// No reason to keep them running.
    pub safe: bool,
    /// Reasons to keep the processes running.
    pub needed_by: Vec<NeedAnswer>,
}

/// One reason why the processes of a color may not be stopped. More kinds may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct NeedAnswer {
    /// `serves`, `share`, `move`, `drain`, `predecessor`, `way_back`, `way_out` or `lingering`.
    pub need: String,
    /// The same in words.
    pub detail: String,
    /// Its latest end, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
