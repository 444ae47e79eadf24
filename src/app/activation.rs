//! Socket activation: the listeners that systemd has opened, held against the configuration.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::admin;
use crate::config::{AdminAddress, Config};
use crate::sys::activation;
use crate::sys::inherited::{self, Inherited};

/// The keys of `[listen]` that a socket can be for.
const KEYS: [&str; 4] = ["http", "https", "preview", admin::KEY];

enum Address<'a> {
    Tcp(SocketAddr),
    Unix(&'a Path),
}

/// The sockets of systemd, each for the key that its name or its address says.
pub(super) fn listeners(config: &Config) -> io::Result<Inherited> {
    let mut inherited = Inherited::default();
    for (name, socket) in activation::take()? {
        let key = key(config, name.as_deref(), &socket).map_err(io::Error::other)?;
        inherited.add(key, socket);
    }
    Ok(inherited)
}

/// A name that is a key has to fit; any other name is that of a unit, and the address says which listener it is.
fn key(config: &Config, name: Option<&str>, socket: &OwnedFd) -> Result<&'static str, String> {
    let at = inherited::address(socket);
    let named = name.and_then(|name| KEYS.into_iter().find(|key| *key == name));
    let place = match name {
        Some(name) if named.is_some() || !is_unit(name) => format!("socket activation, FileDescriptorName={name}"),
        Some(name) => format!("socket activation, {name}"),
        None => "socket activation".to_owned(),
    };
    if !inherited::is_listener(socket) {
        return Err(format!("{place}: {at} takes no connections; use ListenStream= and Accept=no in the .socket unit"));
    }
    match (named, name) {
        (Some(key), _) => match configured(config, key) {
            Some(address) if fits(&address, socket) => Ok(key),
            Some(address) => Err(format!(
                "{place}: systemd listens on {at}, but listen.{key} is {}; write the same address in both, \
                 then `systemctl daemon-reload` and restart the socket unit",
                written(&address)
            )),
            None => Err(format!(
                "{place}: systemd listens on {at}, but listen.{key} is not set; set it, or remove the ListenStream="
            )),
        },
        (None, Some(name)) if !is_unit(name) => {
            Err(format!("{place}: there is no listener of this name; use one of {}", KEYS.join(", ")))
        }
        (None, _) => {
            let mut fitting =
                KEYS.into_iter().filter(|key| configured(config, key).is_some_and(|at| fits(&at, socket)));
            fitting.next().ok_or_else(|| {
                let configured: Vec<_> = KEYS
                    .into_iter()
                    .filter_map(|key| Some(format!("listen.{key} = \"{}\"", written(&configured(config, key)?))))
                    .collect();
                format!(
                    "{place}: systemd listens on {at}, but no listener has this address ({}); write the same address in both",
                    configured.join(", ")
                )
            })
        }
    }
}

/// systemd names sockets after their unit where the unit says nothing; `systemd-socket-activate` says "unknown".
fn is_unit(name: &str) -> bool {
    name.ends_with(".socket") || name == "unknown"
}

fn configured<'a>(config: &'a Config, key: &str) -> Option<Address<'a>> {
    match (key, &config.listen.admin) {
        ("http", _) => Some(Address::Tcp(config.listen.http)),
        ("https", _) => config.listen.https.map(Address::Tcp),
        ("preview", _) => config.listen.preview.map(Address::Tcp),
        (_, AdminAddress::Tcp(address)) => Some(Address::Tcp(*address)),
        (_, AdminAddress::Unix(path)) => Some(Address::Unix(path)),
    }
}

fn fits(address: &Address<'_>, socket: &OwnedFd) -> bool {
    match address {
        Address::Tcp(address) => inherited::is_at(socket, *address),
        Address::Unix(path) => inherited::is_at_path(socket, path),
    }
}

fn written(address: &Address<'_>) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}
