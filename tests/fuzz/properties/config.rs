//! The configuration: never a panic, every error has a place, and what is valid is rendered as itself.

use std::path::Path;

use cutover::internals::config::Config;

/// Reads a text.
///
/// # Panics
///
/// If an error has no place, or a rendered configuration is another one.
pub(super) fn reads(text: &str) {
    match Config::parse(Path::new("cutover.toml"), text) {
        Ok(config) => {
            let changes = config.changes_from(&config.render()).expect("a rendered configuration can be read");
            assert_eq!(changes, Vec::<String>::new());
        }
        Err(errors) => assert!(errors.render(false).contains("cutover.toml"), "an error without a place"),
    }
}
