//! An upgraded connection (WebSocket and others): bytes both ways, under the lease of the request that opened it.

use std::io;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::proxy::exchange::Exchange;
use crate::proxy::slot::Fired;

/// A tunnel that is about to begin: the 101 is on its way to the client.
pub(crate) struct Tunnel {
    exchange: Box<Exchange>,
}

impl Tunnel {
    pub(crate) fn new(exchange: Box<Exchange>) -> Tunnel {
        Tunnel { exchange }
    }

    /// Joins the two ends until one of them is done, breaks, or the tunnel is ended. `early` is what the client sent
    /// after its request.
    pub(crate) async fn run(mut self, mut client_end: impl AsyncRead + AsyncWrite + Unpin, early: Bytes) {
        let client = Rc::clone(&self.exchange.client);
        let Some(connection) = client.upstream.borrow_mut().take() else { return };
        let (mut endpoint_end, answered_early) = connection.into_stream();
        let joined = async {
            endpoint_end.write_all(&early).await?;
            client_end.write_all(&answered_early).await?;
            tokio::io::copy_bidirectional(&mut client_end, &mut endpoint_end).await
        };
        let mut joined = std::pin::pin!(joined);
        let ended: Option<io::Result<(u64, u64)>> = std::future::poll_fn(|cx| {
            client.worker.tick();
            client.slot.register(cx);
            match client.slot.fired() {
                Some(Fired::Ended | Fired::Cut) => Poll::Ready(None),
                _ => joined.as_mut().poll(cx).map(Some),
            }
        })
        .await;
        match ended {
            Some(Ok((_, to_client))) => self.exchange.tunnelled(to_client + answered_early.len() as u64),
            Some(Err(_)) => {}
            None => self.exchange.tunnel_was_ended(),
        }
    }
}
