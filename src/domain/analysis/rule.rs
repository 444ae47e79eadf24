//! The rule for an event of the application: its bad direction, and its tolerance.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bad {
    /// As for failed payments.
    More,
    /// As for orders.
    Fewer,
}

impl Bad {
    pub const NAMES: [(&'static str, Bad); 2] = [("more", Bad::More), ("fewer", Bad::Fewer)];

    #[must_use]
    pub fn name(self) -> &'static str {
        Bad::NAMES.iter().find(|(_, bad)| *bad == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Bad> {
        Bad::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bad)| *bad)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventRule {
    pub name: String,
    pub bad: Bad,
    /// Tolerated difference per request: 0.1 is a tenth.
    pub tolerated: f64,
    pub share: f64,
    /// Greatest count in one response. They are one toss of the coin, and weigh one event together.
    pub per_request: u32,
}

pub(crate) const MOST_EVENTS: usize = 8;
pub(crate) const MOST_SHARED: f64 = 0.5;

impl EventRule {
    /// The tolerated ratio, on the side that is tested.
    pub(super) fn ratio(&self) -> f64 {
        match self.bad {
            Bad::More => 1.0 + self.tolerated,
            Bad::Fewer => 1.0 / (1.0 - self.tolerated),
        }
    }

    pub(super) fn bounded(rules: &mut Vec<EventRule>) {
        // `max` and `min` return the bound for NaN.
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
