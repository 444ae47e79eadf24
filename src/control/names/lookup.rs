//! One lookup of a name: the hosts file, then the name servers in turn until one answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig as Servers};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::Mutex;

use crate::config::{EndpointAddress, Family, ResolverConfig};
use crate::control::names::system::{Files, System};

/// Interval for reading the system's files again.
const FILES_FOR: Duration = Duration::from_secs(1);
/// A file system that does not answer within this time is ignored.
const FILES_WITHIN: Duration = Duration::from_secs(2);
const MOST_TARGETS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Not empty.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) ttl: Duration,
    /// Some addresses could not be looked up.
    pub(super) is_partial: bool,
}

/// Made anew when the system's files or the configuration change.
#[derive(Debug, Default)]
pub(super) struct Lookup(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    files: Files,
    read: Instant,
    resolvers: Arc<Resolvers>,
}

#[derive(Debug)]
struct Resolvers {
    rules: ResolverConfig,
    system: System,
    servers: Vec<(SocketAddr, TokioResolver)>,
    /// The server that answered last is asked first.
    first: AtomicUsize,
}

enum Said {
    Records(Vec<RData>, Duration),
    Nothing,
    NoName,
}

enum Silent {
    /// A name server's error, which may concern this name only.
    Refused(String),
    Away(String),
}

impl Silent {
    fn reason(self) -> String {
        match self {
            Silent::Refused(reason) | Silent::Away(reason) => reason,
        }
    }
}

/// Tries one candidate name after the other. An error for one of them does not stop the others, and tells more than
/// their absence.
#[derive(Default)]
struct Search {
    refused: Option<String>,
}

impl Search {
    fn take<T>(&mut self, said: Result<Option<T>, Silent>) -> Result<Option<T>, String> {
        match said {
            Ok(found) => Ok(found),
            Err(Silent::Refused(reason)) => {
                self.refused = Some(reason);
                Ok(None)
            }
            Err(Silent::Away(reason)) => Err(reason),
        }
    }

    fn failure(self, none: &str) -> String {
        self.refused.unwrap_or_else(|| none.to_owned())
    }
}

impl Lookup {
    pub(super) async fn resolve(&self, name: &EndpointAddress, rules: &ResolverConfig) -> Result<Found, String> {
        let resolvers = self.resolvers(rules).await;
        let mut found = match name {
            EndpointAddress::Name { host, port } => resolvers.host(host).await?.with_port(*port),
            EndpointAddress::Service { name } => resolvers.service(name).await?,
            EndpointAddress::Ip(_) | EndpointAddress::Unix(_) => return Err("it is no name".to_owned()),
        };
        // A connection to 0.0.0.0 would go to this machine.
        found.addresses.retain(|at| !at.ip().is_unspecified() && !at.ip().is_multicast() && at.port() != 0);
        if found.addresses.is_empty() { Err("the name has no usable address".to_owned()) } else { Ok(found) }
    }

    async fn resolvers(&self, rules: &ResolverConfig) -> Arc<Resolvers> {
        let mut made = self.0.lock().await;
        let same_rules = made.as_ref().is_some_and(|made| made.resolvers.rules == *rules);
        if let Some(made) = &*made
            && same_rules
            && made.read.elapsed() < FILES_FOR
        {
            return Arc::clone(&made.resolvers);
        }
        let read = tokio::time::timeout(FILES_WITHIN, tokio::task::spawn_blocking(Files::read)).await;
        let files = match (read, &mut *made) {
            (Ok(Ok(files)), _) => files,
            (_, Some(made)) => made.files.clone(),
            (_, None) => Files::unreadable(),
        };
        if let Some(made) = &mut *made
            && same_rules
            && made.files == files
        {
            made.read = Instant::now();
            return Arc::clone(&made.resolvers);
        }
        let resolvers = Arc::new(Resolvers::new(rules, System::new(&files)));
        *made = Some(Made { files, read: Instant::now(), resolvers: Arc::clone(&resolvers) });
        resolvers
    }
}

struct Host {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    is_partial: bool,
}

impl Host {
    fn with_port(self, port: u16) -> Found {
        let addresses = self.addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        Found { addresses, ttl: self.ttl, is_partial: self.is_partial }
    }
}

impl Resolvers {
    fn new(rules: &ResolverConfig, system: System) -> Resolvers {
        let servers = if rules.servers.is_empty() { &system.servers } else { &rules.servers };
        let resolver = |server: &SocketAddr| Some((*server, resolver(*server, rules.timeout).ok()?));
        let servers = servers.iter().filter_map(resolver).collect();
        Resolvers { rules: rules.clone(), system, servers, first: AtomicUsize::new(0) }
    }

    /// By the system's rules.
    async fn host(&self, host: &str) -> Result<Host, String> {
        if let Some(found) = self.in_hosts(host) {
            return Ok(found);
        }
        let mut search = Search::default();
        for name in self.system.candidates(host) {
            if let Some(found) = search.take(self.addresses(&name).await)? {
                return Ok(found);
            }
        }
        Err(search.failure("there is no such name, or it has no address"))
    }

    fn in_hosts(&self, host: &str) -> Option<Host> {
        let all = self.system.hosts(host);
        let of = |v4: bool| all.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect::<Vec<_>>();
        let addresses = match self.rules.family {
            Family::Ipv4 => of(true),
            Family::Ipv6 => of(false),
            Family::Auto if of(true).is_empty() => of(false),
            Family::Auto => of(true),
            Family::All => all,
        };
        (!addresses.is_empty()).then_some(Host { addresses, ttl: FILES_FOR, is_partial: false })
    }

    async fn addresses(&self, name: &str) -> Result<Option<Host>, Silent> {
        match self.rules.family {
            Family::Ipv4 => Ok(host(self.ask(name, RecordType::A).await?)),
            Family::Ipv6 => Ok(host(self.ask(name, RecordType::AAAA).await?)),
            Family::Auto => match self.ask(name, RecordType::A).await? {
                Said::Nothing => Ok(host(self.ask(name, RecordType::AAAA).await?)),
                said => Ok(host(said)),
            },
            Family::All => {
                let (v4, v6) = tokio::join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA));
                let (v4, v6) = match (v4, v6) {
                    (Ok(v4), Ok(v6)) => (host(v4), host(v6)),
                    (Ok(one), Err(failed)) | (Err(failed), Ok(one)) => {
                        let found = host(one).map(|found| Host { is_partial: true, ..found });
                        return if found.is_some() { Ok(found) } else { Err(failed) };
                    }
                    (Err(failed), Err(_)) => return Err(failed),
                };
                Ok(match (v4, v6) {
                    (Some(mut all), Some(v6)) => {
                        all.addresses.extend(v6.addresses);
                        all.ttl = all.ttl.min(v6.ttl);
                        Some(all)
                    }
                    (one, other) => one.or(other),
                })
            }
        }
    }

    /// Addresses and ports of a service's targets with the lowest priority. Weights are ignored.
    async fn service(&self, service: &str) -> Result<Found, String> {
        let (records, mut ttl) = self.srv(service).await?;
        let targets = records.iter().filter_map(|record| match record {
            RData::SRV(srv) => Some((srv.priority, srv.port, srv.target.to_ascii())),
            _ => None,
        });
        // A root target says that there is no such service (RFC 2782).
        let mut targets: Vec<_> = targets.filter(|(_, _, target)| target != ".").collect();
        let lowest = targets.iter().map(|(priority, _, _)| *priority).min();
        targets.retain(|(priority, _, _)| Some(*priority) == lowest);
        targets.truncate(MOST_TARGETS);
        let (mut addresses, mut is_partial, mut failed) = (Vec::new(), false, None);
        let looked = join_all(targets.iter().map(|(_, _, target)| self.target(target))).await;
        for ((_, port, _), looked) in targets.iter().zip(looked) {
            match looked {
                Ok(Some(host)) => {
                    ttl = ttl.min(host.ttl);
                    is_partial |= host.is_partial;
                    addresses.extend(host.addresses.into_iter().map(|ip| SocketAddr::new(ip, *port)));
                }
                Ok(None) => {}
                Err(silent) => {
                    is_partial = true;
                    failed = Some(silent.reason());
                }
            }
        }
        match failed {
            Some(reason) if addresses.is_empty() => Err(reason),
            _ => Ok(Found { addresses, ttl, is_partial }),
        }
    }

    async fn srv(&self, service: &str) -> Result<(Vec<RData>, Duration), String> {
        let mut search = Search::default();
        for name in self.system.candidates(service) {
            let said = self.ask(&name, RecordType::SRV).await.map(|said| match said {
                Said::Records(records, ttl) => Some((records, ttl)),
                Said::Nothing | Said::NoName => None,
            });
            if let Some(found) = search.take(said)? {
                return Ok(found);
            }
        }
        Err(search.failure("there are no such SRV records"))
    }

    async fn target(&self, target: &str) -> Result<Option<Host>, Silent> {
        match self.in_hosts(target) {
            Some(found) => Ok(Some(found)),
            None => self.addresses(target).await,
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Said, Silent> {
        let Ok(name) = Name::from_ascii(name) else { return Ok(Said::NoName) };
        let first = self.first.load(Ordering::Relaxed);
        let mut silent = None;
        for index in 0..self.servers.len() {
            let index = (first + index) % self.servers.len();
            let (server, resolver) = &self.servers[index];
            let asked = tokio::time::timeout(self.rules.timeout, resolver.lookup(name.clone(), kind)).await;
            let failed = match asked {
                Ok(Ok(answer)) => {
                    self.first.store(index, Ordering::Relaxed);
                    let ttl = answer.valid_until().saturating_duration_since(Instant::now());
                    let records = answer.answers().iter().filter(|record| record.record_type() == kind);
                    let records: Vec<_> = records.map(|record| record.data.clone()).collect();
                    return Ok(if records.is_empty() { Said::Nothing } else { Said::Records(records, ttl) });
                }
                Ok(Err(NetError::Dns(DnsError::NoRecordsFound(nothing)))) => match nothing.response_code {
                    ResponseCode::NXDomain => return Ok(Said::NoName),
                    ResponseCode::NoError => return Ok(Said::Nothing),
                    code => Silent::Refused(format!("the name server {server} answered: {code}")),
                },
                Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => {
                    Silent::Refused(format!("the name server {server} answered: {code}"))
                }
                Ok(Err(NetError::Timeout)) | Err(_) => {
                    let within = humantime::format_duration(self.rules.timeout);
                    Silent::Away(format!("no answer from the name server {server} within {within}"))
                }
                Ok(Err(error)) => Silent::Away(format!("the name server {server} can't be asked: {error}")),
            };
            silent = Some(failed);
        }
        let none =
            || Silent::Away(self.system.no_servers.clone().unwrap_or_else(|| "there is no name server".to_owned()));
        Err(silent.unwrap_or_else(none))
    }
}

fn host(said: Said) -> Option<Host> {
    let Said::Records(records, ttl) = said else { return None };
    let addresses: Vec<_> = records.iter().filter_map(RData::ip_addr).collect();
    (!addresses.is_empty()).then_some(Host { addresses, ttl, is_partial: false })
}

/// A resolver of one name server, without a cache.
fn resolver(server: SocketAddr, timeout: Duration) -> Result<TokioResolver, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.into());
    let servers = Servers::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = timeout;
    options.attempts = 0;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}
