//! Tests from outside: real clients, conformance suites, fuzz seeds, the Debian package, and a long mix of everything.

mod balancers;
mod book;
pub(crate) mod clients;
mod conformance;
mod container;
mod corpus;
mod package;
mod soak;
mod supply;
