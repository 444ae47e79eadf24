//! The message of a Slack incoming webhook: a complete text, blocks, and links as buttons.
//! <https://docs.slack.dev/reference/block-kit/blocks>

use serde_json::{Value, json};

use crate::domain::notice::Severity;
use crate::notify::event::Notice;
use crate::notify::words::clipped;

/// Slack's limits in characters, and in fields per section.
const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const FIELDS: usize = 10;
const BUTTON: usize = 75;
const URL: usize = 3_000;
/// The part of a sentence in push notifications and lists.
const TEXT: usize = 1_000;

/// The body to post. `durable`: the ledger has the event on disk.
pub(super) fn render(notice: &Notice, durable: bool) -> String {
    let mark = match notice.severity {
        Severity::Info => ":large_green_circle:",
        Severity::Warn => ":large_yellow_circle:",
        Severity::Error => ":red_circle:",
        Severity::Page => ":rotating_light:",
    };
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": clipped(&notice.headline, HEADER) } }),
        section(&notice.sentence),
    ];
    let mut fields: Vec<Value> = notice
        .fields
        .iter()
        .take(FIELDS - 1)
        .map(|(name, text)| markdown(&format!("*{name}*\n{}", escaped(text, FIELD - 100))))
        .collect();
    if !durable {
        fields.push(markdown("*On disk*\nnot yet: the disk does not take it"));
    }
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    if !notice.next.is_empty() {
        blocks.push(section(&notice.next));
    }
    let of = |key: &str| notice.data.get(key).and_then(Value::as_str).map(|text| escaped(text, 200));
    let generation = notice.data.get("generation").map(|generation| format!("generation {generation}"));
    let known = [Some(notice.event.to_string()), of("instance"), generation, of("event_id")];
    let context: Vec<String> = known.into_iter().flatten().collect();
    blocks.push(json!({ "type": "context", "elements": [markdown(&context.join(" | "))] }));
    let buttons: Vec<Value> = notice
        .pages()
        // A shortened address would lead elsewhere.
        .filter(|(_, url)| url.chars().count() <= URL)
        .map(|(label, url)| {
            json!({ "type": "button", "text": { "type": "plain_text", "text": clipped(label, BUTTON) }, "url": url })
        })
        .collect();
    if !buttons.is_empty() {
        blocks.push(json!({ "type": "actions", "elements": buttons }));
    }
    let subject = notice.headline.split_once(": ").map_or("", |(subject, _)| subject);
    let text = format!("{mark} {}: {}", escaped(subject, HEADER), escaped(&notice.sentence, TEXT));
    json!({ "text": text, "blocks": blocks }).to_string()
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": markdown(&escaped(text, SECTION)) })
}

fn markdown(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

/// Escapes links, mentions and entities. The limit counts like Slack, and cuts no escape.
fn escaped(text: &str, most: usize) -> String {
    let mut written = String::new();
    let mut length = 0;
    for c in text.chars() {
        let mut own = [0; 4];
        let piece = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c if c.is_control() => " ",
            c => &*c.encode_utf8(&mut own),
        };
        length += piece.chars().count();
        if length >= most {
            written.push('…');
            return written;
        }
        written.push_str(piece);
    }
    written
}

#[cfg(test)]
mod tests;
