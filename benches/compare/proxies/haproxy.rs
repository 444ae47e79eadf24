//! HAProxy: the active color is looked up in a map, which its runtime socket can change.

use std::net::SocketAddr;
use std::process::Command;

use super::{Site, endpoints, write};
use crate::proxies::setup::Upstream;

/// The name of the map in which it looks up the active color.
pub(crate) const MAP: &str = "active.map";

/// The name of the map from paths to routes.
const ROUTES: &str = "routes.map";

/// The name of its runtime socket.
pub(crate) const SOCKET: &str = "haproxy.sock";

/// By default it closes idle connections to the applications when clients have a quarter of its descriptors.
pub(super) fn command(site: &Site<'_>) -> Command {
    let Site { http, blue, green, setup, .. } = site;
    let path = site.dir.display();
    let https = site.https.map(|https| {
        format!("    bind {https} ssl crt {} alpn h2,http/1.1\n", site.certificate.chain_and_key.display())
    });
    let protocol = match setup.upstream {
        Upstream::Http1 => "",
        Upstream::Http2 => " proto h2",
    };
    // A connection as often as Cutover makes one.
    let check = if setup.growth.endpoints > 1 { " check inter 2s" } else { "" };
    let servers = |application: SocketAddr| -> String {
        let all = endpoints(application, setup.growth.endpoints).enumerate();
        all.map(|(n, endpoint)| format!("    server s{n} {endpoint}{protocol}{check}\n")).collect()
    };
    let route = match setup.growth.routes {
        0 => String::new(),
        routes => {
            let services: String = (0..routes).map(|n| format!("/service/{n} default\n")).collect();
            write(site.dir, ROUTES, &services);
            format!("    http-request set-var(txn.route) path,map_beg({path}/{ROUTES},default)\n")
        }
    };
    let text = format!(
        "global
    nbthread {workers}
    maxconn {room}
    no strict-limits
    tune.pool-low-fd-ratio 90
    tune.pool-high-fd-ratio 95
    stats socket {path}/{SOCKET} mode 600 level admin

defaults
    mode http
    option forwardfor
    http-reuse always
    timeout connect 2s
    timeout client 75s
    timeout server 60s
    timeout tunnel 1h
    timeout http-request 10s
    timeout http-keep-alive 75s
    backlog 4096

frontend site
    bind {http}
{https}{route}    use_backend %[str(active),map({path}/{MAP},blue)]

backend blue
{blue}
backend green
{green}",
        blue = servers(*blue),
        green = servers(*green),
        https = https.unwrap_or_default(),
        workers = setup.workers,
        room = setup.room,
    );
    write(site.dir, "haproxy.cfg", &text);
    write(site.dir, MAP, "active blue\n");
    let mut command = Command::new(&site.programs.haproxy);
    command.args(["-db", "-f"]).arg(site.dir.join("haproxy.cfg"));
    command
}
