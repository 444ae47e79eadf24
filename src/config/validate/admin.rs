//! Who may use the admin API.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config;
use crate::config::error::UnusableFile;
use crate::config::file::{Section, Span, quoted};
use crate::config::validate::File;
use crate::config::validate::listen::Listen;
use crate::config::{AdminAddress, AdminConfig, ListenConfig, Role, Secret, TokenConfig};

impl File<'_> {
    pub(super) fn admin(&self, listen: Option<&Listen>) -> AdminConfig {
        let section = self.root.section("admin");
        let mut tokens = Vec::new();
        let mut names = BTreeSet::new();
        for token in section.iter().flat_map(|section| section.sections("tokens")) {
            let name = token.required("name", "name = \"deploy\"");
            if let Some((name, span)) = name.clone() {
                self.label("`admin.tokens.name`", name, span.clone());
                if !names.insert(name) {
                    let message = format!("two tokens are named {}", quoted(name));
                    self.notes.problem(span, message, "give each a name of its own".to_owned());
                }
            }
            let role = token.required("role", "role = \"operator\"").and_then(|(role, span)| match role {
                "viewer" => Some(Role::Viewer),
                "operator" => Some(Role::Operator),
                _ => {
                    let message = format!("{} is not a role", quoted(role));
                    self.notes.problem(span, message, "it is \"viewer\" or \"operator\"".to_owned());
                    None
                }
            });
            let secret = self.secret(&token);
            token.refuse_unknown();
            if let (Some((name, _)), Some(role)) = (name, role) {
                tokens.push(TokenConfig { name: name.to_owned(), role, secret });
            }
        }
        let some_tokens = section.as_ref().is_some_and(|section| section.get("tokens").is_some());
        if let Some(section) = section {
            section.refuse_unknown();
        }
        if let Some(Listen {
            config: ListenConfig { admin: AdminAddress::Tcp(address), .. }, admin: Some(span), ..
        }) = listen
            && !address.ip().is_loopback()
            && (!some_tokens || names.is_empty())
        {
            let message =
                format!("the admin address {address} can be reached from other machines, and no token is asked for");
            let help = "use a loopback address or \"unix:…\", or add `tokens` under [admin]".to_owned();
            self.notes.problem(span.clone(), message, help);
        } else if let Some(Listen {
            config: ListenConfig { admin: AdminAddress::Tcp(address), .. },
            admin: Some(span),
            ..
        }) = listen
            && !address.ip().is_loopback()
            && !tokens.is_empty()
            && tokens.iter().all(|token| token.secret.is_none())
        {
            let message = format!(
                "the admin address {address} can be reached from other machines, and no token of `admin.tokens` can be read"
            );
            self.notes.problem(span.clone(), message, "mend the files of the tokens".to_owned());
        }
        AdminConfig { tokens }
    }

    /// A secret from a file or a variable; never from the configuration itself.
    fn secret(&self, section: &Section<'_>) -> Option<Secret> {
        let setting = "admin.tokens";
        match (section.string("file"), section.string("env")) {
            (Some((path, span)), None) => self.secret_in(setting, path, span),
            (None, Some((name, span))) => match std::env::var(name) {
                Ok(text) => self.not_empty(setting, &text, span, name, &format!("${name}")),
                Err(_) => {
                    let message = format!("the environment has no variable {}", quoted(name));
                    let reason = "the environment has no such variable".to_owned();
                    let file = UnusableFile { setting: setting.to_owned(), path: format!("${name}"), reason };
                    self.notes.unusable(span, file, message, None);
                    None
                }
            },
            (Some(_), Some((_, span))) => {
                self.notes.problem(span, "the secret has both a `file` and an `env`", "keep one of them".to_owned());
                None
            }
            (None, None) => {
                // What is there and is no string was noted.
                if section.get("file").is_none() && section.get("env").is_none() {
                    section.missing("file", "file = \"/run/credentials/token\"` or `env = \"NAME\"");
                }
                None
            }
        }
    }

    /// The secret in a file.
    pub(super) fn secret_in(&self, setting: &str, path: &str, span: Span) -> Option<Secret> {
        match config::read(Path::new(path)) {
            Ok(text) => self.not_empty(setting, &text, span, path, path),
            Err(reason) => {
                let message = format!("the secret in {} {reason}", quoted(path));
                let file = UnusableFile { setting: setting.to_owned(), path: path.to_owned(), reason };
                self.notes.unusable(span, file, message, None);
                None
            }
        }
    }

    fn not_empty(&self, setting: &str, text: &str, span: Span, from: &str, path: &str) -> Option<Secret> {
        let text = text.trim();
        if text.is_empty() {
            let file =
                UnusableFile { setting: setting.to_owned(), path: path.to_owned(), reason: "is empty".to_owned() };
            self.notes.unusable(span, file, format!("the secret in {} is empty", quoted(from)), None);
            return None;
        }
        Some(Secret(text.to_owned()))
    }
}
