//! Advice for an operator who can't reach the admin API.

use std::path::Path;

use toml::de::{DeTable, DeValue};

/// Only advice that holds for this file.
pub(crate) fn without_admin(config: &Path) -> String {
    let Ok(text) = std::fs::read_to_string(config) else { return SYSTEMD.to_owned() };
    if file_orders(&text) {
        format!("\nWhile it runs, an edit of `active` in {} still moves traffic.{SYSTEMD}", config.display())
    } else {
        format!("\n`file_orders` is off in {}, so an edit of `active` moves nothing.{SYSTEMD}", config.display())
    }
}

const SYSTEMD: &str = "\nTo see whether it runs: systemctl status cutover";

fn file_orders(text: &str) -> bool {
    let (table, _errors) = DeTable::parse_recoverable(text);
    let value = table.get_ref().get("state").and_then(|state| match state.get_ref() {
        DeValue::Table(state) => state.get("file_orders"),
        _ => None,
    });
    !value.is_some_and(|value| matches!(value.get_ref(), DeValue::Boolean(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_named_only_where_it_moves_traffic() {
        assert!(file_orders("active = \"blue\"") && file_orders("[state]\nfile_orders = true"));
        assert!(!file_orders("[state]\nfile_orders = false\n<<<<"));
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cutover.toml");
        assert_eq!(without_admin(&file), SYSTEMD, "there is nothing to edit");
        std::fs::write(&file, "active = \"blue\"").expect("a write");
        let said = without_admin(&file);
        assert!(said.contains(&format!("edit of `active` in {} still moves traffic", file.display())), "{said}");
        std::fs::write(&file, "[state]\nfile_orders = false").expect("a write");
        assert!(without_admin(&file).contains("moves nothing"));
    }
}
