use super::*;

const TEXT: &str = r#"# What is live.
active = "blue" # by hand

# The new one.
[green] # standby
endpoints = [ "127.0.0.1:9002" ] # one machine
release   = '2' # by CI
[green.upstreams]
# Beside it.
api = [
    "10.0.0.3:80",
    "10.0.0.4:80",
]

[blue]
endpoints = ["127.0.0.1:9001"]
release = "1"
upstreams = { api = ["10.0.0.1:80"] }

[listen]
http = "127.0.0.1:8080"
admin = "127.0.0.1:9900"
# The end."#;

fn section(release: &str, endpoint: &str, api: &[&str]) -> Section {
    let api = api.iter().map(|text| (*text).to_owned()).collect();
    Section {
        release: release.to_owned(),
        endpoints: vec![endpoint.to_owned()],
        upstreams: [("api".to_owned(), api)].into(),
        schema: None,
    }
}

fn one(release: &str) -> Section {
    Section { release: release.to_owned(), endpoints: vec!["b:2".to_owned()], ..Section::default() }
}

#[test]
fn only_values_that_differ_change_and_everything_around_them_stays() {
    let next = staged(TEXT, Color::Green, &section("3", "127.0.0.1:9003", &["10.0.0.5:80"])).expect("staged");
    let expected = TEXT
        .replace("[ \"127.0.0.1:9002\" ]", "[\"127.0.0.1:9003\"]")
        .replace("'2'", "\"3\"")
        .replace("    \"10.0.0.3:80\",\n    \"10.0.0.4:80\",\n", "    \"10.0.0.5:80\",\n");
    assert_eq!(next, expected);
    let next = staged(TEXT, Color::Blue, &section("3", "127.0.0.1:9003", &["10.0.0.5:80"])).expect("staged");
    assert!(next.contains("upstreams = { api = [\"10.0.0.5:80\"] }"), "{next}");
    let same = section("2", "127.0.0.1:9002", &["10.0.0.3:80", "10.0.0.4:80"]);
    assert_eq!(staged(TEXT, Color::Green, &same).as_deref(), Ok(TEXT));
}

#[test]
fn a_file_with_the_line_ends_of_windows_keeps_them() {
    let text = TEXT.replace('\n', "\r\n");
    let wanted = section("3", "127.0.0.1:9002", &["10.0.0.3:80", "10.0.0.4:80"]);
    assert_eq!(staged(&text, Color::Green, &wanted), Ok(text.replace("'2'", "\"3\"")));
    let mixed = TEXT.replacen('\n', "\r\n", 1);
    let refused = staged(&mixed, Color::Green, &wanted);
    assert!(matches!(&refused, Err(Unwritable::Form(why)) if why.contains("one ending")), "{refused:?}");
}

#[test]
fn a_color_without_a_section_gets_one() {
    let text = "active = \"blue\"\n\n[blue]\nrelease = \"1\"\nendpoints = [\"a:1\"]\n\n[log]\naccess = \"off\"\n";
    let wanted =
        Section { release: "2".to_owned(), endpoints: vec!["b:2".to_owned(), "c:3".to_owned()], ..Section::default() };
    let next = staged(text, Color::Green, &wanted).expect("staged");
    assert_eq!(next, format!("{text}\n[green]\nrelease = \"2\"\nendpoints = [\"b:2\", \"c:3\"]\n"));
    assert_eq!(staged(&next, Color::Green, &wanted).as_ref(), Ok(&next));
    let with_api = Section { upstreams: [("api".to_owned(), vec!["d:4".to_owned()])].into(), ..wanted };
    let next = staged(&next, Color::Green, &with_api).expect("staged");
    assert!(next.ends_with("endpoints = [\"b:2\", \"c:3\"]\n\n[green.upstreams]\napi = [\"d:4\"]\n"), "{next}");
    for (end, kept) in
        [("", ""), ("\n\n\n", "\n"), ("\n# The end.", "\n# The end.\n"), ("\n# The end.\n", "\n# The end.\n")]
    {
        let text = format!("{}{end}", text.trim_end());
        let next = staged(&text, Color::Green, &one("2")).expect("staged");
        let kept = if end.is_empty() { "\n" } else { kept };
        assert_eq!(
            next,
            format!(
                "{}{kept}\n[green]\nrelease = \"2\"\nendpoints = [\"b:2\"]\n",
                text.trim_end().trim_end_matches("\n# The end.")
            )
        );
    }
    let empty = "active = \"blue\"\n\n[green]\n# nothing yet\n\n[log]\naccess = \"off\"\n";
    let next = staged(empty, Color::Green, &one("2")).expect("staged");
    assert!(
        next.contains("[green]\nrelease = \"2\"\nendpoints = [\"b:2\"]\n") && next.contains("# nothing yet"),
        "{next}"
    );
}

#[test]
fn labels_of_data_stores_belong_to_their_release() {
    let text = "[green]\nrelease = \"1\"\nendpoints = [\"a:1\"]\n\n# Of the DBA.\n[green.schema.orders]\nneeds = \">=41\" # tested\nmigrates_to = 42\n\n[log]\n";
    let mut wanted = Section { release: "2".to_owned(), endpoints: vec!["a:1".to_owned()], ..Section::default() };
    assert_eq!(staged(text, Color::Green, &wanted), Err(Unwritable::SchemaUnsaid(vec!["orders".to_owned()])));
    let again = Section { release: "1".to_owned(), ..wanted.clone() };
    assert_eq!(staged(text, Color::Green, &again).as_deref(), Ok(text));
    let label = StoreLabel { needs: ">=41".to_owned(), migrates_to: Some(43), ..StoreLabel::default() };
    wanted.schema = Some([("orders".to_owned(), label.clone())].into());
    let next = staged(text, Color::Green, &wanted).expect("staged");
    assert_eq!(next, text.replace("\"1\"", "\"2\"").replace("42", "43"));
    wanted.schema =
        Some([("users".to_owned(), StoreLabel { probe: Some(("http://a/".to_owned(), None)), ..label })].into());
    let next = staged(text, Color::Green, &wanted).expect("staged");
    assert!(next.contains("users = { needs = \">=41\", migrates_to = 43, probe = { url = \"http://a/\" } }"), "{next}");
    assert!(!next.contains("orders"), "{next}");
    wanted.schema = Some(BTreeMap::new());
    let next = staged(text, Color::Green, &wanted).expect("staged");
    assert_eq!(next, "[green]\nrelease = \"2\"\nendpoints = [\"a:1\"]\n\n[log]\n");
}
