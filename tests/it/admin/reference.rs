//! docs/metrics.md: every series, as a proxy that uses everything shows it.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::application::{Application, pair};
use crate::certificates::{Authority, replace};
use crate::proxy::{Proxy, Setup};
use crate::until;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const AGAIN: &str = "CUTOVER_WRITE_DOCS=1 cargo test --test it reference";

const HEAD: &str = "# Every series

`GET /metrics` of the admin address. [Monitoring](monitoring.md) has alerts and a dashboard;
[running](running.md#metrics) says what to alert on.

";

/// With a name, TLS, labels of data stores, a receiver of notices and an event of the application.
async fn proxy(blue: &Application, green: &Application) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    let authority = Authority::new();
    authority.issue(&["site.test"]).write(dir.path(), "site");
    replace(&dir.path().join("ca.pem"), &authority.pem());
    let mut setup = Setup::new(blue, green);
    let schema = "schema.orders = { needs = \">=1\", migrates_to = 1, barrier = \"applied\" }";
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"localhost:{}\"]\n{schema}", blue.address.port());
    setup.health.push_str("\nrelease_header = \"x-release\"");
    setup.listen = "https = \"127.0.0.1:0\"\n".to_owned();
    setup.more = format!(
        "[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n\
         [[notify]]\nkind = \"slack\"\nname = \"chat\"\nurl_env = \"NOBODY\"\n\
         [[analysis.event]]\nname = \"order\"\nbad = \"fewer\"\n"
    );
    let text = setup.text(dir.path());
    Proxy::start_in(dir, &text).await
}

/// The names of the labels of a family, and what stands behind each series.
fn labels(text: &str, family: &str) -> BTreeSet<String> {
    let samples = text.lines().filter_map(|line| line.strip_prefix(family));
    let inside = samples.filter_map(|rest| {
        let rest = ["_bucket", "_sum", "_count"].iter().find_map(|end| rest.strip_prefix(end)).unwrap_or(rest);
        rest.strip_prefix('{')?.rsplit_once('}')
    });
    let names = inside.flat_map(|(labels, _)| labels.split("\",").map(str::to_owned).collect::<Vec<_>>());
    names.filter_map(|label| label.split_once("=\"").map(|(name, _)| name.to_owned())).collect()
}

/// The page as this scrape would have it.
fn page(text: &str) -> String {
    let mut page = format!("{HEAD}<!-- {AGAIN} -->\n\n| series | type | labels | meaning |\n|---|---|---|---|\n");
    let mut families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    families.sort_unstable();
    for (family, help) in families.iter().filter_map(|line| line.split_once(' ')) {
        let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {family} "))).expect("a type");
        let labels: Vec<_> = labels(text, family).into_iter().filter(|name| name != "le").collect();
        let labels: Vec<_> = labels.iter().map(|name| format!("`{name}`")).collect();
        let help = help.replace('|', "\\|");
        let _ = writeln!(page, "| `{family}` | {kind} | {} | {help} |", labels.join(", "));
    }
    page
}

#[tokio::test]
async fn the_page_of_series_is_what_the_program_shows() {
    let (blue, green) = pair().await;
    blue.says_release("1.0");
    green.says_release("2.0");
    let proxy = proxy(&blue, &green).await;
    proxy.until("blue is up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    let wanted = until("the labels are compared", async || {
        proxy.get("/").await;
        let scrape = proxy.admin("GET", "/metrics", "").await;
        scrape.text().contains("cutover_endpoint_wrong_release{").then(|| page(scrape.text()))
    })
    .await;
    if std::env::var_os("CUTOVER_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &wanted).expect("the page");
    }
    let found = std::fs::read_to_string(PAGE).expect("the page");
    let differs = wanted.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
    assert!(wanted == found, "docs/metrics.md is not what the program shows; type: {AGAIN}\n{differs:?}");
}
