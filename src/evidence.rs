//! Evidence about releases: what requests are counted by, and how.
//!
//! [`metering`] says what one request is to the judge; [`routes`] holds the counts by route, color and tick, and the
//! sampler that collects them. The judge itself is in `domain::analysis`.

pub(crate) mod metering;
pub(crate) mod routes;
