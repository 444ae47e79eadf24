//! nginx: the active color is in a file of its own, which it reads again when told to.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use cutover::internals::domain::color::Color;

use super::{Programs, Site, endpoints, write};
use crate::proxies::setup::Upstream;

/// The name of the file that says where it passes requests to.
pub(crate) const ACTIVE: &str = "active.conf";

/// What is in that file.
pub(crate) fn active(color: Color, upstream: Upstream) -> String {
    match upstream {
        Upstream::Http1 => format!("proxy_pass http://{color};\n"),
        Upstream::Http2 => format!("grpc_pass grpc://{color};\n"),
    }
}

/// nginx in its own directory.
pub(crate) fn in_directory(programs: &Programs, dir: &Path) -> Command {
    let mut command = Command::new(&programs.nginx);
    command.arg("-p").arg(dir).args(["-e", "stderr", "-c"]).arg(dir.join("nginx.conf"));
    command
}

/// Bodies are passed on as they come, as the others do it: none is written to a file first. Connections to the
/// applications are kept for all streams of the load, as its HTTP/2 to them has one stream for each connection.
pub(super) fn command(site: &Site<'_>) -> Command {
    let Site { http, blue, green, setup, .. } = site;
    let https = site.https.map(|https| {
        let (chain, key) = (site.certificate.chain.display(), site.certificate.key.display());
        format!(
            "        listen {https} ssl http2 backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
"
        )
    });
    let servers = |application: SocketAddr| -> String {
        // Its default looks at every endpoint for each request.
        let choice = if setup.growth.endpoints > 1 { "        random two least_conn;\n" } else { "" };
        let all =
            endpoints(application, setup.growth.endpoints).map(|endpoint| format!("        server {endpoint};\n"));
        std::iter::once(choice.to_owned()).chain(all).collect()
    };
    let routes: String =
        (0..setup.growth.routes).map(|n| format!("        location /service/{n} {{ include {ACTIVE}; }}\n")).collect();
    let text = format!(
        "worker_processes {workers};
daemon off;
pid nginx.pid;
error_log stderr crit;

events {{
    worker_connections {connections};
}}

http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    keepalive_requests 1000000;
    keepalive_timeout 75s;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    proxy_buffers 8 16k;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;

    upstream blue {{
{blue}        keepalive {kept};
        keepalive_requests 1000000;
    }}
    upstream green {{
{green}        keepalive {kept};
        keepalive_requests 1000000;
    }}
    server {{
        listen {http} backlog=4096;
{https}        location / {{
            include {ACTIVE};
        }}
{routes}        location /socket {{
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_pass http://blue;
        }}
    }}
}}
",
        https = https.unwrap_or_default(),
        workers = setup.workers,
        // Those to the applications count, too.
        connections = setup.room + 1024,
        kept = 128.max(2 * setup.growth.endpoints),
        blue = servers(*blue),
        green = servers(*green),
    );
    write(site.dir, "nginx.conf", &text);
    write(site.dir, ACTIVE, &active(Color::Blue, setup.upstream));
    in_directory(site.programs, site.dir)
}
