//! Requests that are no evidence (`analysis.ignore`): uptime checks and scanners come whatever a release is like.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::IgnoreConfig;
use crate::proxy::headers;
use crate::proxy::snapshot::route::Paths;
use crate::wire::head::Head;

const LOOKED_AT: usize = 512;

#[derive(Debug)]
pub(crate) struct Ignored {
    paths: Option<Paths<()>>,
    /// In lower case.
    agents: Box<[Box<[u8]>]>,
    addresses: Box<[IpNet]>,
}

impl Ignored {
    pub(crate) fn new(config: &IgnoreConfig) -> Option<Box<Ignored>> {
        if config.is_empty() {
            return None;
        }
        let mut paths = Paths::default();
        config.paths.iter().for_each(|path| paths.insert(path, ()));
        Some(Box::new(Ignored {
            paths: (!config.paths.is_empty()).then_some(paths),
            agents: config.agents.iter().map(|agent| agent.as_bytes().into()).collect(),
            addresses: config.addresses.as_slice().into(),
        }))
    }

    pub(crate) fn has(&self, head: &Head, client: impl FnOnce() -> IpAddr) -> bool {
        self.paths.as_ref().is_some_and(|paths| paths.find(head.path()).is_some())
            || !self.agents.is_empty() && head.named(b"user-agent").is_some_and(|agent| self.knows(agent))
            || !self.addresses.is_empty() && headers::is_trusted(client(), &self.addresses)
    }

    fn knows(&self, agent: &[u8]) -> bool {
        let agent = &agent[..agent.len().min(LOOKED_AT)];
        let contains = |known: &[u8]| agent.windows(known.len()).any(|part| part.eq_ignore_ascii_case(known));
        self.agents.iter().any(|known| contains(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(text: impl FnOnce(&mut IgnoreConfig)) -> Box<Ignored> {
        let mut config = IgnoreConfig::default();
        text(&mut config);
        Ignored::new(&config).expect("something is ignored")
    }

    fn request(path: &str, agent: &[u8]) -> Head {
        let mut head = Head::default();
        head.set_request_line(b"GET", path.as_bytes());
        head.push(b"User-Agent", agent);
        head
    }

    fn from(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_path_is_ignored_with_all_that_is_below_it_on_whole_segments() {
        let ignored = ignored(|config| config.paths = vec!["/healthz".to_owned()]);
        let has = |path: &str| ignored.has(&request(path, b""), || unreachable!("no address is configured"));
        assert!(has("/healthz") && has("/healthz/deep?a=b"));
        assert!(!has("/healthzoo") && !has("/a/healthz") && !has("/"));
    }

    #[test]
    fn an_agent_is_ignored_by_a_part_of_its_name_in_any_case() {
        let ignored = ignored(|config| config.agents = vec!["uptimerobot".to_owned()]);
        let has = |agent: &[u8]| ignored.has(&request("/", agent), || unreachable!("no address is configured"));
        assert!(has(b"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"));
        assert!(!has(b"Mozilla/5.0") && !has(b"") && !has(b"\xffUptime"));
        assert!(!has(&[&[b'a'; LOOKED_AT][..], b"UptimeRobot"].concat()), "it is looked at within bounds");
    }

    #[test]
    fn a_client_is_ignored_by_its_network() {
        let ignored = ignored(|config| config.addresses = vec!["10.0.0.0/8".parse().expect("a network")]);
        assert!(ignored.has(&request("/", b""), || from("10.1.2.3")));
        assert!(!ignored.has(&request("/", b""), || from("192.0.2.1")));
    }
}
