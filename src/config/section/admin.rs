//! `[admin]`: access to the admin API.

use std::collections::BTreeSet;
use std::fmt;

use toml::Value;

use crate::config::file::values::one_of;
use crate::config::file::{Section, quoted};
use crate::config::render::{table, word};
use crate::config::section::listen::Listen;
use crate::config::{AdminAddress, ListenConfig};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminConfig {
    pub tokens: Vec<TokenConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    pub name: String,
    pub role: Role,
    /// `None`: the secret can't be read, so no client has it.
    pub secret: Option<Secret>,
}

/// The rights of a token; each role has those of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Moves traffic and reloads.
    Operator,
}

impl Role {
    const NAMES: [(&str, Role); 2] = [("viewer", Role::Viewer), ("operator", Role::Operator)];
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl AdminConfig {
    pub(super) fn read(root: &Section<'_>, listen: Option<&Listen>) -> AdminConfig {
        let section = root.section("admin");
        let mut tokens = Vec::new();
        let mut names = BTreeSet::new();
        for token in section.iter().flat_map(|section| section.sections("tokens")) {
            let name = token.required("name", "name = \"deploy\"");
            if let Some((name, span)) = name.clone() {
                token.label("`admin.tokens.name`", (name, span.clone()));
                if !names.insert(name) {
                    token.problem(
                        span,
                        format!("two tokens are named {}", quoted(name)),
                        "give each a name of its own",
                    );
                }
            }
            let role = read_role(&token);
            let secret = read_secret(&token);
            token.refuse_unknown();
            if let (Some((name, _)), Some(role)) = (name, role) {
                tokens.push(TokenConfig { name: name.to_owned(), role, secret });
            }
        }
        let has_tokens = section.as_ref().is_some_and(|section| section.has("tokens")) && !names.is_empty();
        if let Some(section) = section {
            section.refuse_unknown();
        }
        refuse_open_address(root, listen, has_tokens, &tokens);
        AdminConfig { tokens }
    }

    pub(super) fn write(&self) -> Value {
        let tokens = self
            .tokens
            .iter()
            .map(|token| table([("name", token.name.clone().into()), ("role", word(&Role::NAMES, token.role))]));
        table([("tokens", tokens.collect::<Vec<_>>().into())])
    }
}

/// An address that other machines reach needs a token.
fn refuse_open_address(root: &Section<'_>, listen: Option<&Listen>, has_tokens: bool, tokens: &[TokenConfig]) {
    let Some(Listen { config: ListenConfig { admin: AdminAddress::Tcp(address), .. }, admin: Some(span), .. }) = listen
    else {
        return;
    };
    if address.ip().is_loopback() {
        return;
    }
    let reached = format!("the admin address {address} can be reached from other machines, and no token");
    if !has_tokens {
        let help = "use a loopback address or \"unix:…\", or add `tokens` under [admin]";
        root.problem(span.clone(), format!("{reached} is asked for"), help);
    } else if !tokens.is_empty() && tokens.iter().all(|token| token.secret.is_none()) {
        let message = format!("{reached} of `admin.tokens` can be read");
        root.problem(span.clone(), message, "mend the files of the tokens");
    }
}

fn read_role(token: &Section<'_>) -> Option<Role> {
    let (role, span) = token.required("role", "role = \"operator\"")?;
    let known = Role::NAMES.iter().find(|(name, _)| *name == role);
    if known.is_none() {
        token.problem(span, format!("{} is not a role", quoted(role)), one_of(&Role::NAMES));
    }
    known.map(|(_, role)| *role)
}

/// A secret stands in a file or a variable, never in the configuration itself.
fn read_secret(token: &Section<'_>) -> Option<Secret> {
    let setting = "admin.tokens";
    match (token.string("file"), token.string("env")) {
        (Some(path), None) => token.secret_in(setting, path),
        (None, Some(name)) => token.secret_of(setting, name),
        (Some(_), Some((_, span))) => {
            token.problem(span, "the secret has both a `file` and an `env`", "keep one of them");
            None
        }
        (None, None) => {
            // A value that is no string was recorded.
            if !token.has("file") && !token.has("env") {
                token.missing("file", "file = \"/run/credentials/token\"` or `env = \"NAME\"");
            }
            None
        }
    }
}
