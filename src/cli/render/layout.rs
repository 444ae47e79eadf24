//! Text within 80 columns: a title on the left, words on the right, no word broken.

use anstream::adapter::strip_str;

/// No line is wider, unless a single word is.
pub(crate) const WIDE: usize = 80;
/// Where the text behind a title begins.
pub(crate) const TITLE: usize = 13;

/// One row: its title, and its text in as many lines as it needs. The text may hold styles.
pub(crate) fn row(title: &str, text: &str) -> String {
    let gap = " ".repeat(TITLE.saturating_sub(width(title)));
    wrapped(&format!("{title}{gap}"), text, TITLE)
}

/// `head`, and `text` behind it; further lines begin at column `indent`.
pub(crate) fn wrapped(head: &str, text: &str, indent: usize) -> String {
    let mut out = String::from(head);
    let mut column = width(head);
    let mut first = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = width(word);
        if first {
            first = false;
        } else if column + 1 + wide > WIDE {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += wide;
    }
    let end = out.trim_end_matches(' ').len();
    out.truncate(end);
    out.push('\n');
    out
}

/// Columns on a terminal, without styles.
pub(crate) fn width(text: &str) -> usize {
    strip_str(text).to_string().chars().count()
}

/// A table with titles: each column as wide as its widest cell, the last one wrapped.
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
        assert!(text.lines().count() > 1 && text.lines().all(|line| width(line) <= WIDE), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("             word")), "{text}");
        let long = "x".repeat(100);
        assert!(row("a", &format!("b {long} c")).contains(&long), "a word is never broken");
    }

    #[test]
    fn styles_take_no_columns() {
        let text = format!("\u{1b}[31m{}\u{1b}[0m", "a".repeat(60));
        assert_eq!(row("t", &format!("{text} bb")).lines().count(), 1);
    }
}
