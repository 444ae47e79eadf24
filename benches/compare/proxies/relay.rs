//! The least that any proxy in user space can do: copy bytes both ways and understand none of them.

use std::net::SocketAddr;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use crate::applications::listen;

/// Relays until it is ended.
pub(crate) async fn run(at: SocketAddr, upstream: SocketAddr) {
    set_parent_process_death_signal(Some(Signal::TERM)).expect("a signal");
    let listener = listen(at).expect("a free port");
    loop {
        let (mut client, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            let mut upstream = TcpStream::connect(upstream).await?;
            client.set_nodelay(true)?;
            upstream.set_nodelay(true)?;
            copy_bidirectional(&mut client, &mut upstream).await
        });
    }
}
