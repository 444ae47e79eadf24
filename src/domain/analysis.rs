//! Whether a new release is worse than the one that serves: decided from what the proxy has seen, and from nothing
//! else.
//!
//! One idea carries all of it. *Given that something bad happened, was it on the candidate?* While the candidate is not
//! worse, that is a coin whose bias is known from how requests were shared, whatever the load, the hour or a broken
//! database do to both. So the odds that a fair gambler would have won by betting against the coin ([`evidence`]) are
//! evidence that holds at whatever moment somebody looks. `docs/analysis.md` has the argument, the figures and the
//! limits.
//!
//! Everything here is a pure function of [`Policy`], [`Tick`]s and the beginnings of steps: the same ticks give the
//! same judgements, bit for bit on one machine. So a decision can be replayed, and a change of policy tried on real
//! history.

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
