//! The judge: is a new release worse than the one that serves, going by the traffic alone?
//!
//! The idea: given that something bad happened, was it on the candidate? While the candidate is no worse, that is a
//! coin whose bias is known from the split, whatever load, hour or a broken database do to both. A fair gambler who
//! bets against the coin wins odds ([`evidence`]) that are valid whenever somebody looks. `docs/analysis.md` has the
//! argument, the figures and the limits.
//!
//! Everything is a pure function of [`Policy`], [`Tick`]s and the beginnings of steps: the same ticks give the same
//! judgements, bit for bit on one machine. So decisions can be replayed, and policies tried on real history.

mod aa;
mod answers;
mod component;
mod event;
pub(crate) mod evidence;
mod histogram;
mod judge;
mod minutes;
mod moment;
mod pass;
mod policy;
mod raw;
mod report;
mod rule;
mod shown;
mod tick;
mod watch;

pub(crate) use aa::false_alarms;
pub(crate) use event::EventReport;
pub use histogram::Thresholds;
pub(crate) use histogram::{BUCKETS, Histogram, Quantiles, bucket};
pub(crate) use judge::Judge;
pub(crate) use policy::{Before, Policy};
pub(crate) use report::{Report, RouteReport};
pub(crate) use rule::{Bad, EventRule, MOST_EVENTS};
pub(crate) use tick::{Arms, Batch, Counts, CpuUse, EventTick, Minute, RouteTick, Seen, Tick};

#[cfg(test)]
mod tests;
