//! Verdicts in words, for messages, logs and the status. A number never comes without the one it is compared with.

use std::fmt;
use std::time::Duration;

use super::{Class, Finding, Judgement, MISSES_FILES, Sample, Verdict, Veto};

/// `errors on all routes: 8.1 % against 0.10 % (62 of 765 requests, and 15 of 14,535)`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.route.as_deref().unwrap_or("all routes");
        let what = match self.class {
            Class::Error => "errors",
            Class::ClientError => "4xx",
            Class::Abort => "clients that left before the answer",
            Class::SlowP50 => return self.slower(f, route, "p50", "half of the"),
            Class::SlowP90 => return self.slower(f, route, "p90", "nine of ten"),
            Class::SlowP99 => return self.slower(f, route, "p99", "99 of 100"),
            Class::MoreEvents => return self.events(f, "more frequent"),
            Class::FewerEvents => return self.events(f, "rarer"),
            Class::Cpu => {
                let (requests, bad) = (self.candidate.requests(), self.candidate.bad());
                return write!(f, "CPU time for a request was above the limit in {bad} of {requests} windows");
            }
        };
        write!(f, "{what} on {route}: {}", self.shares())
    }
}

impl Finding {
    fn slower(&self, f: &mut fmt::Formatter<'_>, route: &str, quantile: &str, most: &str) -> fmt::Result {
        if let (Some(candidate), Some(stable)) = (self.candidate.latency(), self.stable.latency())
            && candidate > stable
            && !stable.is_zero()
        {
            let times = candidate.as_secs_f64() / stable.as_secs_f64();
            // The quantile over all requests may lag behind the evidence.
            if times < 1.25 {
                return write!(f, "{route} got slower than {most} requests should be: {}", self.shares());
            }
            return write!(
                f,
                "{route} got {times:.1} times slower ({quantile} {} against {}, {} requests)",
                Latency(candidate),
                Latency(stable),
                Count(self.candidate.requests())
            );
        }
        write!(f, "{route} got slower than {most} requests should be: {}", self.shares())
    }

    /// `order is 20 % rarer: 4.0 % against 5.0 % (400 of 10,000 requests, and 9,500 of 190,000)`
    fn events(&self, f: &mut fmt::Formatter<'_>, direction: &str) -> fmt::Result {
        let name = self.event.as_deref().unwrap_or("an event");
        let (candidate, stable) = (share(self.candidate), share(self.stable));
        let change = 100.0 * (candidate / stable - 1.0).abs();
        match change {
            change if stable > 0.0 && change < 1_000.0 => write!(f, "{name} is {change:.0} % {direction}: ")?,
            _ => write!(f, "{name} is {direction}: ")?,
        }
        f.write_str(&self.shares())
    }

    fn shares(&self) -> String {
        let (candidate, stable) = (self.candidate, self.stable);
        if stable.requests() == 0 {
            let (bad, requests) = (Count(candidate.bad()), Count(candidate.requests()));
            return format!("{} ({bad} of {requests} requests, and none to compare with)", Percent(candidate));
        }
        format!(
            "{} against {} ({} of {} requests, and {} of {})",
            Percent(candidate),
            Percent(stable),
            Count(candidate.bad()),
            Count(candidate.requests()),
            Count(stable.bad()),
            Count(stable.requests())
        )
    }
}

/// One sentence, without a period.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Pass => write!(f, "no worse than is tolerated, after {} requests", Count(self.exposed))?,
            Verdict::Insufficient => self.undecided(f)?,
            Verdict::Suspect if self.only_holds() => {
                write!(f, "may be worse ({}, enough to stop it)", Odds(self.hold))?
            }
            Verdict::Suspect => write!(f, "may be worse ({}, limit {})", Odds(self.evidence), Odds(self.limit))?,
            Verdict::Fail => write!(f, "worse ({}, limit {})", Odds(self.evidence), Odds(self.limit))?,
        }
        for (place, finding) in self.findings.iter().take(3).enumerate() {
            write!(f, "{} {finding}", if place == 0 { ":" } else { ";" })?;
        }
        if self.findings.len() > 3 {
            write!(f, "; and {} more", self.findings.len() - 3)?;
        }
        let client_errors = self.findings.iter().any(|finding| finding.class == Class::ClientError);
        if self.misses_files && client_errors {
            write!(f, "; {MISSES_FILES}")?;
        }
        if self.baseline_unhealthy {
            f.write_str("; the release that it is compared with fails itself")?;
        }
        if self.without_control {
            f.write_str("; nothing else serves to compare with")?;
            if self.verdict == Verdict::Suspect {
                f.write_str(", so no rollback follows by itself")?;
            }
        }
        if let Some(veto) = self.veto.filter(|veto| veto.is_alarming() && self.verdict <= Verdict::Insufficient) {
            write!(f, "; no step follows: {}", veto.words())?;
        }
        Ok(())
    }
}

impl Veto {
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Veto::Errors => "its share of errors is above 1 % and three times the stable release's at present",
            Veto::Slow => "its share of slow requests is three times the stable release's at present",
            Veto::Events => "an event of the application is visibly rarer or more frequent than on the stable release",
            Veto::ClientErrors => "a route answers 4xx where the stable release gives good answers",
            Veto::Latency => "its latency has not been compared for long enough",
            Veto::Cpu => "its CPU time has not been compared for long enough",
        }
    }
}

impl Judgement {
    /// The veto never rolls a release back.
    #[must_use]
    pub fn only_holds(&self) -> bool {
        let first = self.findings.first().map(|finding| finding.class);
        matches!(first, Some(Class::ClientError | Class::Abort | Class::Cpu))
    }

    fn undecided(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exposed = Count(self.exposed);
        match self.needs {
            None => write!(f, "not decided after {exposed} requests"),
            Some(needs) => {
                write!(f, "not decided after {exposed} requests, needs about {} more", Count(needs.requests))?;
                match needs.time {
                    None => f.write_str(", and none come"),
                    Some(time) => write!(f, ", about {}", Span(time)),
                }
            }
        }
    }
}

/// `18,400:1`; larger odds are not written out.
struct Odds(u64);

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1_000_000_001.. => f.write_str("over 1,000,000,000:1"),
            odds => write!(f, "{}:1", Count(odds)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn share(of: Sample) -> f64 {
    of.bad() as f64 / of.requests().max(1) as f64
}

/// Two significant digits: `12 %`, `8.1 %`, `0.10 %`.
struct Percent(Sample);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * share(self.0);
        match percent {
            0.0 => f.write_str("0 %"),
            percent if percent >= 9.95 => write!(f, "{percent:.0} %"),
            percent if percent >= 0.995 => write!(f, "{percent:.1} %"),
            percent if percent >= 0.0995 => write!(f, "{percent:.2} %"),
            percent if percent >= 0.0005 => write!(f, "{percent:.3} %"),
            _ => f.write_str("under 0.001 %"),
        }
    }
}

/// `18,400`.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// `8.2 ms`, `912 ms`, `12.3 s`.
struct Latency(Duration);

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds {
            seconds if seconds >= 9.9995 => write!(f, "{seconds:.1} s"),
            seconds if seconds >= 0.00995 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{:.1} ms", seconds * 1e3),
        }
    }
}

/// `40 s`, `12 min`, `3 h`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", (seconds + 30) / 60),
            _ => write!(f, "{} h", Count((seconds + 1_800) / 3_600)),
        }
    }
}

#[cfg(test)]
mod tests;
