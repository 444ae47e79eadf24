//! The applications behind the proxies: one of each color, and one that speaks gRPC.

pub(crate) mod grpc;
pub(crate) mod http1;
pub(crate) mod websocket;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cutover::internals::domain::color::Color;
use tokio::net::{TcpListener, TcpSocket};

use self::http1::Answers;

/// Connections that wait to be accepted. A proxy that gets thousands of requests at once opens as many.
const WAITING: u32 = 4096;

/// Their addresses. They serve for as long as the runtime lives.
pub(crate) struct Applications {
    pub(crate) blue: SocketAddr,
    pub(crate) green: SocketAddr,
    pub(crate) grpc: SocketAddr,
    /// One of each color.
    answers: [Answers; 2],
    /// Endpoints of each color.
    endpoints: Cell<usize>,
}

impl Applications {
    pub(crate) fn start() -> Applications {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let answers = [Color::Blue, Color::Green].map(http1::answers);
        let [blue, green] = [0, 1].map(|color| http1::start(&answers[color], any));
        Applications { blue, green, grpc: grpc::start(any), answers, endpoints: Cell::new(1) }
    }

    /// Listens on further addresses, so that each color has this many endpoints or more.
    pub(crate) fn widen(&self, endpoints: usize) {
        for n in self.endpoints.get()..endpoints {
            for (answers, first) in self.answers.iter().zip([self.blue, self.green]) {
                http1::start(answers, SocketAddr::new(address(n), first.port()));
            }
        }
        self.endpoints.set(self.endpoints.get().max(endpoints));
    }
}

/// The address of an endpoint that is not the first.
pub(crate) fn address(n: usize) -> IpAddr {
    let [high, low] = [n / 250, n % 250 + 1].map(|part| u8::try_from(part).expect("fewer than 60,000 endpoints"));
    Ipv4Addr::new(127, 1, high, low).into()
}

/// A queue for as many as come at once.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}
