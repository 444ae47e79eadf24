use std::io::Write;

use super::*;

fn tcp(text: &str) -> Result<Address, String> {
    Ok(Address::Tcp(text.to_owned()))
}

#[test]
fn addresses_are_understood_as_people_write_them() {
    for (written, meant) in [
        ("127.0.0.1:9900", "127.0.0.1:9900"),
        ("http://127.0.0.1:9900/", "127.0.0.1:9900"),
        ("localhost:9900", "localhost:9900"),
        ("[::1]:9900", "[::1]:9900"),
        // A server's "everywhere" is the local machine to a client.
        ("0.0.0.0:9900", "127.0.0.1:9900"),
        ("[::]:9900", "[::1]:9900"),
    ] {
        assert_eq!(address(written), tcp(meant), "{written:?}");
    }
    for (written, meant) in [("https://proxy.internal", "proxy.internal:443"), ("https://[::]:9900/", "[::1]:9900")] {
        assert_eq!(address(written), Ok(Address::Https(meant.to_owned())), "{written:?}");
    }
    assert_eq!(address("unix:/run/cutover/admin.sock"), Ok(Address::Unix("/run/cutover/admin.sock".into())));
}

#[test]
fn what_is_no_address_is_refused_with_an_example() {
    for written in [
        "",
        "9900",
        ":9900",
        "localhost",
        "host:port",
        "host:99999",
        "https://a:1/b:2",
        "https://",
        "https://a/b",
        "unix:",
        "unix",
    ] {
        let refused = address(written).expect_err(written);
        assert!(refused.contains("127.0.0.1:9900") && refused.contains(&format!("{written:?}")), "{refused}");
    }
}

fn found(text: &str) -> Result<Address, Failure> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("a write");
    from_file(file.path()).map(|(address, _)| address)
}

#[test]
fn the_address_is_found_in_a_file_that_is_not_valid() {
    let listen = "[listen]\nadmin = \"127.0.0.1:9900\"\n";
    for text in [
        listen.to_owned(),
        format!("active = \"red\"\n{listen}\n[nonsense]\nkey = 1\n"),
        format!("active = \n{listen}"),
        format!("active = \"blue\n{listen}"),
        format!("{listen}[blue]\nrelease = \n"),
        format!("{listen}[green\n"),
        format!("{listen}<<<<<<< HEAD\nactive = 1\n"),
        format!("<<<<<<< HEAD\nactive = \"blue\"\n=======\nactive = \"green\"\n>>>>>>> next\n\n{listen}"),
        "<<<\n[admin]\nadmin = 'no'\n[listen]\n  # here\nhttp = 'x'\n  admin='127.0.0.1:9900' # yes".to_owned(),
        format!("active = \"blue\"\nactive = \"green\"\n{listen}"),
        "listen = { http = 7, admin = \"127.0.0.1:9900\" }".to_owned(),
        "listen.admin = '127.0.0.1:9900'".to_owned(),
    ] {
        match found(&text) {
            Ok(address) => assert_eq!(address, Address::Tcp("127.0.0.1:9900".to_owned()), "{text}"),
            Err(failure) => panic!("{}: {text}", failure.text()),
        }
    }
}

#[test]
fn a_file_without_an_address_says_how_else_to_name_it() {
    for text in ["", "[listen]\n", "listen = 7", "[listen]\nadmin = 7\n", "[listen]\nadmin = \"nowhere\"\n"] {
        let failure = found(text).expect_err("no address");
        assert_eq!(failure.code(), 2, "{text}");
        let said = failure.text();
        assert!(said.contains("CUTOVER_ADMIN") || said.contains("127.0.0.1:9900"), "{said}");
    }
    let missing = from_file(Path::new("/nowhere/cutover.toml")).expect_err("no file");
    assert!(
        missing.text().contains("/nowhere/cutover.toml") && missing.text().contains("--admin"),
        "{}",
        missing.text()
    );
}
