//! The parts of a run: each measures one thing and adds its tables to the report.

pub(crate) mod analysis;
pub(crate) mod connections;
pub(crate) mod footprint;
pub(crate) mod growth;
pub(crate) mod latency;
pub(crate) mod scenario;
pub(crate) mod scenarios;
pub(crate) mod switch;
