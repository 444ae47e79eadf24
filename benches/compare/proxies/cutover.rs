//! Cutover under test: one worker, no access log.

use std::process::Command;

use super::{Analysis, Site, Upstream, write};

/// The name of its configuration file.
pub(crate) const FILE: &str = "cutover.toml";

pub(super) fn command(site: &Site<'_>) -> Command {
    let Site { http, admin, blue, green, .. } = site;
    let path = site.dir.display();
    let https = site.https.map(|https| format!("https = \"{https}\"\n")).unwrap_or_default();
    let tls = site.https.map(|_| {
        let (chain, key) = (site.certificate.chain.display(), site.certificate.key.display());
        format!("[tls]\ncertificates = [{{ cert = \"{chain}\", key = \"{key}\" }}]\n")
    });
    let protocol = match site.upstream {
        Upstream::Http1 => "",
        Upstream::Http2 => "[upstream.default]\nprotocol = \"http2\"\n",
    };
    let analysis = match site.analysis {
        Analysis::On => "",
        Analysis::Off => "[canary]\nmode = \"off\"\n[bake]\nmode = \"off\"\n",
    };
    let text = format!(
        r#"active = "blue"

[listen]
http = "{http}"
{https}admin = "{admin}"
workers = 1
max_connections = 8192

[state]
dir = "{path}/state"

[readiness]
lame_duck = "0s"    # nothing is in front

[drain]
timeout = "1s"

[log]
access = "off"

{tls}
{protocol}
{analysis}
[blue]
release = "1"
endpoints = ["{blue}"]

[green]
release = "2"
endpoints = ["{green}"]
"#,
        tls = tls.unwrap_or_default(),
    );
    write(site.dir, FILE, &text);
    let mut command = Command::new(&site.programs.cutover);
    command.args(["run", "--config"]).arg(site.dir.join(FILE));
    command
}
