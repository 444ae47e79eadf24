//! Gate checks, and the color asked for old files, in words.

use std::time::Duration;

use crate::admin::api::{CheckAnswer, ChecksAnswer, LingerAnswer};
use crate::cli::render::layout::wrapped;
use crate::cli::render::{BAD, GOOD, ago, color, painted, plain, short};
use crate::cli::when;

pub(super) fn checks(checks: &[CheckAnswer]) -> String {
    let wide = checks.iter().map(|check| plain(&check.check).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let took = short(Duration::from_micros(check.took_us));
        let outcome = match check.passed {
            true => painted(GOOD, "passed"),
            false => painted(BAD, format!("failed at {} of {}", check.failed, check.endpoints)),
        };
        let name = plain(&check.check);
        text.push_str(&wrapped(
            &format!("check  {name:<wide$}  "),
            &format!("{outcome} ({}, {took})", plain(&check.upstream)),
            7,
        ));
        for failure in &check.failures {
            let (found, wanted) = (plain(&failure.found), plain(&failure.wanted));
            let said = format!("{}: {found}; wanted {wanted}", plain(&failure.endpoint));
            text.push_str(&wrapped("       ", &said, 9));
        }
    }
    text
}

pub(super) fn last(last: &ChecksAnswer) -> String {
    let failed: Vec<_> = last.checks.iter().filter(|check| !check.passed).collect();
    let when = last.checks.iter().map(|check| check.at.as_str()).max().map(ago).unwrap_or_default();
    let whose = format!("{} {}", color(&last.color), plain(&last.release));
    let Some(first) = failed.first() else {
        return format!("{whose}: {} of {} passed, {when} ago", last.checks.len(), last.checks.len());
    };
    let why = first.failures.first().map(|failure| {
        format!(" at {}: {}; wanted {}", plain(&failure.endpoint), plain(&failure.found), plain(&failure.wanted))
    });
    let said = format!("{} of {} failed, {when} ago: {}", failed.len(), last.checks.len(), plain(&first.check));
    format!("{whose}: {}", painted(BAD, said + &why.unwrap_or_default()))
}

pub(super) fn lingering(linger: &LingerAnswer) -> String {
    let whose = format!("{} {}", color(&linger.color), plain(&linger.release));
    if linger.up == 0 {
        return format!("{whose}: {}", painted(BAD, "no endpoint is up to answer for old files"));
    }
    let until = when::shown(&linger.until);
    format!("{whose} answers for old files below {} until {until}", linger.paths.join(", "))
}
