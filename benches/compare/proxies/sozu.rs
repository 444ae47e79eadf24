//! Sozu: worker processes, and the main process that watches them.

use std::path::Path;
use std::process::Command;

use super::{Site, write};
use crate::proxies::setup::Upstream;

pub(super) fn command(site: &Site<'_>, program: &Path) -> Command {
    let Site { http, blue, setup, .. } = site;
    let path = site.dir.display();
    let (chain, key) = (site.certificate.chain.display(), site.certificate.key.display());
    let listener = site.https.map(|https| {
        format!(
            "[[listeners]]\nprotocol = \"https\"\naddress = \"{https}\"\ntls_versions = [\"TLS_V12\", \"TLS_V13\"]\n"
        )
    });
    let frontend = site.https.map(|https| {
        format!(
            ",\n  {{ address = \"{https}\", hostname = \"shop.example.com\", certificate = \"{chain}\", key = \"{key}\", \
             certificate_chain = \"{chain}\" }}"
        )
    });
    let text = format!(
        r#"command_socket = "{path}/sozu.sock"
log_level = "error"
log_target = "stderr"
worker_count = {workers}
worker_automatic_restart = false
max_connections = {room}
max_buffers = {buffers}
activate_listeners = true

[[listeners]]
protocol = "http"
address = "{http}"

{listener}
[clusters.site]
protocol = "http"
http2 = {http2}
frontends = [
  {{ address = "{http}", hostname = "shop.example.com" }}{frontend}
]
backends = [{{ address = "{blue}" }}]
"#,
        listener = listener.unwrap_or_default(),
        frontend = frontend.unwrap_or_default(),
        http2 = setup.upstream == Upstream::Http2,
        workers = setup.workers,
        room = setup.room,
        // Two for each client, and two for its connection to the application.
        buffers = setup.room * 4,
    );
    write(site.dir, "sozu.toml", &text);
    let mut command = Command::new(program);
    command.arg("start").arg("--config").arg(site.dir.join("sozu.toml"));
    command
}
