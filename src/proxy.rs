//! The data plane: what happens to a request between a client and an endpoint.
//!
//! The life of a request: `listen` accepts and reads its head (`wire`); [`forward`] checks it, answers it itself ([`local`]) or takes its hold
//! on the live color ([`live`], [`snapshot`], [`lease`]), or on the other one ([`preview`]), or waits until it may ([`hold`]), rewrites the fields ([`headers`]) and asks ([`attempt`]): an
//! endpoint is picked ([`pool`]), the request goes out on a connection of this worker ([`transport`]), its body behind it
//! ([`upload`]). The answer goes back the
//! same way ([`answer`]); after an upgrade both sides are joined ([`tunnel`](mod@tunnel)). What is held meanwhile, and what is reported of it, is the [`exchange`]; what has a deadline or
//! can be ended from outside is a [`slot`].
//!
//! Nothing in here decides which color is live, and nothing on the way of a request takes a lock.

pub(crate) mod answer;
mod attempt;
mod bad_answer;
pub(crate) mod blame;
pub(crate) mod client;
pub mod clock;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod exhaustion;
pub mod first_write;
pub(crate) mod forward;
mod hash;
pub(crate) mod headers;
pub(crate) mod hold;
mod lease;
pub(crate) mod linger;
pub mod live;
mod local;
pub(crate) mod metering;
pub(crate) mod per_client;
pub mod pool;
mod preview;
pub(crate) mod refused;
mod retry;
pub mod route;
mod shield;
pub(crate) mod slot;
pub mod snapshot;
pub(crate) mod split;
pub mod stated;
mod taking;
mod target;
pub(crate) mod transport;
pub mod trust;
pub(crate) mod tunnel;
mod upgrade;
mod upload;
mod visitor;
pub(crate) mod worker;
