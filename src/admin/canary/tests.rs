use super::*;

fn read(text: &str) -> Result<CanaryBody, serde_json::Error> {
    serde_json::from_str(text)
}

fn understood(text: &str) -> Wishes {
    wishes(&read(text).expect("a body")).unwrap_or_else(|problem| panic!("{text}: {}", problem.detail))
}

fn weight(basis_points: u16) -> Weight {
    Weight::new(basis_points).expect("a share")
}

#[test]
fn shares_are_texts_with_a_sign_or_numbers_in_percent() {
    let said = understood(
        r#"{ "weight": "0.5%", "mode": "observe", "plan": { "steps": [5, "25 %", 50.5], "dwell": "30s", "max_step": "1h",
             "on_insufficient": "abort", "holdback": 2 } }"#,
    );
    assert_eq!(
        said,
        Wishes {
            bake: None,
            weight: Some(weight(50)),
            steps: Some(vec![weight(500), weight(2_500), weight(5_050)]),
            dwell: Some(Duration::from_secs(30)),
            max_step: Some(Duration::from_secs(3_600)),
            on_insufficient: Some(OnInsufficient::Abort),
            holdback: Some(weight(200)),
            mode: Some(Mode::Observe),
        }
    );
    assert_eq!(understood("{}"), Wishes::default(), "what is not said is as configured");
}

#[test]
fn what_is_no_share_duration_or_choice_is_named_with_its_key() {
    for (body, key) in [
        (r#"{ "weight": "5" }"#, "`weight`"),
        (r#"{ "weight": "101%" }"#, "`weight`"),
        (r#"{ "weight": -1 }"#, "`weight`"),
        (r#"{ "weight": 0.001 }"#, "`weight`"),
        (r#"{ "weight": "5%%" }"#, "`weight`"),
        (r#"{ "plan": { "steps": ["5%", "many"] } }"#, "`plan.steps`"),
        (r#"{ "plan": { "dwell": "0s" } }"#, "`plan.dwell`"),
        (r#"{ "plan": { "dwell": "30" } }"#, "`plan.dwell`"),
        (r#"{ "plan": { "max_step": "2days" } }"#, "`plan.max_step`"),
        (r#"{ "plan": { "on_insufficient": "stop" } }"#, "`plan.on_insufficient`"),
        (r#"{ "plan": { "holdback": "2" } }"#, "`plan.holdback`"),
        (r#"{ "mode": "on" }"#, "`mode`"),
    ] {
        let problem = wishes(&read(body).expect("a body")).expect_err(body);
        assert!(problem.status == 400 && problem.detail.starts_with(key), "{body}: {}", problem.detail);
    }
}

#[test]
fn what_is_not_known_is_refused_also_within_the_plan() {
    for body in [r#"{ "weigth": 5 }"#, r#"{ "steps": [5] }"#, r#"{ "plan": { "weight": 5 } }"#, r#"{ "weight": true }"#]
    {
        assert!(read(body).is_err(), "{body}");
    }
}
