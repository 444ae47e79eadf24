//! The sections of the file. Each file below has one section: settings, defaults, reader and writer. The meaning of a
//! setting stands in `config/reference.toml`; here a comment only adds invariants.

mod admin;
mod analysis;
mod bake;
mod canary;
mod certificates;
mod color;
mod drain;
mod gate;
mod headers;
mod health;
mod linger;
mod listen;
mod log;
mod maintenance;
mod metrics;
mod notify;
mod pause;
mod preview;
mod readiness;
mod resolver;
mod retry;
mod route;
mod service;
mod state;
mod tls;
mod trace;
mod upstream;

use toml::{Table, Value};

use crate::config::Config;
use crate::config::file::{Notes, Section};
use crate::domain::color::Color;

pub(crate) use {
    admin::*, analysis::*, bake::*, canary::*, color::*, drain::*, gate::*, headers::*, health::*, linger::*,
    listen::*, maintenance::*, metrics::*, notify::*, pause::*, preview::*, readiness::*, resolver::*, retry::*,
    service::*, state::*, tls::*, trace::*, upstream::*,
};
pub use {log::*, route::*};

/// Reads every section, so that all problems are recorded; `None` where a required one is missing or unreadable.
pub(super) fn read(root: &Section<'_>, notes: &Notes) -> Option<Config> {
    let state = StateConfig::read(root);
    let active = state::active(root, state.as_ref());
    let blue = color::Pools::read(root, Color::Blue, active);
    let green = color::Pools::read(root, Color::Green, active);
    let routes = route::read_all(root);
    let listen = listen::Listen::read(root);
    let tls = TlsConfig::read(root, listen.as_ref());
    let admin = AdminConfig::read(root, listen.as_ref());
    let health = root.read("health", HealthConfig::read);
    let gate = root.read("gate", gate::Gate::read);
    let linger = root.read("linger", LingerConfig::read);
    let drain = root.read("drain", DrainConfig::read);
    let canary = root.read("canary", CanaryConfig::read);
    let analysis = root.read("analysis", AnalysisConfig::read);
    let bake = root.read("bake", BakeConfig::read);
    let hold = HoldConfig::read(root);
    let maintenance = root.read("maintenance", MaintenanceConfig::read);
    let headers = root.read("headers", HeadersConfig::read);
    let retry = root.read("retry", RetryConfig::read);
    let resolver = root.read("resolver", ResolverConfig::read);
    let preview = PreviewConfig::read(root, listen.as_ref());
    let readiness = root.read("readiness", ReadinessConfig::read);
    let log = root.read("log", LogConfig::read);
    let metrics = root.read("metrics", MetricsConfig::read);
    let trace = root.read("trace", TraceConfig::read);
    let service = root.read("service", ServiceConfig::read);
    let notify = NotifyConfig::read_all(root);
    let upstreams = upstream::read_all(root, [&blue, &green], &routes);
    color::check_pools(root, [(Color::Blue, &blue), (Color::Green, &green)], &routes);
    gate::refuse_unknown_upstreams(root, &gate.checks, [&blue, &green]);
    root.refuse_unknown();
    let config = Config {
        active: active?,
        state: state?,
        listen: listen?.config,
        tls,
        admin,
        health,
        gate: gate.policy,
        gate_checks: gate.checks.into_iter().map(|(check, _)| check).collect(),
        linger,
        drain,
        canary,
        analysis,
        bake,
        hold,
        maintenance,
        headers,
        retry,
        resolver,
        upstreams,
        routes: routes.into_iter().map(|(route, _)| route).collect(),
        colors: color::both(blue?, green?),
        preview,
        readiness,
        log,
        metrics,
        trace,
        service,
        notify,
        unusable: Vec::new(),
    };
    if notes.has_none() {
        refuse_idle(root, &config);
    }
    Some(config)
}

/// Refuses keys without effect beside the others.
fn refuse_idle(root: &Section<'_>, config: &Config) {
    let check = |name, refuse: &dyn Fn(&Section<'_>)| root.section(name).iter().for_each(refuse);
    check("state", &|section| config.state.refuse_idle(section));
    check("listen", &|section| config.listen.refuse_idle(section));
    check("health", &|section| config.health.refuse_idle(section, config));
    check("linger", &|section| config.linger.refuse_idle(section));
    check("drain", &|section| config.drain.refuse_idle(section));
    check("canary", &|section| config.canary.refuse_idle(section));
    check("readiness", &|section| config.readiness.refuse_idle(section));
    check("trace", &|section| config.trace.refuse_idle(section));
    check("upstream", &|section| upstream::refuse_idle(&config.upstreams, section));
}

/// Writes every section with its values in force, without secrets.
pub(super) fn write(config: &Config, routes: &[RouteConfig]) -> Table {
    let list = |values: Vec<Value>| Value::Array(values);
    let upstreams = config.upstreams.iter().map(|(name, policy)| (name.clone(), policy.write())).collect();
    let sections = [
        ("state", config.state.write()),
        ("listen", config.listen.write()),
        ("admin", config.admin.write()),
        ("health", config.health.write()),
        ("gate", gate::write(&config.gate, &config.gate_checks)),
        ("linger", config.linger.write()),
        ("drain", config.drain.write()),
        ("canary", config.canary.write()),
        ("analysis", config.analysis.write()),
        ("bake", config.bake.write()),
        ("pause", config.hold.write()),
        ("maintenance", config.maintenance.write()),
        ("headers", config.headers.write()),
        ("retry", config.retry.write()),
        ("resolver", config.resolver.write()),
        ("upstream", Value::Table(upstreams)),
        ("route", list(routes.iter().map(RouteConfig::write).collect())),
        ("blue", config.colors.blue.write()),
        ("green", config.colors.green.write()),
        ("readiness", config.readiness.write()),
        ("log", config.log.write()),
        ("metrics", config.metrics.write()),
        ("trace", config.trace.write()),
        ("service", config.service.write()),
        ("notify", list(config.notify.iter().map(NotifyConfig::write).collect())),
    ];
    let mut root: Table = sections.into_iter().map(|(name, section)| (name.to_owned(), section)).collect();
    if config.state.names_active {
        root.insert("active".to_owned(), config.active.as_str().into());
    }
    root.extend(config.tls.as_ref().map(|tls| ("tls".to_owned(), tls.write())));
    root.extend(config.preview.as_ref().map(|preview| ("preview".to_owned(), preview.write())));
    root
}
