//! The headline as an answer of the admin API.

use crate::admin::api::{ConditionAnswer, HeadlineAnswer};
use crate::domain::headline::Finding;

impl HeadlineAnswer {
    pub(super) fn new(findings: &[Finding]) -> HeadlineAnswer {
        let mut all = findings.iter().map(ConditionAnswer::new);
        HeadlineAnswer { worst: all.next().unwrap_or_default(), others: all.collect() }
    }
}

impl ConditionAnswer {
    fn new(finding: &Finding) -> ConditionAnswer {
        let Finding { level, code, sentence, purpose, next } = finding;
        let said = |text: &str| (!next.is_empty()).then(|| text.to_owned());
        ConditionAnswer {
            level: level.as_str().to_owned(),
            code: (*code).to_owned(),
            sentence: sentence.clone(),
            purpose: said(purpose),
            next: said(next),
        }
    }
}
