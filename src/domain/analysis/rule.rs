//! What is judged of an event that the application tells, and how.

/// Which way an event is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bad {
    /// More of them, as failed payments.
    More,
    /// Fewer, as orders.
    Fewer,
}

impl Bad {
    /// Each, and its name in files and answers.
    pub const NAMES: [(&'static str, Bad); 2] = [("more", Bad::More), ("fewer", Bad::Fewer)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Bad::NAMES.iter().find(|(_, bad)| *bad == self).map_or("", |(name, _)| name)
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Bad> {
        Bad::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bad)| *bad)
    }
}

/// How an event is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRule {
    /// Its name.
    pub name: String,
    /// Which way it is bad.
    pub bad: Bad,
    /// So much more, or less, of it for each request is tolerated: 0.1 is a tenth.
    pub tolerated: f64,
    /// Its share of the budget for a false rollback.
    pub share: f64,
    /// So many in one answer are as many as count: they are one toss of the coin, and weigh as one event together.
    pub per_request: u32,
}

/// More events are not judged.
pub(crate) const MOST_EVENTS: usize = 8;
/// All of them together have no more of the budget.
pub(crate) const MOST_SHARED: f64 = 0.5;

impl EventRule {
    /// So many times the events are tolerated, on the side on which they are looked for.
    pub(super) fn ratio(&self) -> f64 {
        match self.bad {
            Bad::More => 1.0 + self.tolerated,
            Bad::Fewer => 1.0 / (1.0 - self.tolerated),
        }
    }

    /// What can be computed with.
    pub(super) fn bounded(rules: &mut Vec<EventRule>) {
        // `max` and `min` give the bound where the value is no number.
        let within = |value: f64, least: f64, most: f64| value.max(least).min(most);
        rules.truncate(MOST_EVENTS);
        for rule in &mut *rules {
            let most = if rule.bad == Bad::Fewer { 0.9 } else { 100.0 };
            rule.tolerated = within(rule.tolerated, 0.0, most);
            rule.share = within(rule.share, 0.0, MOST_SHARED);
            rule.per_request = rule.per_request.max(1);
        }
        let all: f64 = rules.iter().map(|rule| rule.share).sum();
        if all > MOST_SHARED {
            rules.iter_mut().for_each(|rule| rule.share *= MOST_SHARED / all);
        }
    }
}
