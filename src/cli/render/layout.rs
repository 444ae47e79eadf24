//! Terminal layout: a title on the left, text on the right, no broken word, each command in one piece. Elsewhere than
//! on a terminal a message stays in one line, as logs want it.

use std::io::IsTerminal;

use anstream::adapter::strip_str;
use terminal_size::terminal_size_of;
use unicode_width::UnicodeWidthStr;

/// Width of a terminal that does not tell.
const USUAL: usize = 80;
const NARROWEST: usize = 20;
pub(crate) const TITLE: usize = 13;
const PROGRAMS: [&str; 7] = ["cutover", "systemctl", "journalctl", "df", "ls", "getent", "openssl"];

/// Unlimited where standard output is no terminal.
pub(crate) fn wide() -> usize {
    if cfg!(test) {
        return USUAL;
    }
    let out = std::io::stdout();
    if out.is_terminal() { columns(&out) } else { usize::MAX }
}

pub(crate) fn wide_errors() -> usize {
    let out = std::io::stderr();
    if out.is_terminal() { columns(&out) } else { usize::MAX }
}

fn columns(of: impl std::os::fd::AsFd) -> usize {
    let found = terminal_size_of(of).map(|(wide, _)| usize::from(wide.0)).filter(|wide| *wide > 0);
    found.unwrap_or(USUAL).max(NARROWEST)
}

pub(crate) fn width(text: &str) -> usize {
    strip_str(text).to_string().width()
}

pub(crate) enum Part<'a> {
    Text(&'a str),
    /// A command or a name in backticks, which is never changed or broken.
    Whole(&'a str),
}

/// Splits a line. Whole parts: text in backticks, and a command between a colon and the end.
pub(crate) fn parts(line: &str) -> Vec<Part<'_>> {
    let start = line.len() - line.trim_start_matches(' ').len();
    if PROGRAMS.iter().any(|program| line[start..].strip_prefix(program).is_some_and(|rest| rest.starts_with(' '))) {
        return vec![Part::Text(&line[..start]), Part::Whole(&line[start..])];
    }
    let mut parts = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let quoted = rest.find('`').and_then(|open| Some((open, open + 1 + rest[open + 1..].find('`')? + 1)));
        let named = rest.match_indices(": ").map(|(at, colon)| at + colon.len()).find(|at| {
            let word = rest[*at..].split(' ').next().unwrap_or_default();
            PROGRAMS.contains(&word) && rest[*at + word.len()..].trim_start() != ""
        });
        match (quoted, named) {
            (Some((open, _)), Some(at)) if at < open => {
                parts.extend([Part::Text(&rest[..at]), Part::Whole(&rest[at..])]);
                return parts;
            }
            (Some((open, end)), _) => {
                parts.extend([Part::Text(&rest[..open]), Part::Whole(&rest[open..end])]);
                rest = &rest[end..];
            }
            (None, Some(at)) => {
                parts.extend([Part::Text(&rest[..at]), Part::Whole(&rest[at..])]);
                return parts;
            }
            (None, None) => {
                parts.push(Part::Text(rest));
                return parts;
            }
        }
    }
    parts
}

/// A whole part counts as one word, with the punctuation that touches it.
fn words(text: &str) -> Vec<(String, bool)> {
    let mut words: Vec<(String, bool)> = Vec::new();
    let mut touches = false;
    for part in parts(text) {
        let (text, whole) = match part {
            Part::Text(text) => (text, false),
            Part::Whole(text) => (text, true),
        };
        let pieces: Vec<&str> = if whole { vec![text] } else { text.split(' ').collect() };
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                touches = false;
            }
            if piece.is_empty() {
                continue;
            }
            match words.last_mut().filter(|_| touches) {
                Some((word, is_whole)) => {
                    word.push_str(piece);
                    *is_whole |= whole;
                }
                None => words.push(((*piece).to_owned(), whole)),
            }
            touches = true;
        }
        if !whole && text.ends_with(' ') {
            touches = false;
        }
    }
    words
}

/// The text may hold styles.
pub(crate) fn row(title: &str, text: &str) -> String {
    let gap = " ".repeat(TITLE.saturating_sub(width(title)));
    wrapped(&format!("{title}{gap}"), text, TITLE)
}

/// `head`, then `text`; further lines begin at column `indent`.
pub(crate) fn wrapped(head: &str, text: &str, indent: usize) -> String {
    within(wide(), head, text, indent)
}

fn within(wide: usize, head: &str, text: &str, indent: usize) -> String {
    let mut out = String::from(head);
    let mut column = width(head);
    let all = words(text);
    let in_one_line = column.saturating_add(width(text)) <= wide;
    for (index, (word, whole)) in all.iter().enumerate() {
        let mut word = word.as_str();
        // A command at the end of a sentence stands alone, so that its line can be copied.
        let named = *whole && index > 0 && index + 1 == all.len() && all[index - 1].0.ends_with(':');
        let room = column + usize::from(index > 0) + width(word) <= wide && (in_one_line || !named);
        // A head of row width keeps its first word beside it.
        if room || (index == 0 && (!whole || head.trim().is_empty())) {
            if index > 0 {
                out.push(' ');
                column += 1;
            }
        } else {
            out.truncate(out.trim_end_matches(' ').len());
            let mut margin = indent;
            if *whole {
                if named && word.starts_with('`') {
                    word = word.trim_end_matches(['.', ';', ')', ',']).trim_matches('`');
                }
                if margin + width(word) > wide {
                    margin = 2;
                }
            }
            out.push('\n');
            out.push_str(&" ".repeat(margin));
            column = margin;
        }
        out.push_str(word);
        column += width(word);
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    out
}

/// Wraps a line, and indents the rest below its text. An excerpt of a file is cut instead.
pub(crate) fn folded(line: &str, wide: usize) -> String {
    if width(line) <= wide {
        return format!("{line}\n");
    }
    let bare = strip_str(line).to_string();
    let drawn = bare.trim_start().trim_start_matches(|character: char| character.is_ascii_digit());
    if drawn.trim_start().starts_with('|') {
        return format!("{}\n", cut(line, wide));
    }
    let start = line.len() - line.trim_start_matches(' ').len();
    let body = line.match_indices("  ").map(|(at, gap)| at + gap.len()).filter(|at| *at > start + 2);
    let body = body.filter(|at| width(&line[..*at]) <= wide / 2).last();
    let body = body.map(|at| at + line[at..].len() - line[at..].trim_start_matches(' ').len());
    match body {
        Some(at) => within(wide, &line[..at], &line[at..], width(&line[..at])),
        None => within(wide, &line[..start], &line[start..], start + 2),
    }
}

/// Cuts text to this width. A cut loses its styles.
pub(crate) fn cut(text: &str, wide: usize) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut out = String::new();
    for character in strip_str(text).to_string().chars() {
        out.push(character);
        if out.width() + 1 > wide {
            out.pop();
            break;
        }
    }
    out.push('…');
    out
}

/// Columns are as wide as their widest cell; the last one is wrapped.
pub(crate) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let wide: Vec<_> = (0..N)
        .map(|column| rows.iter().map(|row| width(&row[column])).chain([titles[column].len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: [&str; N]| {
        let mut head = String::new();
        for (cell, wide) in cells.iter().zip(&wide).take(N - 1) {
            head.push_str(cell);
            head.push_str(&" ".repeat(wide - width(cell) + 2));
        }
        let indent = width(&head);
        wrapped(&head, cells[N - 1], indent)
    };
    let mut text = line(titles);
    for row in rows {
        text.push_str(&line(std::array::from_fn(|column| row[column].as_str())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_breaks_between_words_and_hangs() {
        let text = row("rollback", &"word ".repeat(30));
        assert!(text.lines().count() > 1 && text.lines().all(|line| width(line) <= USUAL), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("             word")), "{text}");
        let long = "x".repeat(100);
        assert!(row("a", &format!("b {long} c")).contains(&long), "a word is never broken");
    }

    #[test]
    fn styles_take_no_columns_and_wide_characters_two() {
        let text = format!("\u{1b}[31m{}\u{1b}[0m", "a".repeat(60));
        assert_eq!(row("t", &format!("{text} bb")).lines().count(), 1);
        assert_eq!(width("\u{1b}[1m日本\u{1b}[0m"), 4);
    }

    #[test]
    fn a_command_stays_in_one_piece_and_stands_alone_where_a_sentence_names_it() {
        let said =
            format!("in_progress: {}; to cancel it: `cutover rollback --reason \"a b\"`", "word ".repeat(12).trim());
        let text = folded(&said, 80);
        assert_eq!(text.lines().last(), Some("  cutover rollback --reason \"a b\""), "{text}");
        let tail =
            format!("  To recover: cutover switch green --force=health --reason \"{}\"", "outage ".repeat(4).trim());
        let text = folded(&tail, 50);
        let command = "  cutover switch green --force=health --reason \"outage outage outage outage\"";
        assert_eq!(text, format!("  To recover:\n{command}\n"));
        let two = folded("one two three `cutover canary status` tells it, `cutover canary abort` takes it back", 40);
        assert!(two.contains("`cutover canary status`") && two.contains("`cutover canary abort`"), "{two}");
        assert!(two.lines().all(|line| width(line) <= 40), "{two}");
    }

    #[test]
    fn a_line_hangs_below_its_column_and_a_drawing_is_cut() {
        let text = folded(&format!("serving      {}", "word ".repeat(30)), 60);
        assert!(text.lines().skip(1).all(|line| line.starts_with("             word")), "{text}");
        let drawn = folded(&format!("12 | key = \"{}\"", "x".repeat(100)), 40);
        assert!(drawn.lines().count() == 1 && width(drawn.trim_end()) == 40 && drawn.ends_with("…\n"), "{drawn}");
        assert_eq!(cut("日本語", 4), "日…");
    }
}
