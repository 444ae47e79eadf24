//! The data plane: what happens to a request between a client and an endpoint.
//!
//! The life of a request: `listen` accepts and lets hyper parse; [`stack`] wraps [`forward`], which takes its hold on
//! the live color ([`live`], [`snapshot`], [`lease`]), picks an endpoint ([`pool`]), rewrites the headers ([`headers`])
//! and sends it on a connection of this worker ([`transport`]). The answer's [`body`] carries the [`exchange`] to the
//! last byte; an upgrade becomes a [`tunnel`]. What has a deadline or can be ended from outside is a [`slot`].
//!
//! Nothing in here decides which color is live, and nothing on the way of a request takes a lock.

mod body;
pub(crate) mod client;
pub mod clock;
mod driver;
pub(crate) mod error;
pub(crate) mod exchange;
mod forward;
mod hash;
mod headers;
mod interim;
mod layers;
mod lease;
pub mod live;
pub mod pool;
mod retry;
pub mod route;
pub(crate) mod slot;
pub mod snapshot;
pub(crate) mod stack;
mod transport;
mod tunnel;
pub(crate) mod worker;
