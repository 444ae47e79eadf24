//! Detection by the kernel of peers that vanished (power loss, a network that drops everything).
//!
//! Every TCP connection has keep-alive against silent peers. Tunnels may have no other timeout, so `TCP_USER_TIMEOUT`
//! is set for them where supported, which detects peers that acknowledge no data.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// Limit on unacknowledged data of a tunnel: as long as the probes of a silent peer take.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// Enables keep-alive on a connection, or on a listener for all connections that it accepts.
pub(crate) fn enable(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES))
}

pub(crate) fn bound_tunnel(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // On failure the kernel's own limit of about 15 minutes remains.
        let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, UNACKNOWLEDGED);
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn assert_enabled(socket: &SockRef<'_>) {
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), IDLE);
        assert_eq!(socket.tcp_keepalive_interval().expect("an option"), INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().expect("an option"), PROBES);
    }

    #[tokio::test]
    async fn an_accepted_connection_has_the_keep_alive_of_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        enable(&SockRef::from(&listener)).expect("it is TCP");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("a connection");
        assert_enabled(&SockRef::from(&accepted));
        enable(&SockRef::from(&client)).expect("it is TCP");
        assert_enabled(&SockRef::from(&client));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_tunnel_does_not_wait_forever_for_an_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().expect("an option"), None);
        bound_tunnel(&stream);
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().expect("an option"), Some(UNACKNOWLEDGED));
    }
}
