use clap::Parser;

use super::*;
use crate::cli::args::{Args, Subcommand};

fn parsed(line: &str) -> Result<Subcommand, String> {
    let words = std::iter::once("cutover").chain(line.split_whitespace());
    Args::try_parse_from(words).map(|args| args.command).map_err(|error| error.to_string())
}

fn start(line: &str) -> Start {
    match parsed(line) {
        Ok(Subcommand::Canary(Canary::Start(start))) => start,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn shares_are_written_with_their_sign_and_steps_with_commas() {
    let said = start("canary start --weight 0.5% --steps 5%,25%,50% --holdback 2% --dwell 1m");
    let basis_points = |share: &Weight| share.basis_points();
    assert_eq!(said.weight.as_ref().map(basis_points), Some(50));
    assert_eq!(said.steps.expect("steps").iter().map(basis_points).collect::<Vec<_>>(), [500, 2_500, 5_000]);
    assert_eq!((said.holdback.as_ref().map(basis_points), said.dwell), (Some(200), Some(Duration::from_secs(60))));
    for wrong in ["--weight 5", "--weight 101%", "--steps 5%,,50%", "--holdback many", "--dwell 60"] {
        assert!(parsed(&format!("canary start {wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn waiting_is_until_the_end_unless_said_otherwise() {
    assert_eq!(start("canary start").wait, None);
    assert_eq!(start("canary start --wait").wait, Some(Until::End));
    assert_eq!(start("canary start --wait=traffic --force").wait, Some(Until::Traffic));
    assert!(parsed("canary start --wait traffic").is_err(), "what follows would be another argument");
}

#[test]
fn a_deployment_has_a_name_or_a_number() {
    for (line, id) in [("replay dep-42", Some(42)), ("replay 42", Some(42)), ("replay", None)] {
        match parsed(line) {
            Ok(Subcommand::Replay(replay)) => assert_eq!(replay.which.id, id.map(DeploymentId), "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    for wrong in
        ["replay dep-", "replay dep-+1", "replay 1.0", "replay --alpha 0", "replay --margin 0.5", "canary aa --runs 0"]
    {
        assert!(parsed(wrong).is_err(), "{wrong}");
    }
}
