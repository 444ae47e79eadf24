//! A name server for one test: it says what it is told to, and falls silent when it is told to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    /// After so long.
    AnswersAfter(Duration),
    Silent,
    Fails,
}

/// Ends with the test.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: AbortHandle,
}

struct Shared {
    mood: Mood,
    records: HashMap<(String, u16), Vec<Vec<u8>>>,
    asked: HashMap<String, usize>,
}

impl NameServer {
    pub(crate) async fn start() -> NameServer {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
        let address = socket.local_addr().expect("bound");
        let shared = Shared { mood: Mood::Answers, records: HashMap::new(), asked: HashMap::new() };
        let shared = Arc::new(Mutex::new(shared));
        let answering = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let (mood, answer) = {
                    let mut shared = answering.lock().expect("no panic while it is held");
                    (shared.mood, shared.answer(&buffer[..length]))
                };
                let (socket, Some(answer)) = (Arc::clone(&socket), answer) else { continue };
                tokio::spawn(async move {
                    if let Mood::AnswersAfter(pause) = mood {
                        tokio::time::sleep(pause).await;
                    }
                    let _ = socket.send_to(&answer, from).await;
                });
            }
        });
        NameServer { address, shared, task: task.abort_handle() }
    }

    /// As it stands in a configuration.
    pub(crate) fn section(&self) -> String {
        format!("[resolver]\nservers = [\"{}\"]\nmin_ttl = \"100ms\"\ntimeout = \"500ms\"\n", self.address)
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.shared.lock().expect("no panic while it is held").mood = mood;
    }

    /// Says from now on that a name has these addresses; without any there is no such name.
    pub(crate) fn says(&self, name: &str, addresses: &[&str]) {
        let mut shared = self.shared.lock().expect("no panic while it is held");
        for kind in [A, AAAA] {
            shared.records.remove(&(name.to_owned(), kind));
        }
        for address in addresses {
            let (kind, data) = match address.parse().expect("an address") {
                IpAddr::V4(ip) => (A, ip.octets().to_vec()),
                IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
            };
            shared.records.entry((name.to_owned(), kind)).or_default().push(data);
        }
    }

    /// Says from now on that a service has these targets: priority, port and name.
    pub(crate) fn says_service(&self, name: &str, targets: &[(u16, u16, &str)]) {
        let data = targets.iter().map(|(priority, port, target)| {
            let mut data = [priority.to_be_bytes(), 0_u16.to_be_bytes(), port.to_be_bytes()].concat();
            for label in target.split('.') {
                data.push(label.len() as u8);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            data
        });
        let mut shared = self.shared.lock().expect("no panic while it is held");
        shared.records.insert((name.to_owned(), SRV), data.collect());
    }

    /// How often it was asked for a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.shared.lock().expect("no panic while it is held").asked.get(name).copied().unwrap_or(0)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while *query.get(at)? > 0 {
            let length = usize::from(query[at]);
            labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
            at += 1 + length;
        }
        let name = labels.join(".");
        let question = query.get(12..at + 5)?;
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        *self.asked.entry(name.clone()).or_default() += 1;
        let none = Vec::new();
        let records = self.records.get(&(name.clone(), kind)).unwrap_or(&none);
        let exists = self.records.keys().any(|(known, _)| *known == name);
        let code = match self.mood {
            Mood::Silent => return None,
            Mood::Fails => 2,
            _ if exists => 0,
            _ => 3,
        };
        let records = if code == 0 { records } else { &none };
        let mut answer = query[..2].to_vec();
        answer.extend_from_slice(&[0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        answer.extend_from_slice(question);
        for data in records {
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            // Of the Internet, and out of date at once.
            answer.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(data);
        }
        Some(answer)
    }
}
