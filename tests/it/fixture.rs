//! The parts that tests are made of: the proxy under test, applications, clients, certificates, receivers.

pub(crate) mod application;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod http2;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod staged;
