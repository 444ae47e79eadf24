//! Requests and responses: what passes, what is changed, retried, routed, previewed or refused.

mod ahead;
mod balance;
mod early;
mod endpoints;
mod hostile;
mod http;
mod large;
mod linger;
pub(crate) mod messages;
pub(crate) mod names;
mod preview;
mod traces;
