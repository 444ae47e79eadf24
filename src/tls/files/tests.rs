use std::fs;

use rcgen::KeyPair;
use rustix::fs::{CWD, FileType, mknodat};

use super::*;
use crate::tls::tests::{Authority, params, read as text};
use crate::tls::{check_authorities, check_pair};

fn reason(files: &CertificateFiles) -> String {
    let errors = check_pair(files);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].to_string()
}

#[test]
fn a_pair_that_fits_is_good_also_in_one_file() {
    let authority = Authority::new("ca");
    let mut files = authority.sign("one", &["example.com"]);
    assert_eq!(check_pair(&files), []);

    fs::write(&files.cert, text(&files.key) + &text(&files.cert)).expect("written");
    files.key = files.cert.clone();
    assert_eq!(check_pair(&files), []);
}

#[test]
fn everything_that_is_wrong_with_a_pair_is_named() {
    let authority = Authority::new("ca");
    let files = CertificateFiles {
        cert: authority.file("no.pem"),
        key: authority.file("no.key"),
        ocsp: Some(authority.file("no.ocsp")),
    };
    let errors = check_pair(&files);
    assert_eq!(
        errors.iter().map(|error| &error.path).collect::<Vec<_>>(),
        [&files.cert, &files.key, files.ocsp.as_ref().unwrap()]
    );
    assert!(errors.iter().all(|error| error.reason.contains("No such file")), "{errors:?}");
    assert!(errors[0].to_string().starts_with(&format!("{}: can't be read", files.cert.display())));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new("ca");
    let (one, other) = (authority.sign("one", &["a.example"]), authority.sign("other", &["a.example"]));
    let mixed = CertificateFiles { key: other.key, ..one };
    let expected = format!("{}: is not the key of {}", mixed.key.display(), mixed.cert.display());
    assert_eq!(reason(&mixed), expected);
}

#[test]
fn a_chain_in_the_wrong_order_is_told_apart_from_a_wrong_key() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    fs::write(&files.cert, text(&authority.path()) + &text(&files.cert)).expect("written");
    assert!(reason(&files).contains("fits certificate number 2 of"), "{}", reason(&files));
}

#[test]
fn what_is_not_pem_is_told_with_the_repair() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let pem = text(&files.cert);

    fs::write(&files.cert, "").expect("written");
    assert!(reason(&files).ends_with("has no certificate in PEM; it is empty"), "{}", reason(&files));
    fs::write(&files.cert, "hello").expect("written");
    assert!(reason(&files).ends_with("has no certificate in PEM"), "{}", reason(&files));
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    fs::write(&files.cert, der).expect("written");
    assert!(reason(&files).contains("openssl x509 -inform der"), "{}", reason(&files));
    fs::write(&files.cert, &pem[..pem.len() / 2]).expect("written");
    assert!(reason(&files).ends_with("is damaged: a section of PEM has no end"), "{}", reason(&files));
    fs::write(&files.cert, pem.replace("MII", "M~~")).expect("written");
    assert!(reason(&files).ends_with("is damaged: a section of PEM is not base64"), "{}", reason(&files));
    fs::write(&files.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
    assert!(reason(&files).contains("its first certificate can't be read"), "{}", reason(&files));
    assert!(check_authorities(&files.cert).unwrap_err().reason.contains("certificate number 1 can't be used"));

    fs::write(&files.cert, &pem).expect("written");
    fs::write(&files.key, &pem).expect("written");
    assert!(reason(&files).ends_with("has no private key in PEM"), "{}", reason(&files));
}

#[test]
fn a_key_with_a_passphrase_is_told_with_the_repair() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    fs::write(&files.key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .expect("written");
    assert!(reason(&files).contains("passphrase"), "{}", reason(&files));
}

#[test]
fn no_error_and_no_debug_output_has_anything_of_a_key() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let pem = text(&files.key);
    let secret: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).map(|line| &line[..16]).collect();
    let mut seen = format!("{:?}", pair(&files).expect("a pair"));
    let damaged = (0..pem.lines().count()).map(|line| {
        let lines = pem.lines().enumerate();
        lines.map(|(index, text)| if index == line { format!("~{text}\n") } else { format!("{text}\n") }).collect()
    });
    let cut = (0..pem.len()).map(|length| pem[..length].to_owned());
    for content in damaged.chain(cut) {
        fs::write(&files.key, &content).expect("written");
        for error in check_pair(&files) {
            seen += &format!("{error} {error:?}");
        }
    }
    for line in secret {
        assert!(!seen.contains(line));
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let authority = Authority::new("ca");
    let mut files = authority.sign("one", &["a.example"]);
    files.key = authority.dir.path().to_owned();
    assert!(reason(&files).ends_with("is not a regular file"), "{}", reason(&files));
    files.key = authority.file("pipe");
    mknodat(CWD, &files.key, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    assert!(reason(&files).ends_with("is not a regular file"), "{}", reason(&files));
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_refused() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let mut bytes = text(&files.cert).into_bytes();
    bytes.resize(1 << 20, b'\n');
    fs::write(&files.cert, &bytes).expect("written");
    assert_eq!(check_pair(&files), []);
    bytes.push(b'\n');
    fs::write(&files.cert, &bytes).expect("written");
    assert!(reason(&files).ends_with("is larger than 1 MiB, the most that is read"), "{}", reason(&files));
}

#[test]
fn a_staple_is_an_answer_of_a_responder_and_nothing_else() {
    let authority = Authority::new("ca");
    let mut files = authority.sign("one", &["a.example"]);
    let ocsp = authority.file("one.ocsp");
    files.ocsp = Some(ocsp.clone());
    fs::write(&ocsp, [0x30, 0x03, 0x0a, 0x01, 0x00]).expect("written");
    assert_eq!(check_pair(&files), []);
    fs::write(&ocsp, [0x30, 0x03, 0x0a, 0x01, 0x06]).expect("written");
    assert!(reason(&files).ends_with("is the responder's refusal to answer (status 6)"), "{}", reason(&files));
    let html = b"<html>".to_vec();
    let der = CertificateDer::from_pem_slice(text(&files.cert).as_bytes()).expect("a certificate").to_vec();
    for content in [vec![], html, der, vec![0x30, 0x04, 0x0a, 0x01, 0x00], vec![0x30, 0x82]] {
        fs::write(&ocsp, content).expect("written");
        assert!(reason(&files).contains("is not an OCSP response in DER"), "{}", reason(&files));
    }
}

#[test]
fn authorities_are_one_or_many() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    fs::write(one.file("both.pem"), text(&one.path()) + &text(&other.path())).expect("written");
    assert_eq!(authorities(&one.file("both.pem")).expect("two").store.len(), 2);
    assert_eq!(check_authorities(&one.path()), Ok(()));
    assert!(check_authorities(&one.file("none.pem")).is_err());
}

#[test]
fn names_are_in_lower_case_and_a_common_name_counts_only_without_others() {
    let authority = Authority::new("ca");
    let key = KeyPair::generate().expect("a key");
    let names = |params| pair(&authority.sign_params("one", params, &key)).expect("a pair").facts.names;
    assert_eq!(names(params(&["A.Example", "*.B.example", "127.0.0.1"])), ["a.example", "*.b.example"]);
    assert_eq!(names(params(&["127.0.0.1"])), [""; 0]);
    assert_eq!(names(params(&[])), ["a subject"]);
}
