//! `[state]` and `active`: the state directory, and the file's part in choosing a color.

use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{duration, path, table};
use crate::config::units::{DAY, HOUR};
use crate::domain::color::Color;

const ORDER_WINDOW: Duration = HOUR;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    pub dir: PathBuf,
    pub write_back: bool,
    pub file_orders: bool,
    pub names_active: bool,
    pub order_window: Duration,
}

impl StateConfig {
    fn with_defaults(dir: PathBuf, names_active: bool) -> StateConfig {
        StateConfig { dir, write_back: names_active, file_orders: true, names_active, order_window: ORDER_WINDOW }
    }

    pub(super) fn read(root: &Section<'_>) -> Option<StateConfig> {
        let names_active = root.has("active");
        let read = root.optional("state", |section| {
            let dir = match section.string("dir") {
                Some(("", span)) => {
                    section.problem(span, "`state.dir` is empty", "name a directory");
                    None
                }
                Some((dir, _)) => Some(PathBuf::from(dir)),
                None => default_dir(root),
            };
            let defaults = StateConfig::with_defaults(PathBuf::new(), names_active);
            let file_orders = section.boolean("file_orders", defaults.file_orders);
            // A file without orders is most likely written by a tool, again and again.
            let write_back = section.boolean("write_back", file_orders) && names_active;
            let order_window = section.duration("order_window", defaults.order_window, Duration::ZERO..=30 * DAY);
            Some(StateConfig { dir: dir?, write_back, file_orders, names_active, order_window })
        });
        read.unwrap_or_else(|| Some(StateConfig::with_defaults(default_dir(root)?, names_active)))
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let idle = !self.names_active && section.boolean("write_back", false);
        let help = "add `active = \"blue\"`, or remove this";
        section.idle("write_back", idle, "the file has no `active` to be kept true", help);
        let idle = !self.file_orders && self.order_window != ORDER_WINDOW;
        section.idle("order_window", idle, "`state.file_orders` is false", "remove one of the two");
    }

    pub(super) fn write(&self) -> Value {
        table([
            ("dir", path(&self.dir)),
            ("write_back", self.write_back.into()),
            ("file_orders", self.file_orders.into()),
            ("order_window", duration(self.order_window)),
        ])
    }
}

/// The color that the file names. A file that gives no orders may leave it out; the ledger decides then.
pub(super) fn active(root: &Section<'_>, state: Option<&StateConfig>) -> Option<Color> {
    if state.is_some_and(|state| !state.file_orders && !state.names_active) {
        return Some(Color::Blue);
    }
    let written = root.required("active", "active = \"blue\"")?;
    root.parse("active", written, "a color", "it is \"blue\" or \"green\"")
}

fn default_dir(root: &Section<'_>) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = variable("STATE_DIRECTORY")
        .or_else(|| Some(variable("XDG_STATE_HOME")?.join("cutover")))
        .or_else(|| Some(variable("HOME")?.join(".local/state/cutover")));
    if dir.is_none() {
        let message = "no state directory is known: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set";
        root.problem(0..0, message, "set `dir` under [state]");
    }
    dir
}
