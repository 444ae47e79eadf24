use super::*;

#[test]
fn an_admin_address_is_understood_as_people_write_it() {
    for (text, understood) in [
        ("127.0.0.1:9900", "127.0.0.1:9900"),
        ("http://127.0.0.1:9900/", "127.0.0.1:9900"),
        ("cutover.internal:9900", "cutover.internal:9900"),
        ("[::1]:9900", "[::1]:9900"),
        ("0.0.0.0:9900", "127.0.0.1:9900"),
        ("[::]:9900", "[::1]:9900"),
        ("unix:/run/cutover/admin.sock", "unix:/run/cutover/admin.sock"),
    ] {
        assert_eq!(address(text).map(|address| address.to_string()).as_deref(), Ok(understood));
    }
    for text in ["", "9900", ":9900", "localhost", "localhost:x", "https://localhost/admin", "localhost:70000"] {
        assert!(address(text).is_err_and(|reason| reason.contains("127.0.0.1:9900")), "{text}");
    }
}

#[test]
fn the_address_is_found_in_a_file_that_is_not_valid_at_the_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cutover.toml");
    for text in [
        "active = \"teal\"\n[listen]\nadmin = \"127.0.0.1:9900\"\nnonsense = 1\n",
        "active = \n[listen]\nadmin = \"127.0.0.1:9900\"\n",
        "[listen]\nadmin = \"127.0.0.1:9900\"\n[blue\nrelease = = \"\n",
    ] {
        std::fs::write(&path, text).expect("a file");
        assert_eq!(
            from_file(&path).map(|address| address.to_string()).ok().as_deref(),
            Some("127.0.0.1:9900"),
            "{text}"
        );
    }
    std::fs::write(&path, "active = \"blue\"\n").expect("a file");
    assert!(matches!(from_file(&path), Err(Failure::Usage(reason)) if reason.contains("--admin")));
}
