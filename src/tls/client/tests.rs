use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::tls::client_subject;
use crate::tls::server::{ServerSettings, ServerTls};
use crate::tls::tests::{Authority, accept, expired, params};

fn settings(authority: &Authority) -> ClientSettings {
    ClientSettings { ca: Some(authority.path()), server_name: None, client_cert: None, client_key: None, http2: false }
}

fn endpoint(authority: &Authority, params: CertificateParams) -> Arc<ServerConfig> {
    let files = authority.sign_params("endpoint", params, &KeyPair::generate().expect("a key"));
    endpoint_with(files, None)
}

fn endpoint_with(files: CertificateFiles, client_ca: Option<PathBuf>) -> Arc<ServerConfig> {
    let settings = ServerSettings {
        min_version: TlsVersion::V12,
        certificates: vec![files],
        client_ca,
        client_required: true,
        http2: true,
    };
    ServerTls::load(settings).expect("an endpoint").config()
}

async fn connect(client: &ClientTls, host: &str, server: Arc<ServerConfig>) -> Result<Option<String>, String> {
    let (near, far) = duplex(1 << 16);
    let connecting = async {
        let mut stream = client.connect(host, near).await?;
        stream.read_exact(&mut [0]).await?;
        io::Result::Ok(())
    };
    let (connected, accepted) = tokio::join!(connecting, accept(server, far));
    connected.map_err(|error| error.to_string())?;
    Ok(client_subject(accepted.expect("both or none").get_ref().1))
}

#[tokio::test]
async fn an_endpoint_is_believed_by_its_name_its_address_or_the_name_that_is_set() {
    let authority = Authority::new("ca");
    let server = endpoint(&authority, params(&["a.example", "127.0.0.1", "::1"]));
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    for host in ["a.example", "A.Example", "a.example.", "127.0.0.1", "::1", "[::1]"] {
        assert_eq!(connect(&client, host, server.clone()).await, Ok(None), "{host}");
    }
    let named = ClientSettings { server_name: Some("a.example".to_owned()), ..settings(&authority) };
    let client = ClientTls::load(&named).expect("loads");
    assert_eq!(connect(&client, "10.0.0.1", server).await, Ok(None));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_with_the_names_it_is_for() {
    let authority = Authority::new("ca");
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    let server = endpoint(&authority, params(&["a.example", "127.0.0.1"]));
    assert_eq!(
        connect(&client, "b.example", server.clone()).await.unwrap_err(),
        "its certificate is not valid for b.example: only for a.example, 127.0.0.1; `server_name` may be one of these"
    );
    assert!(connect(&client, "127.0.0.2", server).await.unwrap_err().contains("not valid for 127.0.0.2"));

    let names: Vec<String> = (0..7).map(|number| format!("{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = connect(&client, "b.example", endpoint(&authority, params(&names))).await.unwrap_err();
    assert!(error.contains("4.example, 2 more"), "{error}");
    let error = connect(&client, "b.example", endpoint(&authority, params(&[]))).await.unwrap_err();
    assert!(error.ends_with("it has no alternative names"), "{error}");
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused_with_the_time() {
    let authority = Authority::new("ca");
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    assert_eq!(
        connect(&client, "a.example", endpoint(&authority, expired(&["a.example"]))).await.unwrap_err(),
        "its certificate has expired on 2001-02-03T00:00:00Z"
    );
    let mut early = params(&["a.example"]);
    early.not_before = date_time_ymd(4000, 1, 1);
    assert_eq!(
        connect(&client, "a.example", endpoint(&authority, early)).await.unwrap_err(),
        "its certificate is not valid before 4000-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn a_certificate_of_an_unknown_issuer_and_one_of_an_authority_are_told_apart() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    assert_eq!(
        connect(&client, "a.example", endpoint(&other, params(&["a.example"]))).await.unwrap_err(),
        "its certificate is from an unknown issuer; `ca` names whom to believe"
    );
    let mut own = params(&["a.example"]);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let error = connect(&client, "a.example", endpoint(&authority, own)).await.unwrap_err();
    assert!(error.contains("CA:TRUE"), "{error}");
}

#[tokio::test]
async fn the_own_certificate_is_shown() {
    let authority = Authority::new("ca");
    let own = authority.sign("own", &[]);
    let server = endpoint_with(authority.sign("endpoint", &["a.example"]), Some(authority.path()));
    let shown = ClientSettings {
        client_cert: Some(own.cert.clone()),
        client_key: Some(own.key.clone()),
        ..settings(&authority)
    };
    let client = ClientTls::load(&shown).expect("loads");
    assert_eq!(connect(&client, "a.example", server.clone()).await, Ok(Some("CN=a subject".to_owned())));
    let nobody = ClientTls::load(&settings(&authority)).expect("loads");
    assert!(connect(&nobody, "a.example", server).await.is_err());
}

#[tokio::test]
async fn what_is_shown_and_whom_is_believed_is_read_again_and_a_bad_pair_changes_nothing() {
    let authority = Authority::new("ca");
    let named = |name: &str| {
        let mut params = params(&[]);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        authority.sign_params("own", params, &KeyPair::generate().expect("a key"))
    };
    let own = named("old");
    let shown = ClientSettings {
        client_cert: Some(own.cert.clone()),
        client_key: Some(own.key.clone()),
        ..settings(&authority)
    };
    let client = ClientTls::load(&shown).expect("loads");
    let clone = client.clone();
    let server = endpoint_with(authority.sign("endpoint", &["a.example"]), Some(authority.path()));
    assert_eq!(client.reload(), Ok(false));
    assert_eq!(connect(&clone, "a.example", server.clone()).await, Ok(Some("CN=old".to_owned())));

    let new = std::fs::read(named("new").key).expect("a key");
    std::fs::write(&own.key, "half of it").expect("written");
    assert!(client.reload().is_err());
    assert_eq!(connect(&clone, "a.example", server.clone()).await, Ok(Some("CN=old".to_owned())));
    std::fs::write(&own.key, new).expect("written");
    assert_eq!(client.reload(), Ok(true));
    assert_eq!(client.reload(), Ok(false));
    assert_eq!(connect(&clone, "a.example", server.clone()).await, Ok(Some("CN=new".to_owned())));

    std::fs::copy(Authority::new("another").path(), authority.path()).expect("copied");
    assert_eq!(client.reload(), Ok(true));
    let error = connect(&clone, "a.example", server).await.unwrap_err();
    assert!(error.contains("unknown issuer"), "{error}");
}

#[tokio::test]
async fn http2_is_spoken_or_the_handshake_fails() {
    let authority = Authority::new("ca");
    let server = endpoint(&authority, params(&["a.example"]));
    let client = ClientTls::load(&ClientSettings { http2: true, ..settings(&authority) }).expect("loads");
    assert!(client.is_http2());
    assert_eq!(connect(&client, "a.example", server.clone()).await, Ok(None));
    for protocols in [vec![b"http/1.1".to_vec()], vec![]] {
        let mut old = ServerConfig::clone(&server);
        old.alpn_protocols = protocols;
        assert_eq!(connect(&client, "a.example", Arc::new(old)).await.unwrap_err(), NO_HTTP2);
    }
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    assert!(!client.is_http2());
    let (near, far) = duplex(1 << 16);
    let (connected, accepted) = tokio::join!(client.connect("a.example", near), accept(server, far));
    assert_eq!(connected.expect("connected").get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    drop(accepted);
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_or_hangs_up_is_told() {
    let authority = Authority::new("ca");
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    let (near, mut far) = duplex(1 << 16);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("written");
    assert_eq!(client.connect("a.example", near).await.unwrap_err().to_string(), NO_TLS);

    let (near, far) = duplex(1 << 16);
    let hang_up = async { drop(far) };
    let (connected, ()) = tokio::join!(client.connect("a.example", near), hang_up);
    let error = connected.unwrap_err();
    assert!(
        error.to_string().contains("closed the connection") || error.kind() == io::ErrorKind::BrokenPipe,
        "{error}"
    );

    let (near, _far) = duplex(1 << 16);
    let error = client.connect("not a name", near).await.unwrap_err();
    assert_eq!(error.to_string(), "\"not a name\" is neither a name nor an address");
}

#[tokio::test]
async fn sessions_are_resumed_also_by_a_clone() {
    let authority = Authority::new("ca");
    let server = endpoint(&authority, params(&["a.example"]));
    let client = ClientTls::load(&settings(&authority)).expect("loads");
    assert_eq!(connect(&client, "a.example", server.clone()).await, Ok(None));
    let (near, far) = duplex(1 << 16);
    let again = client.clone();
    let (connected, accepted) = tokio::join!(again.connect("a.example", near), accept(server, far));
    drop(accepted);
    assert_eq!(connected.expect("connected").get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn everything_that_is_wrong_with_the_settings_is_named() {
    let authority = Authority::new("ca");
    let own = authority.sign("own", &[]);
    let wrong = ClientSettings {
        ca: Some(authority.file("no.pem")),
        server_name: Some("a b".to_owned()),
        client_cert: Some(own.cert.clone()),
        client_key: Some(authority.sign("other", &[]).key),
        http2: false,
    };
    let errors: Vec<String> = ClientTls::load(&wrong).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].contains("no.pem: can't be read"), "{errors:?}");
    assert!(errors[1].contains("is not the key of"), "{errors:?}");
    assert_eq!(errors[2], "server_name: \"a b\" is neither a name nor an address");

    let alone = ClientSettings { client_cert: Some(own.cert), ..settings(&authority) };
    assert!(ClientTls::load(&alone).unwrap_err()[0].reason.contains("`client_key`"));
    let alone = ClientSettings { client_key: Some(own.key), ..settings(&authority) };
    assert!(ClientTls::load(&alone).unwrap_err()[0].reason.contains("`client_cert`"));
}

#[test]
fn a_system_without_authorities_is_told_with_the_repair() {
    let error = system_authorities(Vec::new()).unwrap_err();
    assert!(error.reason.contains("ca-certificates"), "{error}");
    let garbage = vec![CertificateDer::from(vec![0x30])];
    assert!(system_authorities(garbage).is_err());
}
