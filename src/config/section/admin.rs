//! `[admin]`: access to the admin API.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use toml::Value;

use crate::config::error::UnusableFile;
use crate::config::file::values::one_of;
use crate::config::file::{Section, Span, quoted};
use crate::config::render::{path, table, word};
use crate::config::section::certificates::{PlacedCertificate, check_files};
use crate::config::section::listen::Listen;
use crate::config::{AdminAddress, ListenConfig};
use crate::tls::CertificateFiles;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminConfig {
    pub tokens: Vec<TokenConfig>,
    pub tls: Option<AdminTls>,
    pub plain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    pub certificate: CertificateFiles,
    /// A certificate that one of these has signed stands for an operator's token.
    pub client_ca: Option<PathBuf>,
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
        let tls = section.as_ref().and_then(|section| section.optional("tls", AdminTls::read).flatten());
        let plain = section.as_ref().is_some_and(|section| section.boolean("plain", false));
        if let Some(section) = section {
            if let (true, true, Some(value)) = (plain, tls.is_some(), section.get("plain")) {
                section.problem(
                    value.span(),
                    "`admin.plain` has no effect beside [admin.tls]",
                    "remove one of the two",
                );
            }
            section.refuse_unknown();
        }
        let admin = AdminConfig { tokens, tls, plain };
        refuse_open_address(root, listen, has_tokens, &admin);
        admin
    }

    pub(super) fn write(&self) -> Value {
        let tokens = self
            .tokens
            .iter()
            .map(|token| table([("name", token.name.clone().into()), ("role", word(&Role::NAMES, token.role))]));
        let mut section = vec![("tokens", tokens.collect::<Vec<_>>().into()), ("plain", self.plain.into())];
        section.extend(self.tls.as_ref().map(|tls| ("tls", tls.write())));
        table(section)
    }
}

impl AdminTls {
    fn read(section: &Section<'_>) -> Option<AdminTls> {
        let cert = section.required("cert", "cert = \"/etc/cutover/admin.pem\"");
        let cert = cert.and_then(|written| section.file("cert", written));
        let key = section.required("key", "key = \"/etc/cutover/admin.key\"");
        let key = key.and_then(|written| section.file("key", written));
        let client_ca = section.string("client_ca").and_then(|written| section.file("client_ca", written));
        let (Some((cert, cert_span)), Some((key, key_span))) = (cert, key) else { return None };
        let files = CertificateFiles { cert, key, ocsp: None };
        let placed = [PlacedCertificate { files, cert: cert_span, key: key_span, ocsp: None }];
        check_files(section, "admin.tls", &placed, client_ca.as_ref());
        let [PlacedCertificate { files: certificate, .. }] = placed;
        Some(AdminTls { certificate, client_ca: client_ca.map(|(path, _)| path) })
    }

    fn write(&self) -> Value {
        let mut section = vec![("cert", path(&self.certificate.cert)), ("key", path(&self.certificate.key))];
        section.extend(self.client_ca.as_deref().map(|ca| ("client_ca", path(ca))));
        table(section)
    }
}

/// An address that other machines reach needs tokens or client certificates, and TLS.
fn refuse_open_address(root: &Section<'_>, listen: Option<&Listen>, has_tokens: bool, admin: &AdminConfig) {
    let Some(Listen { config: ListenConfig { admin: address, .. }, admin: Some(span), .. }) = listen else { return };
    let address = match address {
        AdminAddress::Tcp(address) => address,
        AdminAddress::Unix(_) if admin.tls.is_some() => {
            let help = "write an address with a port, or remove [admin.tls]";
            return root.problem(span.clone(), "`listen.admin` is a unix socket, which speaks no TLS", help);
        }
        AdminAddress::Unix(_) => return,
    };
    if address.ip().is_loopback() {
        return;
    }
    let reached = format!("the admin address {address} can be reached from other machines, and");
    let certificates = admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let tokens = &admin.tokens;
    if !has_tokens && !certificates {
        let help = "use a loopback address or \"unix:…\", or add `tokens` under [admin]";
        root.problem(span.clone(), format!("{reached} no token is asked for"), help);
    } else if !certificates && !tokens.is_empty() && tokens.iter().all(|token| token.secret.is_none()) {
        let message = format!("{reached} no token of `admin.tokens` can be read");
        root.problem(span.clone(), message, "mend the files of the tokens");
    } else if admin.tls.is_none() && !admin.plain {
        let help = "add [admin.tls] with `cert` and `key`, or `plain = true` under [admin] where the network between \
                    is trusted";
        root.problem(span.clone(), format!("{reached} tokens would travel without TLS"), help);
    }
}

/// The readers of a file.
enum Exposure {
    /// Not everybody.
    Limited,
    Everybody,
    /// Everybody, on a file system that takes no change, such as a secret of Kubernetes.
    Fixed,
}

/// Everybody reads a file where its mode and that of every directory above it let everybody in.
fn exposure(path: &Path) -> Exposure {
    let Ok(path) = path.canonicalize() else { return Exposure::Limited };
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.mode());
    let open = mode(&path) & 0o004 != 0 && path.ancestors().skip(1).all(|above| mode(above) & 0o001 != 0);
    let fixed = || rustix::fs::statvfs(&path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    match open {
        false => Exposure::Limited,
        true if fixed() => Exposure::Fixed,
        true => Exposure::Everybody,
    }
}

/// Refuses a token that every user of this machine reads, where `chmod` would help.
fn is_exposed(token: &Section<'_>, setting: &str, path: &str, span: Span) -> bool {
    match exposure(Path::new(path)) {
        Exposure::Limited => false,
        Exposure::Fixed => {
            tracing::warn!(file = path, "Token file readable by everybody, on a file system that can't be changed");
            false
        }
        Exposure::Everybody => {
            let message = format!("the token in {} can be read by every user of this machine", quoted(path));
            let reason = "can be read by every user of this machine".to_owned();
            let file = UnusableFile { setting: setting.to_owned(), path: path.to_owned(), reason };
            token.unusable(span, file, message, Some(format!("chmod o-r {path}, and use a new token")));
            true
        }
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
        (Some((path, span)), None) => {
            let secret = token.secret_in(setting, (path, span.clone()))?;
            (!is_exposed(token, setting, path, span)).then_some(secret)
        }
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
