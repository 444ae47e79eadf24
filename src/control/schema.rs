//! Store probes: the version of a data store, over HTTP.
//!
//! Requests and rollbacks never wait for them. A forward move asks beside its gate, and the status every second.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::config::SchemaProbe;
use crate::control::names::Resolver;
use crate::control::{Controller, Input};
use crate::domain::color::Color;
use crate::domain::schema::{Reading, Version};
use crate::http_client;

const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct StoreProbes {
    reading: bool,
}

impl StoreProbes {
    pub(super) fn end_reading(&mut self) {
        self.reading = false;
    }
}

impl Controller {
    pub(super) fn schema_probes(&self) -> Vec<(Color, String, SchemaProbe)> {
        let colors = self.config.colors.iter();
        colors
            .flat_map(|(color, of)| of.probes.iter().map(move |(store, probe)| (color, store.clone(), probe.clone())))
            .collect()
    }

    /// Probes for the status, one round at a time.
    pub(super) fn probe_stores(&mut self) {
        let probes = self.schema_probes();
        if probes.is_empty() || self.stores.reading {
            return;
        }
        self.stores.reading = true;
        let (inputs, resolver) = (self.inputs.clone(), self.names.resolver());
        tokio::spawn(async move {
            let _ = inputs.send(Input::SchemaRead(read(probes, resolver).await));
        });
    }
}

pub(super) async fn read(probes: Vec<(Color, String, SchemaProbe)>, resolver: Resolver) -> Vec<Reading> {
    let mut asked = JoinSet::new();
    for (color, store, probe) in probes {
        let resolver = resolver.clone();
        asked.spawn(async move {
            let answer = match tokio::time::timeout(TIMEOUT, ask(&probe, &resolver)).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err(format!("no answer within {}", humantime::format_duration(TIMEOUT))),
            };
            Reading { color, store, answer }
        });
    }
    asked.join_all().await
}

async fn ask(probe: &SchemaProbe, resolver: &Resolver) -> Result<Version, String> {
    let uri: Uri = probe.url.parse().map_err(|_| "the address can't be read".to_owned())?;
    let authority = uri.authority().ok_or("the address names no host")?;
    let (host, port) = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let addresses = resolver.addresses(host, port).await?;
    let stream = TcpStream::connect(&*addresses).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    })?;
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(target)
        .header(header::HOST, authority.as_str())
        .header(header::USER_AGENT, "cutover-probe")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let answer = http_client::send(stream, request).await.map_err(|_| "closed without an answer".to_owned())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("answered {}", answer.status().as_u16()));
    }
    let body = answer.whole(MAX_ANSWER).await.map_err(|_| "the answer broke off, or is too long".to_owned())?;
    version(&body, &probe.json)
}

fn version(body: &[u8], pointer: &str) -> Result<Version, String> {
    let document: serde_json::Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
    let place = || if pointer.is_empty() { "the answer".to_owned() } else { format!("{pointer} in the answer") };
    let value = document.pointer(pointer).ok_or_else(|| format!("there is no {}", place()))?;
    let number = match value {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(Version).ok_or_else(|| format!("{} is no version, which is a whole number", place()))
}

#[cfg(test)]
mod tests;
