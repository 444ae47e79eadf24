use std::collections::HashSet;
use std::fs;
use std::sync::Mutex as StdMutex;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme,
};

use super::*;
use crate::tls::tests::{Authority, expired, meet, params, read};
use crate::tls::{ALL_VERSIONS, NEWEST_VERSION};

fn settings(certificates: &[&CertificateFiles]) -> ServerSettings {
    ServerSettings {
        min_version: TlsVersion::V12,
        certificates: certificates.iter().map(|files| (*files).clone()).collect(),
        client_ca: None,
        client_required: false,
        http2: true,
    }
}

fn load(certificates: &[&CertificateFiles]) -> ServerTls {
    ServerTls::load(settings(certificates)).expect("loads")
}

fn der(files: &CertificateFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.cert).expect("a certificate")
}

fn curious(authority: &Authority, provider: &CryptoProvider) -> Arc<ClientConfig> {
    let mut config = authority.client_with(provider.clone(), &ALL_VERSIONS);
    let verifier = Curious { algorithms: provider.signature_verification_algorithms, staple: StdMutex::default() };
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

#[derive(Debug)]
struct Curious {
    algorithms: WebPkiSupportedAlgorithms,
    staple: StdMutex<Vec<u8>>,
}

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.staple.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

async fn shown(tls: &ServerTls, client: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
    let (client, _) = meet(tls.config(), client, name).await;
    client.expect("a handshake").get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let authority = Authority::new("ca");
    let first = authority.sign("first", &["first.example"]);
    let exact = authority.sign("exact", &["Www.Example", "a.example"]);
    let wildcard = authority.sign("wildcard", &["*.example"]);
    let tls = load(&[&first, &wildcard, &exact]);
    let client = curious(&authority, &aws_lc_rs::default_provider());
    for (name, files) in [
        ("www.example", &exact),
        ("WWW.eXample", &exact),
        ("a.example", &exact),
        ("b.example", &wildcard),
        ("B.Example", &wildcard),
        // A wildcard stands for exactly one label.
        ("example", &first),
        ("a.b.example", &first),
        ("other.test", &first),
        // Clients do not ask for an address.
        ("127.0.0.1", &first),
    ] {
        assert_eq!(shown(&tls, &client, name).await, der(files), "{name}");
    }
}

#[tokio::test]
async fn a_client_that_can_check_only_rsa_is_shown_rsa() {
    let authority = Authority::new("ca");
    let ecdsa = authority.sign("ecdsa", &["a.example", "b.example"]);
    let rsa = authority.sign_rsa("rsa", &["a.example", "*.wild.example"]);
    let exact = authority.sign("exact", &["c.wild.example"]);
    let tls = load(&[&ecdsa, &rsa, &exact]);

    let modern = curious(&authority, &aws_lc_rs::default_provider());
    assert_eq!(shown(&tls, &modern, "a.example").await, der(&ecdsa));
    assert_eq!(shown(&tls, &modern, "c.wild.example").await, der(&exact));

    let mut by_scheme = aws_lc_rs::default_provider();
    let algorithms = by_scheme.signature_verification_algorithms;
    let only_rsa: Vec<_> = algorithms.mapping.iter().copied().filter(|(scheme, _)| is_rsa(*scheme)).collect();
    by_scheme.signature_verification_algorithms.mapping = Box::leak(only_rsa.into_boxed_slice());
    let mut by_suite = aws_lc_rs::default_provider();
    by_suite.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    for provider in [by_scheme, by_suite] {
        let old = curious(&authority, &provider);
        assert_eq!(shown(&tls, &old, "a.example").await, der(&rsa));
        // The same for unknown names, and a wildcard in place of an exact name that it can't check.
        assert_eq!(shown(&tls, &old, "unknown.example").await, der(&rsa));
        assert_eq!(shown(&tls, &old, "c.wild.example").await, der(&rsa));
        let (refused, _) = meet(tls.config(), &old, "b.example").await;
        assert!(refused.is_err());
    }
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    format!("{scheme:?}").starts_with("RSA")
}

#[tokio::test]
async fn the_oldest_version_is_kept_to() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let old = Arc::new(authority.client_with(aws_lc_rs::default_provider(), &[&rustls::version::TLS12]));
    let new = Arc::new(authority.client());
    for (min_version, old_is_served) in [(TlsVersion::V12, true), (TlsVersion::V13, false)] {
        let tls = ServerTls::load(ServerSettings { min_version, ..settings(&[&files]) }).expect("loads");
        let (client, server) = meet(tls.config(), &old, "a.example").await;
        assert_eq!((client.is_ok(), server.is_ok()), (old_is_served, old_is_served));
        let (client, _) = meet(tls.config(), &new, "a.example").await;
        let version = client.expect("a handshake").get_ref().1.protocol_version();
        assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    }
}

#[tokio::test]
async fn http2_is_chosen_by_those_who_speak_it() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let tls = load(&[&files]);
    for (offered, chosen) in [
        (vec!["http/1.1", "h2"], Some(Some("h2"))),
        (vec!["http/1.1"], Some(Some("http/1.1"))),
        (vec![], Some(None)),
        (vec!["spdy/3"], None),
    ] {
        let mut client = authority.client();
        client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (_, server) = meet(tls.config(), &Arc::new(client), "a.example").await;
        let server = server.ok();
        let found = server.as_ref().map(|stream| stream.get_ref().1.alpn_protocol());
        assert_eq!(found, chosen.map(|chosen| chosen.map(str::as_bytes)), "{offered:?}");
    }
}

#[tokio::test]
async fn keys_are_exchanged_so_that_a_quantum_computer_does_not_find_them_later() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let (client, _) = meet(load(&[&files]).config(), &Arc::new(authority.client()), "a.example").await;
    let client = client.expect("a handshake");
    let group = client.get_ref().1.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
}

async fn kind(tls: &ServerTls, client: &Arc<ClientConfig>) -> HandshakeKind {
    let (client, server) = meet(tls.config(), client, "a.example").await;
    drop(server);
    client.expect("a handshake").get_ref().1.handshake_kind().expect("a handshake")
}

#[tokio::test]
async fn a_session_goes_on_with_every_worker_and_with_the_next_certificate() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let tls = load(&[&files]);
    for versions in [&NEWEST_VERSION[..], &[&rustls::version::TLS12]] {
        let client = Arc::new(authority.client_with(aws_lc_rs::default_provider(), versions));
        assert_eq!(kind(&tls, &client).await, HandshakeKind::Full);
        assert_eq!(kind(&tls, &client).await, HandshakeKind::Resumed);
        assert_eq!(kind(&tls, &client).await, HandshakeKind::Resumed);
        authority.sign("one", &["a.example"]);
        assert_eq!(tls.reload(), Ok(true));
        assert_eq!(kind(&tls, &client).await, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn a_handshake_gives_one_ticket_and_no_leave_for_early_data() {
    let authority = Authority::new("ca");
    let tls = load(&[&authority.sign("one", &["a.example"])]);
    let client = Arc::new(authority.client());
    let (first, server) = meet(tls.config(), &client, "a.example").await;
    assert_eq!(first.expect("a handshake").get_ref().1.tls13_tickets_received(), 1);
    drop(server);
    assert_eq!(tls.config().max_early_data_size, 0);
}

fn asking(files: &CertificateFiles, client_ca: &Authority, client_required: bool) -> ServerTls {
    let settings = ServerSettings { client_ca: Some(client_ca.path()), client_required, ..settings(&[files]) };
    ServerTls::load(settings).expect("loads")
}

fn showing(authority: &Authority, own: &CertificateFiles) -> Arc<ClientConfig> {
    let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
    let roots = CertificateDer::from_pem_file(authority.path()).expect("a certificate");
    let mut store = RootCertStore::empty();
    store.add(roots).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&ALL_VERSIONS).expect("known");
    let config = builder.with_root_certificates(store).with_client_auth_cert(vec![der(own)], key).expect("fits");
    Arc::new(config)
}

async fn subject(tls: &ServerTls, client: &Arc<ClientConfig>) -> Result<Option<String>, String> {
    let (client, server) = meet(tls.config(), client, "a.example").await;
    let server = server.map_err(|error| error.to_string())?;
    client.map_err(|error| error.to_string())?;
    Ok(client_subject(server.get_ref().1))
}

#[tokio::test]
async fn who_shows_no_certificate_is_served_only_where_none_is_required() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let nobody = Arc::new(authority.client());
    assert_eq!(subject(&load(&[&files]), &nobody).await, Ok(None));
    assert_eq!(subject(&asking(&files, &authority, false), &nobody).await, Ok(None));
    assert!(subject(&asking(&files, &authority, true), &nobody).await.is_err());
}

#[tokio::test]
async fn who_shows_a_certificate_is_served_only_if_it_is_good() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let files = authority.sign("one", &["a.example"]);
    let good = showing(&authority, &authority.sign("good", &[]));
    let wrong = showing(&authority, &other.sign("wrong", &[]));
    let old = authority.sign_params("old", expired(&[]), &KeyPair::generate().expect("a key"));
    let old = showing(&authority, &old);
    for required in [false, true] {
        let tls = asking(&files, &authority, required);
        assert_eq!(subject(&tls, &good).await, Ok(Some("CN=a subject".to_owned())));
        assert!(subject(&tls, &wrong).await.is_err());
        assert!(subject(&tls, &old).await.is_err());
    }
    assert_eq!(subject(&load(&[&files]), &good).await, Ok(None));
}

#[tokio::test]
async fn a_session_that_goes_on_keeps_its_subject_until_the_authorities_change() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let clients = Authority::new("clients");
    let tls = asking(&files, &clients, true);
    let client = showing(&authority, &clients.sign("good", &[]));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (near, far) = meet(tls.config(), &client, "a.example").await;
        assert_eq!(near.expect("a handshake").get_ref().1.handshake_kind(), Some(expected));
        assert_eq!(client_subject(far.expect("a handshake").get_ref().1).as_deref(), Some("CN=a subject"));
    }

    // A further certificate changes nothing for the session,
    authority.sign("one", &["a.example"]);
    assert_eq!(tls.reload(), Ok(true));
    assert_eq!(kind(&tls, &client).await, HandshakeKind::Resumed);
    // other authorities end it.
    let others = Authority::new("others");
    fs::write(clients.path(), read(&others.path())).expect("written");
    assert_eq!(tls.reload(), Ok(true));
    assert!(subject(&tls, &client).await.is_err());
    let known = showing(&authority, &others.sign("good", &[]));
    assert_eq!(kind(&tls, &known).await, HandshakeKind::Full);
}

#[tokio::test]
async fn a_session_that_goes_on_does_not_outlive_the_certificate_of_the_client() {
    let authority = Authority::new("ca");
    let tls = asking(&authority.sign("one", &["a.example"]), &authority, false);
    let mut own = params(&[]);
    own.not_after = date_time_ymd(3000, 1, 1);
    let own = authority.sign_params("own", own, &KeyPair::generate().expect("a key"));
    let end = crate::tls::certificate::not_after(&der(&own)).expect("a time");
    let later = end + Duration::from_secs(1);
    let client = showing(&authority, &own);
    for (kind, over) in [(HandshakeKind::Full, false), (HandshakeKind::Resumed, true)] {
        let (near, far) = meet(tls.config(), &client, "a.example").await;
        let far = far.expect("a handshake");
        assert_eq!(far.get_ref().1.handshake_kind(), Some(kind));
        assert!(!client_certificate_is_over(far.get_ref().1, end));
        assert_eq!(client_certificate_is_over(far.get_ref().1, later), over);
        drop(near);
    }
    let nobody = Arc::new(authority.client());
    for _ in 0..2 {
        let (_, far) = meet(tls.config(), &nobody, "a.example").await;
        assert!(!client_certificate_is_over(far.expect("a handshake").get_ref().1, later));
    }
}

#[tokio::test]
async fn a_subject_is_printable_ascii_whatever_is_in_it() {
    let authority = Authority::new("ca");
    let tls = asking(&authority.sign("one", &["a.example"]), &authority, true);
    let with = |parts: &[(DnType, &str)]| {
        let mut params: CertificateParams = params(&[]);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let own = authority.sign_params("own", params, &KeyPair::generate().expect("a key"));
        showing(&authority, &own)
    };
    use DnType::{CommonName, CountryName, CustomDnType, OrganizationName};
    for (parts, expected) in [
        (vec![(CountryName, "DE"), (OrganizationName, "Example"), (CommonName, "alice")], "CN=alice,O=Example,C=DE"),
        (vec![(CommonName, "a,b+c\"d\\e<f>g;h")], r#"CN=a\,b\+c\"d\\e\<f\>g\;h"#),
        (vec![(CommonName, "#a=b ")], r"CN=\#a=b\ "),
        (vec![(CommonName, " a")], r"CN=\ a"),
        (vec![(CommonName, "a\r\nX-Admin: yes\0\x7f")], r"CN=a\0d\0aX-Admin: yes\00\7f"),
        (vec![(CommonName, "Jürgen\u{85}")], r"CN=J\c3\bcrgen\c2\85"),
        (vec![(CustomDnType(vec![1, 2, 3, 4]), "x")], "1.2.3.4=#0c0178"),
        (vec![], ""),
    ] {
        assert_eq!(subject(&tls, &with(&parts)).await, Ok(Some(expected.to_owned())));
    }
}

fn staple(mark: u8) -> Vec<u8> {
    vec![0x30, 0x05, 0x0a, 0x01, 0x00, 0x05, mark]
}

#[tokio::test]
async fn a_staple_arrives_and_is_renewed() {
    let authority = Authority::new("ca");
    let mut files = authority.sign("one", &["a.example"]);
    let ocsp = authority.file("one.ocsp");
    files.ocsp = Some(ocsp.clone());
    fs::write(&ocsp, staple(1)).expect("written");
    let tls = load(&[&files]);
    let received = async || {
        let provider = aws_lc_rs::default_provider();
        let verifier =
            Arc::new(Curious { algorithms: provider.signature_verification_algorithms, staple: StdMutex::default() });
        let mut client = authority.client();
        client.dangerous().set_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>);
        meet(tls.config(), &Arc::new(client), "a.example").await.0.expect("a handshake");
        verifier.staple.lock().unwrap().clone()
    };
    assert_eq!(received().await, staple(1));
    fs::write(&ocsp, staple(2)).expect("written");
    assert_eq!(tls.reload(), Ok(true));
    assert_eq!(received().await, staple(2));
    fs::write(&ocsp, "an error page").expect("written");
    assert_eq!(tls.reload().unwrap_err()[0].path, ocsp);
    assert_eq!(received().await, staple(2));
}

#[tokio::test]
async fn files_that_say_the_same_change_nothing() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let tls = asking(&files, &authority, false);
    let before = tls.config();
    assert_eq!(tls.reload(), Ok(false));
    for path in [&files.cert, &files.key, &authority.path()] {
        fs::write(path, format!("# written again\n{}\n", read(path))).expect("written");
    }
    assert_eq!(tls.reload(), Ok(false));
    assert!(Arc::ptr_eq(&before, &tls.config()));
}

#[tokio::test]
async fn one_bad_pair_keeps_every_old_one() {
    let authority = Authority::new("ca");
    let (one, two) = (authority.sign("one", &["one.example"]), authority.sign("two", &["two.example"]));
    let (old_one, old_two) = (der(&one), der(&two));
    let tls = load(&[&one, &two]);
    let client = curious(&authority, &aws_lc_rs::default_provider());

    let old_key = read(&two.key);
    authority.sign("one", &["one.example"]);
    authority.sign("two", &["two.example"]);
    let new_key = read(&two.key);
    fs::write(&two.key, &old_key).expect("written");
    let errors = tls.reload().unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), format!("{}: is not the key of {}", two.key.display(), two.cert.display()));
    assert_eq!(shown(&tls, &client, "one.example").await, old_one);
    assert_eq!(shown(&tls, &client, "two.example").await, old_two);

    fs::write(&two.key, "").expect("written");
    fs::remove_file(&one.cert).expect("removed");
    assert_eq!(tls.reload().unwrap_err().len(), 2);
    assert_eq!(shown(&tls, &client, "one.example").await, old_one);

    authority.sign("one", &["one.example"]);
    fs::write(&two.key, &new_key).expect("written");
    assert_eq!(tls.reload(), Ok(true));
    assert_eq!(shown(&tls, &client, "one.example").await, der(&one));
    assert_eq!(shown(&tls, &client, "two.example").await, der(&two));
    assert_ne!(der(&two), old_two);
}

#[tokio::test]
async fn authorities_of_clients_are_reloaded_or_kept_like_certificates() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let clients = Authority::new("clients");
    let tls = asking(&files, &clients, true);
    let client = showing(&authority, &clients.sign("good", &[]));
    let content = read(&clients.path());
    fs::write(clients.path(), "").expect("written");
    assert_eq!(tls.reload().unwrap_err()[0].path, clients.path());
    assert!(subject(&tls, &client).await.is_ok());
    fs::write(clients.path(), content).expect("written");
    assert_eq!(tls.reload(), Ok(false));
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let authority = Authority::new("ca");
    let (one, two) = (authority.sign("one", &["one.example"]), authority.sign("two", &["two.example"]));
    fs::remove_file(&one.cert).expect("removed");
    fs::remove_file(&two.key).expect("removed");
    let ca = authority.file("no.pem");
    let wrong = ServerSettings { client_ca: Some(ca.clone()), ..settings(&[&one, &two]) };
    let errors = ServerTls::load(wrong).unwrap_err();
    assert_eq!(errors.iter().map(|error| &error.path).collect::<Vec<_>>(), [&one.cert, &two.key, &ca]);
    assert_eq!(
        ServerTls::load(settings(&[])).unwrap_err()[0].to_string(),
        "certificates: there has to be at least one"
    );
}

#[test]
fn what_is_to_be_watched_and_told_is_known() {
    let authority = Authority::new("ca");
    let one = authority.sign_params("one", expired(&["*.one.example", "b"]), &KeyPair::generate().expect("a key"));
    let mut two = authority.sign("two", &["127.0.0.1"]);
    two.ocsp = Some(authority.file("two.ocsp"));
    fs::write(authority.file("two.ocsp"), staple(0)).expect("written");
    let tls = asking(&one, &authority, false);
    assert_eq!(
        tls.paths().into_iter().collect::<HashSet<_>>(),
        [one.cert.clone(), one.key.clone(), authority.path()].into()
    );
    let tls = load(&[&one, &two]);
    assert_eq!(tls.paths().len(), 5);
    let facts = tls.certificates();
    let end = UNIX_EPOCH + Duration::from_secs(981_158_400);
    assert_eq!(facts[0], CertificateFacts { name: "*.one.example".to_owned(), path: one.cert, not_after: end });
    assert_eq!(facts[1].name, "CN=a subject");
}

#[test]
fn what_is_printed_has_nothing_of_a_key() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let tls = load(&[&files]);
    let printed = format!("{tls:?} {:?} {:?}", tls.config(), tls.certificates());
    assert!(printed.contains("one.key"), "{printed}");
    let key = read(&files.key);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let bytes = key.secret_der();
    for part in bytes.windows(8) {
        assert!(!printed.contains(&format!("{part:?}")[1..]));
    }
}

#[tokio::test]
async fn a_chain_that_may_be_half_written_is_left_for_the_next_time() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let chain = format!("{}{}", read(&files.cert), read(&authority.path()));
    fs::write(&files.cert, &chain).expect("written");
    let tls = load(&[&files]);
    authority.sign("one", &["a.example"]);
    assert_eq!(tls.reload_when_quiet(&Writers::default()), Ok(false), "it has just been written");
    assert_eq!(tls.reload(), Ok(true), "somebody asks for it");
}

#[test]
#[cfg(target_os = "linux")]
fn a_shorter_chain_waits_for_its_writer() {
    let authority = Authority::new("ca");
    let files = authority.sign("one", &["a.example"]);
    let own = read(&files.cert);
    fs::write(&files.cert, format!("{own}{}", read(&authority.path()))).expect("written");
    let (tls, writers) = (load(&[&files]), Writers::default());
    writers.watch(&tls.paths());
    let mut slow = fs::File::create(&files.cert).expect("a file");
    std::io::Write::write_all(&mut slow, own.as_bytes()).expect("written");
    // The time that a shorter chain has to stand where no writer is known, and some more.
    for _ in 0..35 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(tls.reload_when_quiet(&writers), Ok(false), "its writer has not closed it");
    }
    drop(slow);
    let closed = Instant::now();
    while tls.reload_when_quiet(&writers) != Ok(true) {
        assert!(closed.elapsed() < Duration::from_secs(20), "it is whole now");
        std::thread::sleep(Duration::from_millis(20));
    }
}
