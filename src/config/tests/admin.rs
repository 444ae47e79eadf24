//! Tokens of the admin API on an address that other machines reach.

use super::refused::{check, row};
use super::*;

#[test]
fn tokens_on_an_address_that_others_reach_travel_over_tls_unless_that_is_waived() {
    let tokens = "[[admin.tokens]]\nname = \"a\"\nrole = \"viewer\"\nenv = \"PATH\"\n";
    let open = with("\"127.0.0.1:9900\"", "«\"0.0.0.0:9900\"") + tokens;
    check(&[row(open.clone(), "tokens would travel without TLS", "`plain = true` under [admin]")]);
    let plain = open.replace('«', "").replace("[[admin.tokens]]", "[admin]\nplain = true\n[[admin.tokens]]");
    assert!(good(&plain).admin.plain);
}
