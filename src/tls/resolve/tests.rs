use super::*;
use crate::tls::files;
use crate::tls::tests::Authority;

const MODERN: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

#[test]
fn a_name_with_the_dot_of_the_root_is_the_same_name() {
    let authority = Authority::new("ca");
    let pairs = ["first.example", "a.example", "*.b.example"]
        .map(|name| files::pair(&authority.sign("one", &[name])).expect("a pair"));
    let by_name = ByName::new(&pairs);
    let found = |name| by_name.choose(name, MODERN).expect("a certificate").cert.clone();
    assert_eq!(found(Some("a.example.")), pairs[1].key.cert);
    assert_eq!(found(Some("x.b.example.")), pairs[2].key.cert);
    for unknown in [None, Some("."), Some(""), Some("b.example."), Some(".b.example.example")] {
        assert_eq!(found(unknown), pairs[0].key.cert, "{unknown:?}");
    }
}

#[test]
fn a_client_that_can_check_nothing_gets_the_first_of_the_name() {
    let authority = Authority::new("ca");
    let pairs = ["first", "second"].map(|file| files::pair(&authority.sign(file, &["a.example"])).expect("a pair"));
    let by_name = ByName::new(&pairs);
    for schemes in [&[][..], &[SignatureScheme::ED25519], MODERN] {
        let found = by_name.choose(Some("a.example"), schemes).expect("a certificate");
        assert_eq!(found.cert, pairs[0].key.cert);
    }
}
