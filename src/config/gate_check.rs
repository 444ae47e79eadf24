//! `[[gate.check]]`: a request that a release answers as wanted before traffic moves to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Secret;

/// One `[[gate.check]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateCheck {
    /// Names it in refusals, in the history and in the status. No two are alike.
    pub name: String,
    /// Whose endpoints are asked.
    pub upstream: String,
    /// `GET` and others; never `CONNECT`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// The `Host`; `None`: that of health checks.
    pub host: Option<String>,
    /// Fields of the request by name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// The same where the value stands in a file.
    pub header_files: BTreeMap<String, KeptValue>,
    /// What is sent as the body; `None`: nothing.
    pub body: Option<CheckBody>,
    /// The status codes that pass, inclusive.
    pub expect: (u16, u16),
    /// Fields of the response: by name, in lower case, the text that one value contains.
    pub expect_headers: BTreeMap<String, String>,
    /// The text that the body contains.
    pub expect_body: Option<String>,
    /// By JSON pointer, the value in the body.
    pub expect_json: BTreeMap<String, Scalar>,
    /// One response, its body included, takes no longer.
    pub timeout: Duration,
    /// Requests to each endpoint, one after the other; each of them has to pass.
    pub times: u32,
    /// A rollback waits for it.
    pub on_rollback: bool,
}

impl GateCheck {
    /// Its values that stand in files.
    pub fn kept(&self) -> impl Iterator<Item = &KeptValue> {
        let body = match &self.body {
            Some(CheckBody::File(kept)) => Some(kept),
            Some(CheckBody::Text(_)) | None => None,
        };
        self.header_files.values().chain(body)
    }

    /// With its files as they are now; one that can't be used keeps its value. It blocks as long as the disk does.
    #[must_use]
    pub fn read_again(&self) -> GateCheck {
        let mut check = self.clone();
        let body = match &mut check.body {
            Some(CheckBody::File(kept)) => Some(kept),
            Some(CheckBody::Text(_)) | None => None,
        };
        for kept in check.header_files.values_mut().chain(body) {
            let text = crate::config::read(&kept.file).ok().map(|text| text.trim().to_owned());
            if let Some(text) = text.filter(|text| (1..=MAX_CHECK_BODY).contains(&text.len())) {
                kept.value = Some(Secret(text));
            }
        }
        // As at a reload, where it would be an error of the file.
        for (name, kept) in &mut check.header_files {
            if kept.value.as_ref().is_some_and(|value| value.0.bytes().any(|byte| byte.is_ascii_control())) {
                kept.value = self.header_files.get(name).and_then(|kept| kept.value.clone());
            }
        }
        check
    }
}

/// A larger body is an upload.
pub(super) const MAX_CHECK_BODY: usize = 64 << 10;

/// A value in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptValue {
    /// The file.
    pub file: PathBuf,
    /// Its content; `None`: it can't be read, so that the check fails.
    pub value: Option<Secret>,
}

/// The body of a check's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckBody {
    /// As written in the configuration.
    Text(String),
    /// In a file.
    File(KeptValue),
}

/// A value in a JSON document that is neither a list nor an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// True or false.
    Boolean(bool),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
            Scalar::Whole(number) => number.fmt(f),
            Scalar::Boolean(value) => value.fmt(f),
        }
    }
}
