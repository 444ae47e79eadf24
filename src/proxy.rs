//! The data plane: from a request to its response.
//!
//! `server` hands a request to [`request::serve`], the list of its steps. [`request::admit`] checks it, answers it
//! locally ([`request::local`]), has it held ([`request::hold`]) or admits it under the live [`snapshot`]: route, color
//! and a [lease](snapshot::lease). [`request::prepare`] rewrites its head. [`request::attempt`] picks an endpoint
//! ([`pool`]) and sends the request on a connection of this worker ([`upstream::connections`]), with its body
//! ([`request::upload`]). [`request::response`] rewrites the response's head, [`request::respond`] begins it, and
//! [`request::download`] passes its body on; after an upgrade, [`request::tunnel`](mod@request::tunnel) joins both
//! sides. [`request::exchange`] ties together what a request holds and what is reported of it.
//!
//! No code in here decides which color is live, and no request takes a lock.

pub(crate) mod blame;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod deadlines;
pub(crate) mod drain;
pub(crate) mod error;
pub(crate) mod error_kind;
mod hash;
pub(crate) mod headers;
pub(crate) mod listener;
pub(crate) mod live;
mod notice;
pub(crate) mod outcome;
pub(crate) mod per_client;
pub(crate) mod pool;
pub(crate) mod precedence;
pub(crate) mod publisher;
mod queue;
pub(crate) mod refused;
pub(crate) mod snapshot;
pub(crate) mod worker;

pub(crate) mod request {
    mod admit;
    mod attempt;
    mod bad_answer;
    mod check;
    mod claims;
    mod download;
    mod event;
    pub(crate) mod exchange;
    mod heads;
    pub(crate) mod hold;
    pub(crate) mod linger;
    mod local;
    mod prepare;
    mod recording;
    mod report;
    pub(crate) mod respond;
    mod response;
    pub(crate) mod serve;
    pub(crate) mod shield;
    mod taking;
    mod target;
    mod trace;
    pub(crate) mod tunnel;
    mod upgrade;
    mod upload;
}

pub(crate) mod upstream {
    mod closing;
    pub(crate) mod connections;
    pub(crate) mod dial;
    pub(crate) mod exhaustion;
    pub(crate) mod retry;
}
