//! Verdicts in words and numbers. Never a bad number without the one that it is compared with.

use std::fmt;
use std::time::Duration;

use crate::domain::verdict::{Class, Finding, Judgement, Sample};

/// So many findings are told; the others weigh less.
const TOLD: usize = 3;

/// `/checkout is 3.0 x slower (p90 912 ms against 301 ms, 61 requests)`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { class, route, candidate, stable, .. } = self;
        let quantile = match class {
            Class::SlowP50 => "p50",
            Class::SlowP90 => "p90",
            Class::SlowP99 => "p99",
            Class::Error => return shares(f, route.as_deref(), "errors", candidate, stable),
            Class::ClientError => return shares(f, route.as_deref(), "4xx answers", candidate, stable),
            Class::Abort => return shares(f, route.as_deref(), "clients that left", candidate, stable),
            Class::Cpu => {
                let (more, less) = (candidate.latency, stable.latency);
                f.write_str("CPU time for each request")?;
                return match (more, less) {
                    (Some(more), Some(less)) => write!(f, ": {} against {}", span(more), span(less)),
                    _ => f.write_str(" is higher"),
                };
            }
        };
        let what = route.as_deref().unwrap_or("everything");
        match (candidate.latency, stable.latency) {
            (Some(slow), Some(fast)) if !fast.is_zero() => {
                let ratio = slow.as_secs_f64() / fast.as_secs_f64();
                let (slow, fast) = (span(slow), span(fast));
                write!(f, "{what} is {ratio:.1} x slower ({quantile} {slow} against {fast}, ")?;
            }
            _ => write!(f, "{what} is slower at its {quantile} ({} of ", thousands(candidate.bad))?,
        }
        write!(f, "{})", requests(candidate.requests))
    }
}

/// The heaviest findings, and the odds.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().take(TOLD).enumerate() {
            write!(f, "{}{finding}", if index > 0 { "; " } else { "" })?;
        }
        let (evidence, limit) = (thousands(self.evidence), thousands(self.limit));
        write!(f, "{}evidence {evidence}:1, limit {limit}:1", if self.findings.is_empty() { "" } else { "; " })?;
        f.write_str(if self.without_control {
            "; against what was before, with nothing to compare at the same time"
        } else {
            ""
        })
    }
}

/// `errors on /checkout: 8.0 % against 0.10 % (18 of 225 requests, 4 of 4,210)`
fn shares(
    f: &mut fmt::Formatter<'_>,
    route: Option<&str>,
    what: &str,
    candidate: &Sample,
    stable: &Sample,
) -> fmt::Result {
    let on = route.map(|route| format!(" on {route}")).unwrap_or_default();
    let (bad, of) = (thousands(candidate.bad), requests(candidate.requests));
    write!(f, "{what}{on}: {} against {} ({bad} of {of}, ", share(candidate), share(stable))?;
    write!(f, "{} of {})", thousands(stable.bad), thousands(stable.requests))
}

/// In percent, with as many digits as say something.
fn share(sample: &Sample) -> String {
    if sample.requests == 0 {
        return "none".to_owned();
    }
    let percent = sample.bad as f64 / sample.requests as f64 * 100.0;
    let digits = if percent >= 10.0 || percent == 0.0 {
        0
    } else if percent >= 1.0 {
        1
    } else {
        2
    };
    format!("{percent:.digits$} %")
}

fn span(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis >= 10_000.0 {
        format!("{:.1} s", millis / 1e3)
    } else if millis >= 100.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{millis:.1} ms")
    }
}

fn requests(number: u64) -> String {
    format!("{} request{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `18,400`
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::Verdict;

    fn sample(requests: u64, bad: u64, millis: u64) -> Sample {
        let latency = (millis > 0).then(|| Duration::from_millis(millis));
        Sample { requests, bad, latency }
    }

    fn finding(class: Class, route: Option<&str>, candidate: Sample, stable: Sample) -> Finding {
        Finding { class, route: route.map(str::to_owned), candidate, stable, evidence: 18_400 }
    }

    #[test]
    fn a_verdict_names_the_route_and_both_numbers() {
        let slow = finding(Class::SlowP90, Some("/checkout"), sample(61, 40, 912), sample(1_180, 118, 301));
        assert_eq!(slow.to_string(), "/checkout is 3.0 x slower (p90 912 ms against 301 ms, 61 requests)");
        let errors = finding(Class::Error, None, sample(225, 18, 0), sample(4_210, 4, 0));
        assert_eq!(errors.to_string(), "errors: 8.0 % against 0.10 % (18 of 225 requests, 4 of 4,210)");
        let judgement = Judgement {
            verdict: Verdict::Fail,
            evidence: 18_400,
            limit: 1_000,
            findings: vec![slow, errors],
            needs: None,
            baseline_unhealthy: false,
            without_control: false,
            exposed: 225,
            harmed: 18,
        };
        let text = judgement.to_string();
        assert!(text.starts_with("/checkout is 3.0 x slower") && text.contains("; errors: 8.0 %"), "{text}");
        assert!(text.ends_with("; evidence 18,400:1, limit 1,000:1"), "{text}");
    }
}
