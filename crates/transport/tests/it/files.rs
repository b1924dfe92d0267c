//! Certificates and keys as found on disk: what is refused, what is warned about, what is read.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use stentor_transport::{CertNames, Certificates, IdentityFiles, Reason};

use crate::support::{Authority, HOST, Server, client, root_store};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Fixtures under the access modes that keys should have.
fn files(dir: &Path, certificate: &str, key: &str) -> IdentityFiles {
    let copy = |name: &str| {
        let to = dir.join(name);
        std::fs::copy(fixture(name), &to).unwrap();
        to
    };
    let files = IdentityFiles { certificate: copy(certificate), key: copy(key), names: Vec::new() };
    set_mode(&files.key, 0o600);
    files
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The reason and the text of a refusal; the text must name the file and a remedy.
fn refusal(identity: IdentityFiles, file: &Path) -> (Reason, String) {
    let error = Certificates::load(vec![identity]).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&file.display().to_string()), "{text}");
    assert!(text.ends_with(error.remedy) && !error.remedy.is_empty(), "{text}");
    (error.reason, text)
}

#[test]
fn names_file_reason_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let good = Authority::shared().issue(dir.path(), &[HOST]);
    let other = Authority::shared().issue(dir.path(), &["montague.example"]);

    let missing = IdentityFiles { certificate: dir.path().join("none.pem"), ..good.clone() };
    let (reason, text) = refusal(missing.clone(), &missing.certificate);
    assert!(matches!(reason, Reason::Unreadable(_)) && text.contains("check the path"), "{text}");

    let swapped = IdentityFiles { certificate: good.key.clone(), ..good.clone() };
    assert!(matches!(refusal(swapped.clone(), &swapped.certificate).0, Reason::NoCertificate));

    let keyless = IdentityFiles { key: good.certificate.clone(), ..good.clone() };
    assert!(matches!(refusal(keyless.clone(), &keyless.key).0, Reason::NoKey));

    let mismatched = IdentityFiles { key: other.key, ..good.clone() };
    let (reason, text) = refusal(mismatched.clone(), &mismatched.key);
    assert!(matches!(reason, Reason::KeyMismatch(_)), "{text}");
    assert!(text.contains(&good.certificate.display().to_string()), "{text}");

    let broken = dir.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let broken = IdentityFiles { certificate: broken, ..good.clone() };
    assert!(matches!(refusal(broken.clone(), &broken.certificate).0, Reason::BrokenPem(_)));

    let chain = std::fs::read_to_string(&good.certificate).unwrap().repeat(11);
    let long = IdentityFiles { certificate: dir.path().join("long.pem"), ..good };
    std::fs::write(&long.certificate, chain).unwrap();
    assert!(matches!(refusal(long.clone(), &long.certificate).0, Reason::ChainTooLong));

    std::fs::write(&long.certificate, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(matches!(refusal(long.clone(), &long.certificate).0, Reason::TooBig));
    assert!(matches!(Certificates::load(vec![]).unwrap_err().reason, Reason::NoneConfigured));
}

#[test]
fn refuses_weak_keys_and_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let weak = files(dir.path(), "weak-rsa.pem", "weak-rsa-key.pem");
    assert!(matches!(refusal(weak.clone(), &weak.certificate).0, Reason::WeakKey(1_024)));
    let old = files(dir.path(), "sha1.pem", "rsa-key.pem");
    assert!(matches!(refusal(old.clone(), &old.certificate).0, Reason::WeakSignature));
    let (_, warnings) =
        Certificates::load(vec![files(dir.path(), "rsa.pem", "rsa-key.pem")]).unwrap();
    assert_eq!(warnings, []);
}

#[tokio::test]
async fn serves_rsa_with_each_strong_suite() {
    use rustls::crypto::CryptoProvider;
    use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};

    let server = Server::new();
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(fixture("rsa-key.pem")).unwrap());
    let identity = Authority::shared().issue_for(&key.unwrap(), server.dir.path(), &[HOST]);
    server.certificates.reload_from(vec![identity]).unwrap();
    for suite in [
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ] {
        let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(root_store())
            .with_no_client_auth();
        let (conn, _client) = server.welcome(config).await;
        let tls = conn.facts().tls.as_deref().unwrap();
        assert_eq!(Some(tls.cipher), suite.suite().as_str());
    }
}

#[tokio::test]
async fn warns_of_expiry_and_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let expired = Authority::shared().issue_with(dir.path(), &[HOST], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let early = Authority::shared().issue_with(dir.path(), &["montague.example"], |params| {
        params.not_before = rcgen::date_time_ymd(3000, 1, 1);
        params.not_after = rcgen::date_time_ymd(3001, 1, 1);
    });
    set_mode(&expired.key, 0o640);
    set_mode(&early.key, 0o640);
    let server = Server::new();
    let warnings = server.certificates.reload_from(vec![expired.clone(), early]).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].to_string().contains("expired") && warnings[0].file == expired.certificate);
    assert!(warnings[1].to_string().contains("not valid yet"));
    let expiries = server.certificates.expiries();
    assert_eq!(expiries[0].not_after_secs, 1_577_836_800);
    assert_eq!(expiries[1].names, ["montague.example"]);
    let (_, refused) = server.meet(client(), HOST).await;
    assert!(refused.unwrap_err().to_string().to_lowercase().contains("expired"));
}

#[test]
fn warns_of_a_key_that_everybody_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let files = Authority::shared().issue(dir.path(), &[HOST]);
    for (mode, count) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
        set_mode(&files.key, mode);
        let (_, warnings) = Certificates::load(vec![files.clone()]).unwrap();
        assert_eq!(warnings.len(), count, "{mode:o}");
    }
}

#[test]
fn reads_the_names_of_a_certificate() {
    let der = CertificateDer::from_pem_file(fixture("names.pem")).unwrap();
    let names = CertNames::of(&der).unwrap();
    assert_eq!(names.xmpp_addrs, ["juliet@capulet.example"]);
    assert_eq!(names.srv_ids, ["_xmpp-server.capulet.example"]);
    assert_eq!(names.dns_names, ["capulet.example", "*.capulet.example"]);
    assert!(CertNames::of(b"no certificate").is_err());
}

#[test]
fn hashes_the_end_point_by_the_signature_algorithm() {
    let der = |name: &str| CertificateDer::from_pem_file(fixture(name)).unwrap();
    let binding = |name: &str| stentor_transport::server_end_point(&der(name));
    let sha256 = |name: &str| digest::digest(&digest::SHA256, &der(name)).as_ref().to_vec();
    let sha384 = |name: &str| digest::digest(&digest::SHA384, &der(name)).as_ref().to_vec();
    assert_eq!(binding("rsa.pem"), Some(sha256("rsa.pem")));
    assert_eq!(binding("sha1.pem"), Some(sha256("sha1.pem")));
    assert_eq!(binding("pss-sha384.pem"), Some(sha384("pss-sha384.pem")));
    assert_eq!(binding("ed25519.pem"), None);
}
