//! Clients that ask for the same small answer on kept connections, as fast as they get it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::clients::connection::{Connection, GET};
use crate::clients::crew::{Crew, Worker};

/// Open connections to one proxy.
pub(crate) type Clients = Crew<Connection>;

impl Worker for Connection {
    async fn step(&mut self) -> io::Result<()> {
        let answer = self.ask(GET).await?;
        let good = answer.success().is_some() && !answer.close;
        if good { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
    }
}

impl Clients {
    pub(crate) async fn connect(to: SocketAddr, count: usize) -> Clients {
        let mut connections = Vec::with_capacity(count);
        while connections.len() < count {
            connections.push(Connection::open(to).await.expect("the proxy accepts"));
        }
        Crew(connections)
    }

    /// Makes so many requests. Returns how long it took.
    pub(crate) async fn ask(&mut self, requests: u64) -> Duration {
        let began = Instant::now();
        self.work(requests).await;
        began.elapsed()
    }
}
