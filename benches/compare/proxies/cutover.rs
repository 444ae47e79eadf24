//! Cutover under test.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use super::{Site, endpoints, write};
use crate::proxies::setup::{Analysis, Upstream};

/// The name of its configuration file.
pub(crate) const FILE: &str = "cutover.toml";

pub(super) fn command(site: &Site<'_>) -> Command {
    let Site { http, admin, blue, green, setup, .. } = site;
    let growth = setup.growth;
    let path = site.dir.display();
    let https = site.https.map(|https| format!("https = \"{https}\"\n")).unwrap_or_default();
    let tls = site.https.map(|_| {
        let (chain, key) = (site.certificate.chain.display(), site.certificate.key.display());
        format!("[tls]\ncertificates = [{{ cert = \"{chain}\", key = \"{key}\" }}]\n")
    });
    let protocol = match setup.upstream {
        Upstream::Http1 => "",
        Upstream::Http2 => "[upstream.default]\nprotocol = \"http2\"\n",
    };
    let mut canary = String::new();
    if growth.canary {
        canary.push_str("[canary]\nsteps = [\"5%\"]\n");
        canary.push_str(if growth.sticky { "sticky = \"cookie\"\n" } else { "" });
        canary.push_str(if growth.shield { "shield = true\n" } else { "" });
    }
    let mut routes = String::new();
    if growth.routes > 0 {
        routes.push_str("\n[[route]]\npath = \"/\"\nupstream = \"default\"\n");
    }
    for route in 0..growth.routes {
        let _ = write!(routes, "\n[[route]]\npath = \"/service/{route}\"\nupstream = \"default\"\n");
    }
    let access = if growth.access_log { format!("{path}/access.log") } else { "off".to_owned() };
    let analysis = match setup.analysis {
        Analysis::On => canary.as_str(),
        Analysis::Off => "[canary]\nmode = \"off\"\n[bake]\nmode = \"off\"\n",
    };
    let text = format!(
        r#"active = "blue"

[listen]
http = "{http}"
{https}admin = "{admin}"
workers = {workers}
max_connections = {room}

[state]
dir = "{path}/state"

[readiness]
lame_duck = "0s"    # nothing is in front

[drain]
timeout = "1s"

[log]
access = "{access}"

{tls}
{protocol}
{analysis}
[blue]
release = "1"
endpoints = [{blue}]

[green]
release = "2"
endpoints = [{green}]
{routes}"#,
        blue = quoted(*blue, growth.endpoints),
        green = quoted(*green, growth.endpoints),
        tls = tls.unwrap_or_default(),
        workers = setup.workers,
        room = setup.room,
    );
    write(site.dir, FILE, &text);
    let mut command = Command::new(&site.programs.cutover);
    command.args(["run", "--config"]).arg(site.dir.join(FILE));
    command
}

fn quoted(application: SocketAddr, count: usize) -> String {
    endpoints(application, count).map(|endpoint| format!("\"{endpoint}\"")).collect::<Vec<_>>().join(", ")
}
