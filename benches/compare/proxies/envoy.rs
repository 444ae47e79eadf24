//! Envoy: the active color is a runtime key, which its admin API can change.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use cutover::internals::domain::color::Color;

use super::{Site, write};
use crate::proxies::setup::Upstream;

/// The runtime key: the percentage that goes to green.
pub(crate) const KEY: &str = "compare.green";

pub(super) fn command(site: &Site<'_>, program: &Path) -> Command {
    let listeners = [listener(site, site.http, false), site.https.map_or(String::new(), |to| listener(site, to, true))];
    let clusters = [cluster(site, Color::Blue), cluster(site, Color::Green)];
    let text = format!(
        "admin:
  address: {admin}
layered_runtime:
  layers:
  - {{ name: admin, admin_layer: {{}} }}
static_resources:
  listeners:
{listeners}  clusters:
{clusters}",
        admin = address(site.admin),
        listeners = listeners.concat(),
        clusters = clusters.concat(),
    );
    write(site.dir, "envoy.yaml", &text);
    let mut command = Command::new(program);
    command.args(["--concurrency", &site.setup.workers.to_string(), "--disable-hot-restart", "-l", "error", "-c"]);
    command.arg(site.dir.join("envoy.yaml"));
    command
}

fn address(address: SocketAddr) -> String {
    format!("{{ socket_address: {{ address: \"{}\", port_value: {} }} }}", address.ip(), address.port())
}

fn listener(site: &Site<'_>, to: SocketAddr, secure: bool) -> String {
    let (chain, key) = (site.certificate.chain.display(), site.certificate.key.display());
    let tls = format!(
        "      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{ tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - {{ certificate_chain: {{ filename: \"{chain}\" }}, private_key: {{ filename: \"{key}\" }} }}
"
    );
    format!(
        "  - address: {address}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          use_remote_address: true
          generate_request_id: false
          upgrade_configs: [{{ upgrade_type: websocket }}]
          http_filters:
          - name: router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{ prefix: \"/\", runtime_fraction: {{ runtime_key: {KEY}, default_value: {{ numerator: 0 }} }} }}
                route: {{ cluster: green }}
              - match: {{ prefix: \"/\" }}
                route: {{ cluster: blue }}
{tls}",
        address = address(to),
        tls = if secure { &tls } else { "" },
    )
}

fn cluster(site: &Site<'_>, color: Color) -> String {
    let protocol = match site.setup.upstream {
        Upstream::Http1 => "http_protocol_options: {}",
        Upstream::Http2 => "http2_protocol_options: {}",
    };
    let endpoint = address(match color {
        Color::Blue => site.blue,
        Color::Green => site.green,
    });
    let room = site.setup.room;
    format!(
        "  - name: {color}
    type: STATIC
    connect_timeout: 2s
    circuit_breakers: {{ thresholds: [{{ max_connections: {room}, max_pending_requests: {room}, max_requests: {room} }}] }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {protocol} }}
    load_assignment:
      cluster_name: {color}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {endpoint} }}
"
    )
}
