//! Keys that have no effect beside the others. Whoever writes one believes in it, so it is an error.
//!
//! A key with its default is left alone, and so is one beside a feature that is turned off in so many words.

use crate::config::file::{Placed, Section};
use crate::config::validate::{DAY, File, ORDER_WINDOW, SECOND};
use crate::config::{AdminAddress, Config, Sticky, Streams, UpstreamProtocol};
use crate::domain::split::Weight;

impl File<'_> {
    pub(super) fn refuse_without_effect(&self, config: &Config) {
        self.of_listen(config);
        self.of_requests(config);
        self.of_canary(config);
        self.of_state(config);
    }

    fn of_listen(&self, config: &Config) {
        let tcp = matches!(config.listen.admin, AdminAddress::Tcp(_));
        let why = "it is for a unix socket, and `listen.admin` is an address with a port";
        let help = "write `admin = \"unix:/run/cutover/admin.sock\"`, or remove this";
        self.idle("listen", "admin_mode", tcp && config.listen.admin_mode != 0o600, why, help);
        self.idle("listen", "admin_group", tcp, why, help);
        let answers = config.readiness.path.is_some();
        let idle = config.readiness.fail_without_endpoints && !answers;
        let help = "name a path, or remove this";
        self.idle("readiness", "fail_without_endpoints", idle, "`readiness.path` is off", help);
    }

    fn of_requests(&self, config: &Config) {
        let health = &config.health;
        let (why, help) = ("without `health.path` the check is a TCP connect", "set `health.path`, or remove this");
        self.idle("health", "expect", health.path.is_none() && health.expect != (200, 299), why, help);
        // Gate checks ask with this host, too.
        self.idle("health", "host", health.path.is_none() && config.gate_checks.is_empty(), why, help);
        let spread = config.drain.streams != Streams::Spread && config.drain.spread != 10 * SECOND;
        let help = "add `streams = \"spread\"`, or remove this";
        self.idle_unless("drain", ("spread", "streams"), spread, "`drain.streams` is \"keep\" by default", help);
        let linger = &config.linger;
        let (why, help) = ("`linger.paths` names no path", "add `paths = [\"/assets/\"]`, or remove this");
        let off = linger.paths.is_empty();
        self.idle_unless("linger", ("for", "paths"), off && linger.lasts != DAY, why, help);
        self.idle_unless("linger", ("budget", "paths"), off && linger.budget_percent != 10, why, help);
        for (name, upstream) in &config.upstreams {
            let Some(all) = self.root.section("upstream") else { return };
            let Some((_, _, value)) = all.entries().find(|(known, ..)| known == name) else { continue };
            let Some(section) = all.as_section(name, value) else { continue };
            let idle = upstream.protocol == UpstreamProtocol::Http1 && upstream.ping_timeout != 5 * SECOND;
            let (why, help) = ("PING is of HTTP/2", "add `protocol = \"http2\"`, or remove this");
            self.told(&section, "ping_timeout", idle, why, help);
        }
    }

    fn of_canary(&self, config: &Config) {
        let canary = &config.canary;
        let section = self.root.section("canary");
        let off = section.as_ref().and_then(|section| section.string("sticky")).is_some_and(|(text, _)| text == "off");
        let own = matches!(canary.sticky, Sticky::Own(_));
        let (why, help) = ("it is for the proxy's own cookie", "add `sticky = \"cookie\"`, or remove this");
        let idle = !own && !off;
        self.idle("canary", "cookie_name", idle && canary.cookie.name != "cutover_visitor", why, help);
        self.idle("canary", "cookie_max_age", idle && canary.cookie.max_age != 30 * DAY, why, help);
        let idle = canary.sticky == Sticky::Off && canary.evidence_per_network != 1;
        let (why, help) = ("nothing keeps a user on one color", "add `sticky = \"cookie\"`, or remove this");
        self.idle_unless("canary", ("evidence_per_network", "sticky"), idle, why, help);
        let idle = !canary.shield && Weight::new(1_000) != Some(canary.shield_budget);
        let help = "add `shield = true`, or remove this";
        self.idle_unless("canary", ("shield_budget", "shield"), idle, "`canary.shield` is off by default", help);
    }

    fn of_state(&self, config: &Config) {
        let state = &config.state;
        let asks = self.root.section("state").is_some_and(|section| section.boolean("write_back", false));
        let help = "add `active = \"blue\"`, or remove this";
        self.idle("state", "write_back", asks && !state.names_active, "the file has no `active` to be kept true", help);
        let idle = !state.file_orders && state.order_window != ORDER_WINDOW;
        let (why, help) = ("`state.file_orders` is false", "remove one of the two");
        self.idle("state", "order_window", idle, why, help);
    }

    fn idle(&self, section: &'static str, key: &'static str, idle: bool, why: &str, help: &str) {
        if let Some(section) = self.root.section(section) {
            self.told(&section, key, idle, why, help);
        }
    }

    /// The same, unless the other key says that the feature is off.
    fn idle_unless(
        &self,
        section: &'static str,
        keys: (&'static str, &'static str),
        idle: bool,
        why: &str,
        help: &str,
    ) {
        if let Some(section) = self.root.section(section) {
            let said = section.has(keys.1);
            self.told(&section, keys.0, idle && !said, why, help);
        }
    }

    fn told(&self, section: &Section<'_>, key: &'static str, idle: bool, why: &str, help: &str) {
        if !section.has(key) || !idle {
            return;
        }
        let Some(value): Option<Placed<'_>> = section.get(key) else { return };
        let message = format!("`{}` has no effect: {why}", section.path(key));
        self.notes.problem(value.span(), message, help.to_owned());
    }
}
