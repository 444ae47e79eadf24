//! Evidence about releases: [`trial`] classifies one request; [`routes`] counts by route, color and tick, and has
//! the sampler that collects the counts. The judge is in `domain::analysis`.

pub(crate) mod routes;
pub(crate) mod trial;
