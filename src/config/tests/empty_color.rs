//! A color that has nothing yet: only the one that does not serve.

use super::*;

#[test]
fn the_color_that_is_not_active_may_have_nothing_and_the_other_may_not() {
    let listen = "[listen]\nhttp = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\n";
    let full =
        |color: &str| format!("[{color}]\nrelease = \"1\"\nendpoints = [\"a:1\"]\nupstreams = {{ api = [\"b:1\"] }}\n");
    for empty in ["", "[green]\n", "[green] # soon\n"] {
        let text = format!("active = \"blue\"\n{}{empty}{listen}", full("blue"));
        let config = Config::parse(Path::new("c.toml"), &text).expect("it may be empty");
        assert!(config.colors.green.is_empty() && !config.colors.blue.is_empty());
        let pools: Vec<_> = config.colors.green.pools.iter().map(|(name, pool)| (name.as_str(), pool.len())).collect();
        assert_eq!(pools, [("api", 0), ("default", 0)]);
        let again = Config::parse(Path::new("c.toml"), &config.render()).expect("it is valid");
        assert!(again.colors.green.is_empty());
        let error = bad(&text.replace("active = \"blue\"", "active = \"green\""));
        assert!(error.to_string().contains("green"), "{error}");
    }
    let half = format!("active = \"blue\"\n{}[green]\nrelease = \"2\"\n{listen}", full("blue"));
    assert!(bad(&half).to_string().contains("[green] has no `endpoints`"), "{}", bad(&half));
    assert!(bad(&format!("active = \"blue\"\n{listen}")).to_string().contains("the file has no [blue]"));
}
