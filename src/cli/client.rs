//! The client of a running proxy's admin API. It finds the address even in an invalid configuration file, which is when
//! people need it most.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use toml::de::{DeTable, DeValue};

use crate::admin::api::PLAIN_ON_TLS;
use crate::cli::Failure;
use crate::cli::client::tls::Tls;
use crate::cli::connection::Connection;
use crate::cli::recovery;
use crate::http_client::{self, Stream};

mod tls;

const CONNECT: Duration = Duration::from_secs(5);
/// Time for the answer to a read. A stopped process answers nothing.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 64 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: Address,
    tls: Option<Tls>,
    token: Option<HeaderValue>,
    config: PathBuf,
    key: Option<HeaderValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Tcp(String),
    Https(String),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Https(address) => write!(f, "https://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Client {
    /// Address: `--admin`, `CUTOVER_ADMIN`, or the configuration file. Token: `--token-file` or `CUTOVER_TOKEN`.
    pub(crate) fn find(connection: &Connection) -> Result<Client, Failure> {
        // An empty variable counts as unset.
        let (address, local) = match connection.admin.as_deref().filter(|admin| !admin.is_empty()) {
            Some(admin) => (address(admin).map_err(Failure::Usage)?, None),
            None => from_file(&connection.config_path())?,
        };
        let tls = match &address {
            Address::Https(_) => Some(Tls::new(connection, local)?),
            Address::Tcp(_) | Address::Unix(_) => None,
        };
        let token = match &connection.token_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Failure::Usage(format!("the token file {} can't be read: {error}", path.display()))
            })?),
            None => std::env::var("CUTOVER_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let token = token.map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            value.map_err(|_| Failure::Usage("the token has characters that can't be sent in a header".to_owned()))
        });
        let config = connection.config_path();
        Ok(Client { address, tls, token: token.transpose()?, config, key: None })
    }

    pub(crate) fn at(admin: &str) -> Result<Client, Failure> {
        let (address, config) = (address(admin).map_err(Failure::Usage)?, PathBuf::new());
        Ok(Client { address, tls: None, token: None, config, key: None })
    }

    /// The proxy carries out a command once per key.
    pub(crate) fn once(&self, key: Option<&str>) -> Result<Client, Failure> {
        let key = key.map(|key| {
            let value = HeaderValue::from_str(key).ok().filter(|_| !key.trim().is_empty());
            value.ok_or_else(|| Failure::Usage("--idempotency-key is a value of visible ASCII characters".to_owned()))
        });
        Ok(Client { key: key.transpose()?, ..self.clone() })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.look(path, LOOK).await
    }

    pub(crate) async fn look<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<T, Failure> {
        self.parsed(&self.ask(Method::GET, path, Bytes::new(), timeout).await?)
    }

    /// No timeout; another request may cancel the command by this id.
    pub(crate) async fn post_as<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        id: &str,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Failed(error.to_string()))?;
        self.lives().await?;
        self.parsed(&self.send(Method::POST, path, body.into(), Some(id)).await?)
    }

    pub(crate) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let bytes = self.ask(Method::GET, path, Bytes::new(), LOOK).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Failure> {
        self.with_body(Method::POST, path, body, timeout).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Failure> {
        self.with_body(Method::PUT, path, body, timeout).await
    }

    async fn with_body<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Failed(error.to_string()))?;
        self.parsed(&self.ask(method, path, body.into(), timeout).await?)
    }

    pub(crate) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Failure> {
        self.with_body(Method::DELETE, path, body, timeout).await
    }

    fn parsed<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|error| {
            Failure::Failed(format!("the answer of {} is not one of this version of Cutover: {error}", self.address))
        })
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes, timeout: Duration) -> Result<Bytes, Failure> {
        let acts = method != Method::GET;
        if acts {
            // Makes sure that a live process receives the command.
            self.lives().await?;
        }
        match tokio::time::timeout(timeout, self.send(method, path, body, None)).await {
            Ok(answer) => answer,
            Err(_) => {
                let limit = humantime::format_duration(timeout);
                if !acts {
                    return Err(self.unreachable(&format!("no answer in {limit}")));
                }
                let after = "; the command may still be carried out. Check: `cutover status`";
                Err(Failure::TimedOut(format!("no answer from {} in {limit}{after}", self.address)))
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes, id: Option<&str>) -> Result<Bytes, Failure> {
        let stream = match tokio::time::timeout(CONNECT, self.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.failed(&error)),
            Err(_) => return Err(self.unreachable(&"no connection in 5s")),
        };
        self.exchange(stream, method, path, body, id).await
    }

    pub(crate) async fn status_of(&self, path: &str, timeout: Duration) -> Result<u16, Failure> {
        let asked = async {
            let stream = self.connect().await.map_err(|error| self.failed(&error))?;
            let request = Request::builder().uri(path).header(header::HOST, self.host()).body(Full::default());
            let request = request.map_err(|error| Failure::Usage(error.to_string()))?;
            let answer = http_client::send(stream, request).await.map_err(|error| self.failed(&error))?;
            Ok(answer.status().as_u16())
        };
        let limit = humantime::format_duration(timeout);
        let asked = tokio::time::timeout(timeout, asked).await;
        asked.unwrap_or_else(|_| Err(self.unreachable(&format!("no answer in {limit}"))))
    }

    fn host(&self) -> &str {
        match &self.address {
            Address::Tcp(address) | Address::Https(address) => address.as_str(),
            Address::Unix(_) => "localhost",
        }
    }

    /// Fails if the process is stopped: each command would otherwise wait for its whole timeout.
    async fn lives(&self) -> Result<(), Failure> {
        match tokio::time::timeout(LOOK, self.send(Method::GET, "/livez", Bytes::new(), None)).await {
            Err(_) => Err(self.unreachable(&"no answer in 5s, so nothing was asked for")),
            Ok(Err(failure @ (Failure::Unreachable(_) | Failure::Ended(..)))) => Err(failure),
            Ok(Ok(_) | Err(_)) => Ok(()),
        }
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        let by_tls = match &self.address {
            Address::Https(address) => tls::failure(address, error),
            Address::Tcp(_) | Address::Unix(_) => None,
        };
        by_tls.unwrap_or_else(|| self.unreachable(&error))
    }

    /// The state, and commands that still work.
    pub(crate) fn unreachable(&self, error: &dyn fmt::Display) -> Failure {
        let mut text = format!("the proxy can't be reached at {}: {error}", self.address);
        // A demo has no file to edit.
        if !self.config.as_os_str().is_empty() {
            text.push_str(&recovery::without_admin(&self.config));
        }
        Failure::Unreachable(text)
    }

    /// The user behind `sudo`: a unix socket shows only root.
    fn sudo_user(&self) -> Option<HeaderValue> {
        let unix = matches!(self.address, Address::Unix(_));
        let user = std::env::var("SUDO_USER").ok().filter(|user| unix && !user.is_empty())?;
        HeaderValue::from_str(&user).ok()
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match &self.address {
            Address::Tcp(address) => Box::new(reach(address).await?),
            Address::Https(address) => {
                let stream = reach(address).await?;
                match &self.tls {
                    Some(tls) => Box::new(tls.connect(address, stream).await?),
                    None => Box::new(stream),
                }
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    async fn exchange(
        &self,
        stream: Box<dyn Stream>,
        method: Method,
        path: &str,
        body: Bytes,
        id: Option<&str>,
    ) -> Result<Bytes, Failure> {
        let acts = method != Method::GET;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.host());
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        if let Some(key) = self.key.as_ref().filter(|_| acts && path != "/admin/cancel") {
            request = request.header("idempotency-key", key);
        }
        if let Some(user) = self.sudo_user() {
            request = request.header("cutover-sudo-user", user);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| Failure::Failed(error.to_string()))?;
        let answer = http_client::send(stream, request).await.map_err(|error| self.failed(&error))?;
        let status = answer.status();
        let bytes = answer.whole(MAX_ANSWER).await.map_err(|error| self.unreachable(&error))?;
        if status == StatusCode::OK {
            return Ok(bytes);
        }
        match serde_json::from_slice(&bytes) {
            Ok(problem) => Err(Failure::Refused(Box::new(problem))),
            Err(_) if status == StatusCode::BAD_REQUEST && bytes == PLAIN_ON_TLS => {
                let text = format!(
                    "{0} speaks TLS; name it as https://{0}, and its authority: --ca FILE (CUTOVER_CA)",
                    self.address
                );
                Err(Failure::Ended("tls_only".to_owned(), text, 4))
            }
            Err(_) => Err(Failure::Failed(format!(
                "{} is not the admin API of Cutover: it answers with status {}",
                self.address, status
            ))),
        }
    }
}

/// The error tells a failed look-up from a failed connection.
async fn reach(address: &str) -> io::Result<TcpStream> {
    let found = tokio::net::lookup_host(address).await.map_err(|error| {
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name);
        io::Error::new(error.kind(), format!("the name {name} can't be resolved: {error}"))
    })?;
    TcpStream::connect(&found.collect::<Vec<_>>()[..]).await
}

fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let https = text.strip_prefix("https://");
    let address = https.or_else(|| text.strip_prefix("http://")).unwrap_or(text).trim_end_matches('/');
    let name_only = https.is_some() && !address.is_empty() && !address.trim_end_matches(']').contains([':', '/']);
    let with_port = format!("{address}:443");
    let address = if name_only { with_port.as_str() } else { address };
    let well_formed = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok());
    if !well_formed {
        return Err(format!(
            "the admin address {text:?} is none of \"HOST:PORT\", \"https://HOST:PORT\" and \"unix:/PATH\", as in \"127.0.0.1:9900\""
        ));
    }
    // A server's "everywhere" is the local machine to a client.
    let local = address.strip_prefix("0.0.0.0:").map(|port| format!("127.0.0.1:{port}"));
    let local = local.or_else(|| address.strip_prefix("[::]:").map(|port| format!("[::1]:{port}")));
    let address = local.unwrap_or_else(|| address.to_owned());
    Ok(if https.is_some() { Address::Https(address) } else { Address::Tcp(address) })
}

/// `listen.admin` and `admin.tls.cert` of a file, valid or not.
fn from_file(path: &Path) -> Result<(Address, Option<PathBuf>), Failure> {
    let elsewhere = "name the admin address of the proxy with --admin or CUTOVER_ADMIN";
    let text = std::fs::read_to_string(path).map_err(|error| {
        let file = "or a configuration file with --config or CUTOVER_CONFIG";
        Failure::Usage(format!("{} can't be read: {error}; {elsewhere}, {file}", path.display()))
    })?;
    // Continues after errors, so that half a file is enough.
    let (table, _errors) = DeTable::parse_recoverable(&text);
    let listen = table.get_ref().get("listen").and_then(|listen| match listen.get_ref() {
        DeValue::Table(listen) => listen.get("admin"),
        _ => None,
    });
    let admin = listen.and_then(|admin| match admin.get_ref() {
        DeValue::String(admin) => Some(admin.to_string()),
        _ => None,
    });
    let admin = admin
        .or_else(|| by_eye(&text))
        .ok_or_else(|| Failure::Usage(format!("{} has no readable `listen.admin`; {elsewhere}", path.display())))?;
    let address = address(&admin).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    let section = table.get_ref().get("admin").and_then(|admin| match admin.get_ref() {
        DeValue::Table(admin) => admin.get("tls"),
        _ => None,
    });
    let certificate = section.and_then(|tls| match tls.get_ref() {
        DeValue::Table(tls) => tls.get("cert")?.get_ref().as_str().map(PathBuf::from),
        _ => None,
    });
    Ok(match (address, certificate) {
        (Address::Tcp(address), Some(certificate)) => (Address::Https(address), Some(certificate)),
        (address, _) => (address, None),
    })
}

/// Finds `admin = "…"` below `[listen]` in a file that a merge or an editor has left broken.
fn by_eye(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    lines.by_ref().find(|line| line.starts_with("[listen]"))?;
    let below = lines.take_while(|line| !line.starts_with('['));
    let value = below
        .filter_map(|line| line.split_once('='))
        .find_map(|(key, value)| (key.trim() == "admin").then(|| value.trim()))?;
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (address, _) = value[1..].split_once(quote)?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests;
