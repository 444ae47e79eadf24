//! The forward proxy for notices, by `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`; lower case comes first.

use std::io;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::config::receiver::ReceiverUrl;

/// The longest answer to CONNECT.
const MAX_HEAD: usize = 8 << 10;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// `Proxy-Authorization`.
    pub(super) credentials: Option<String>,
}

impl Proxy {
    /// The proxy for a receiver; `None`: a direct connection.
    pub(super) fn of(url: &ReceiverUrl) -> Result<Option<Proxy>, String> {
        chosen(url, &|name| std::env::var(name).ok())
    }

    fn parse(text: &str) -> Option<Proxy> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let credentials = authority
            .as_str()
            .rsplit_once('@')
            .map(|(user, _)| format!("Basic {}", STANDARD.encode(percent_decoded(user))));
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        (!host.is_empty()).then_some(Proxy { tls, host, port, credentials })
    }

    /// Opens a tunnel to the receiver.
    pub(super) async fn tunnel(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        url: &ReceiverUrl,
    ) -> io::Result<()> {
        let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
        let to = format!("{host}:{}", url.port);
        let credentials = self.credentials.iter().map(|value| format!("Proxy-Authorization: {value}\r\n"));
        let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", credentials.collect::<String>());
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        // Byte by byte: the bytes behind the head are the receiver's.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == MAX_HEAD {
                return Err(io::Error::other("the proxy's answer to CONNECT is too long"));
            }
            match stream.read_u8().await {
                Ok(byte) => answer.push(byte),
                Err(_) => return Err(io::Error::other("the proxy closed the connection without an answer to CONNECT")),
            }
        }
        let status = std::str::from_utf8(&answer).ok().and_then(|head| head.split(' ').nth(1)?.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(()),
            Some(407) => Err(io::Error::other("the proxy answered 407: put user and password into the variable")),
            Some(status) => Err(io::Error::other(format!("the proxy answered {status} to CONNECT"))),
            None => Err(io::Error::other("the proxy gave no HTTP answer to CONNECT")),
        }
    }
}

fn chosen(url: &ReceiverUrl, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
    let either = |name: &str| {
        let lower = name.to_ascii_lowercase();
        [lower, name.to_owned()].into_iter().find_map(|name| variable(&name)).filter(|value| !value.trim().is_empty())
    };
    if either("NO_PROXY").is_some_and(|list| excepts(&list, url)) {
        return Ok(None);
    }
    let name = if url.tls { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    let Some((name, text)) = [name, "ALL_PROXY"].into_iter().find_map(|name| Some((name, either(name)?))) else {
        return Ok(None);
    };
    // The value may hold a password.
    let unusable = || format!("{name} is no address of a proxy, such as http://proxy.internal:3128");
    Proxy::parse(text.trim()).map(Some).ok_or_else(unusable)
}

/// `NO_PROXY` has `*`, names with all names below them, addresses and networks; each may have a port.
fn excepts(list: &str, url: &ReceiverUrl) -> bool {
    let host = url.host.trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        let (entry, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse::<u16>() {
                Ok(port) => (name, Some(port)),
                Err(_) => return false,
            },
            Some(_) | None => (entry, None),
        };
        if port.is_some_and(|port| port != url.port) {
            return false;
        }
        let entry = entry.trim_start_matches('[').trim_end_matches(']');
        match address {
            Some(address) => {
                let network = entry.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
                network || entry.parse().is_ok_and(|entry: IpAddr| entry == address)
            }
            None => {
                let name = entry.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
                !name.is_empty() && (host == name || host.ends_with(&format!(".{name}")))
            }
        }
    })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::new();
    while let [byte, after @ ..] = rest {
        let code = after.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                out.push(code);
                rest = &after[2..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, variables: &[(&str, &str)]) -> Result<Option<(String, u16)>, String> {
        let url = ReceiverUrl::parse(url).expect("a URL");
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Ok(chosen(&url, &variable)?.map(|proxy| (proxy.host, proxy.port)))
    }

    fn through(host: &str, port: u16) -> Result<Option<(String, u16)>, String> {
        Ok(Some((host.to_owned(), port)))
    }

    #[test]
    fn each_scheme_has_its_variable_and_lower_case_comes_first() {
        let variables = [("HTTPS_PROXY", "http://one:3128"), ("HTTP_PROXY", "two:81"), ("http_proxy", "three")];
        assert_eq!(of("https://hooks.example.com/x", &variables), through("one", 3128));
        assert_eq!(of("http://hooks.example.com/x", &variables), through("three", 80));
        assert_eq!(of("http://hooks.example.com/x", &[("HTTPS_PROXY", "one:1")]), Ok(None));
        assert_eq!(of("https://hooks.example.com/x", &[("all_proxy", "https://[::1]")]), through("::1", 443));
        assert_eq!(of("https://hooks.example.com/x", &[("HTTPS_PROXY", "")]), Ok(None));
        let wrong = of("https://hooks.example.com/x", &[("HTTPS_PROXY", "socks5://user:s3cret@one:1")]);
        assert!(wrong.as_ref().is_err_and(|why| why.contains("HTTPS_PROXY") && !why.contains("s3cret")), "{wrong:?}");
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let direct = |url: &str, list: &str| of(url, &[("HTTPS_PROXY", "one:1"), ("no_proxy", list)]) == Ok(None);
        for list in
            ["*", "example.com", ".example.com", "*.example.com", "a.test, EXAMPLE.com", "hooks.example.com:443"]
        {
            assert!(direct("https://hooks.example.com/x", list), "{list}");
        }
        for list in ["", "ample.com", "hooks.example.com:8443", "com.", "10.0.0.0/8", "x"] {
            let named = list == "com.";
            assert_eq!(direct("https://hooks.example.com/x", list), named, "{list}");
        }
        assert!(direct("https://10.1.2.3/x", "10.0.0.0/8"));
        assert!(direct("https://10.1.2.3:8443/x", "10.1.2.3:8443"));
        assert!(!direct("https://10.1.2.3/x", "10.1.2.4,2.3"));
        assert!(direct("https://[fd00::1]/x", "fd00::/8"));
        assert!(direct("https://[fd00::1]:8443/x", "[fd00::1]:8443"));
    }

    #[test]
    fn a_user_and_a_password_are_sent_as_they_are_meant() {
        let proxy = Proxy::parse("http://ann:p%40ss%zz@proxy:3128").expect("a proxy");
        assert_eq!(proxy.credentials, Some(format!("Basic {}", STANDARD.encode("ann:p@ss%zz"))));
    }
}
