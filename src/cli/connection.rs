//! The running proxy's address, and the token for it.

use std::path::{Path, PathBuf};

use crate::app::default_config_path;

pub(crate) const COMMON: &str = "Common options";

/// The address of the proxy, and the credentials for it.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// The configuration file; it also says where the proxy is [default: /etc/cutover/cutover.toml]
    #[arg(
        long,
        short,
        global = true,
        env = "CUTOVER_CONFIG",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = COMMON
    )]
    pub(crate) config: Option<PathBuf>,
    /// The instance, one of several applications on this machine: its configuration is /etc/cutover/NAME.toml
    #[arg(
        long,
        short,
        global = true,
        env = "CUTOVER_INSTANCE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = instance,
        help_heading = COMMON
    )]
    pub(crate) instance: Option<String>,
    /// The admin address of the running proxy, such as "127.0.0.1:9900" or "unix:/run/cutover/admin.sock" [default: by
    /// the configuration file]
    #[arg(
        long,
        global = true,
        env = "CUTOVER_ADMIN",
        hide_env_values = true,
        value_name = "ADDRESS",
        help_heading = COMMON
    )]
    pub(crate) admin: Option<String>,
    /// A file with the token for the admin API [default: the variable CUTOVER_TOKEN, if it is set]
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    pub(crate) token_file: Option<PathBuf>,
    /// The authority that has signed the certificate of an https:// admin address [default: those of the system, and
    /// for `listen.admin` the certificate in the configuration file]
    #[arg(long, global = true, env = "CUTOVER_CA", hide_env_values = true, value_name = "FILE", help_heading = COMMON)]
    pub(crate) ca: Option<PathBuf>,
    /// The client certificate to show to the admin address
    #[arg(long, global = true, env = "CUTOVER_CERT", hide_env_values = true, value_name = "FILE", help_heading = COMMON)]
    pub(crate) cert: Option<PathBuf>,
    /// The key of --cert [default: in the same file]
    #[arg(long, global = true, env = "CUTOVER_KEY", hide_env_values = true, value_name = "FILE", help_heading = COMMON)]
    pub(crate) key: Option<PathBuf>,
}

impl Connection {
    /// The given options, for commands that are to find the same proxy. Variables apply anyway.
    pub(crate) fn given(&self) -> String {
        let mut given = String::new();
        let mut add = |option: &str, variable: &str, value: Option<&str>| {
            let by_variable = |value: &str| !variable.is_empty() && std::env::var(variable).is_ok_and(|it| it == value);
            if let Some(value) = value.filter(|value| !value.is_empty() && !by_variable(value)) {
                given.push_str(&format!(" {option} {}", quoted(value)));
            }
        };
        // The same file from another directory.
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        let config = self.config.as_deref().filter(|path| !path.as_os_str().is_empty());
        let config = config.map(whole).filter(|path| *path != default_config_path().display().to_string());
        let admin = self.admin.as_deref().map(|admin| match admin.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => format!("unix:{}", whole(Path::new(path))),
            _ => admin.to_owned(),
        });
        add("--config", "CUTOVER_CONFIG", config.as_deref());
        add("--instance", "CUTOVER_INSTANCE", self.instance.as_deref().filter(|_| config.is_none()));
        add("--admin", "CUTOVER_ADMIN", admin.as_deref());
        add("--token-file", "", self.token_file.as_deref().map(whole).as_deref());
        for (option, variable, path) in [
            ("--ca", "CUTOVER_CA", &self.ca),
            ("--cert", "CUTOVER_CERT", &self.cert),
            ("--key", "CUTOVER_KEY", &self.key),
        ] {
            let by_variable = |path: &Path| std::env::var_os(variable).is_some_and(|it| it == path.as_os_str());
            let path = path.as_deref().filter(|path| !path.as_os_str().is_empty() && !by_variable(path));
            add(option, "", path.map(whole).as_deref());
        }
        given
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        // An empty variable counts as unset.
        let given = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        // `--config` precedes a variable, which holds for a whole shell.
        given.unwrap_or_else(|| match self.instance.as_deref().filter(|name| !name.is_empty()) {
            Some(instance) => Path::new(DIR).join(format!("{instance}.toml")),
            None => default_config_path(),
        })
    }
}

pub(crate) const DIR: &str = "/etc/cutover";

/// A name that is valid for a file, a unit and a directory.
fn instance(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.bytes().all(plain) && !name.starts_with('.') {
        Ok(name.to_owned())
    } else {
        Err("an instance has a name of letters, digits, `-`, `_` and `.`, as in /etc/cutover/NAME.toml".to_owned())
    }
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~,:/@=+".contains(&byte);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
