//! Notices for programs, signed by Standard Webhooks 1.0:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::notify::event::Notice;
use crate::notify::words::clipped;

/// The limit that the specification asks for.
const MOST: usize = 20_000;

/// The body to post. `sequence` is its line in the ledger; 0: not written yet; `None`: no line.
pub(super) fn render(notice: &Notice, sequence: Option<u64>) -> String {
    let body = |data: &Map<String, Value>| {
        let timestamp = humantime::format_rfc3339_millis(notice.at).to_string();
        json!({ "type": notice.event.as_str(), "timestamp": timestamp, "data": data }).to_string()
    };
    let mut data = notice.data.clone();
    if let Some(sequence) = sequence {
        data.insert("sequence".to_owned(), if sequence == 0 { Value::Null } else { sequence.into() });
        data.insert("durable".to_owned(), (sequence != 0).into());
    }
    data.insert("summary".to_owned(), clipped(&notice.sentence, 2_000).into());
    data.insert("next".to_owned(), notice.next.clone().into());
    let links: Map<String, Value> = notice.pages().map(|(label, url)| (label.clone(), url.clone().into())).collect();
    data.insert("links".to_owned(), links.into());
    let mut text = body(&data);
    // Only with excessive texts. The subject stays to the last.
    for dispensable in ["links", "gate", "refusal", "why", "next", "actor", "reason"] {
        if text.len() < MOST {
            break;
        }
        data.remove(dispensable);
        text = body(&data);
    }
    text
}

/// The key in `whsec_` and base64.
pub(super) fn key(secret: &str) -> Option<hmac::Key> {
    let bytes = crate::config::receiver::signing_secret(secret)?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The three headers of an attempt. Every key signs, so a receiver may have the old or the new one.
pub(super) fn headers(id: &str, at: SystemTime, body: &str, keys: &[hmac::Key]) -> [(&'static str, String); 3] {
    let timestamp = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
    let signed = format!("{id}.{timestamp}.{body}");
    let sign = |key: &hmac::Key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes())));
    let signature = keys.iter().map(sign).collect::<Vec<_>>().join(" ");
    [("webhook-id", id.to_owned()), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
}

#[cfg(test)]
mod tests;
