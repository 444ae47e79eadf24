//! The system's view of names: `/etc/hosts`, and search rules and name servers of `/etc/resolv.conf`.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const MAX_BYTES: u64 = 4 << 20;
const DNS: u16 = 53;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    hosts: Result<Vec<u8>, String>,
    resolv_conf: Result<Vec<u8>, String>,
}

impl Files {
    /// Blocks.
    pub(super) fn read() -> Files {
        Files { hosts: read(HOSTS), resolv_conf: read(RESOLV_CONF) }
    }

    pub(super) fn unreadable() -> Files {
        let reason = |path: &str| Err(format!("{path} can't be read: the file system does not answer"));
        Files { hosts: reason(HOSTS), resolv_conf: reason(RESOLV_CONF) }
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let reason = |error: std::io::Error| format!("{path} can't be read: {error}");
    // Opening a pipe would wait for a writer.
    if !Path::new(path).metadata().map_err(reason)?.is_file() {
        return Err(format!("{path} is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(reason)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(reason)?;
    Ok(bytes)
}

#[derive(Debug, Default)]
pub(super) struct System {
    hosts: Vec<(String, IpAddr)>,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) no_servers: Option<String>,
    search: Vec<String>,
    ndots: usize,
}

impl System {
    pub(super) fn new(files: &Files) -> System {
        let mut system = System { ndots: 1, ..System::default() };
        if let Ok(hosts) = &files.hosts {
            system.hosts = hosts_of(&String::from_utf8_lossy(hosts));
        }
        match &files.resolv_conf {
            Ok(text) => {
                // Errors are skipped, as the C library does.
                let (parsed, _errors) = resolv_conf::Config::parse_with_errors(text);
                system.servers = parsed.nameservers.iter().map(|ip| SocketAddr::new(ip.into(), DNS)).collect();
                system.search = parsed.get_last_search_or_domain().cloned().collect();
                system.ndots = parsed.ndots as usize;
                if system.servers.is_empty() {
                    system.no_servers = Some(format!("{RESOLV_CONF} names no name server"));
                }
            }
            Err(error) => system.no_servers = Some(error.clone()),
        }
        system
    }

    /// `localhost` has addresses in any case (RFC 6761).
    pub(super) fn hosts(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let found: Vec<IpAddr> = self.hosts.iter().filter(|(host, _)| *host == name).map(|(_, ip)| *ip).collect();
        if found.is_empty() && (name == "localhost" || name.ends_with(".localhost")) {
            return vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16])];
        }
        found
    }

    /// Candidates for a short name, in order, each with a final dot.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        let below = |domain: &String| format!("{name}.{}.", domain.trim_matches('.'));
        let mut candidates: Vec<String> =
            self.search.iter().filter(|domain| !domain.trim_matches('.').is_empty()).map(below).collect();
        let at = if name.matches('.').count() >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(at, whole);
        candidates
    }
}

fn hosts_of(text: &str) -> Vec<(String, IpAddr)> {
    let mut hosts = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        hosts.extend(words.map(|name| (name.trim_end_matches('.').to_ascii_lowercase(), address)));
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(hosts: &str, resolv_conf: &str) -> System {
        System::new(&Files { hosts: Ok(hosts.into()), resolv_conf: Ok(resolv_conf.into()) })
    }

    #[test]
    fn a_name_in_the_hosts_file_has_all_its_addresses() {
        let system =
            system("127.0.0.2 app-green other # one\n127.0.0.3\tAPP-green\n::1 app-green\nrubbish app-green\n", "");
        let expected: Vec<IpAddr> = ["127.0.0.2", "127.0.0.3", "::1"].map(|ip| ip.parse().expect("an address")).into();
        assert_eq!(system.hosts("App-Green"), expected);
        assert_eq!(system.hosts("other."), expected[..1]);
        assert!(system.hosts("one").is_empty());
    }

    #[test]
    fn localhost_needs_no_file() {
        let local: Vec<IpAddr> = ["127.0.0.1", "::1"].map(|ip| ip.parse().expect("an address")).into();
        assert_eq!(System::default().hosts("localhost"), local);
        assert_eq!(System::default().hosts("app.localhost"), local);
        assert_eq!(system("127.0.0.9 localhost", "").hosts("localhost"), [IpAddr::from([127, 0, 0, 9])]);
    }

    #[test]
    fn a_short_name_is_looked_for_in_the_search_domains_first() {
        let system = system("", "nameserver 10.0.0.53\nsearch prod.local local.\noptions ndots:2\n");
        assert_eq!(system.servers, ["10.0.0.53:53".parse().expect("an address")]);
        assert_eq!(system.candidates("app"), ["app.prod.local.", "app.local.", "app."]);
        assert_eq!(system.candidates("app.a.b"), ["app.a.b.", "app.a.b.prod.local.", "app.a.b.local."]);
        assert_eq!(system.candidates("app."), ["app."]);
    }

    #[test]
    fn without_a_usable_file_there_is_a_reason_and_no_server() {
        let absent = Files { hosts: Err("x".to_owned()), resolv_conf: Err("it is not there".to_owned()) };
        assert_eq!(System::new(&absent).no_servers.as_deref(), Some("it is not there"));
        assert_eq!(System::new(&absent).candidates("app"), ["app."]);
        let broken = system("", "nameserver nonsense\n\u{0}\n");
        assert_eq!(broken.no_servers.as_deref(), Some("/etc/resolv.conf names no name server"));
    }
}
