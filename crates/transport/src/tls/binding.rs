//! Channel binding data: `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929 §4).
//!
//! The unbuffered connection has no exporter function. What it has is a key log, whose label
//! `EXPORTER_SECRET` carries the exporter secret of TLS 1.3 (RFC 8446 §7.1). [`ExporterTap`] takes
//! that label and no other, [`take_secret`] hands it to the handshake that runs on this thread,
//! and [`tls_exporter`] does the last two steps of RFC 8446 §7.5. With TLS 1.2 there is no
//! exporter value here: `tls-server-end-point` is what remains.

use std::cell::RefCell;

use aws_lc_rs::{digest, hkdf};
use rustls::KeyLog;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::RsaSsaPssParams;
use zeroize::Zeroizing;

/// The exporter secret of one TLS 1.3 connection; wiped when dropped.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// Hash function of the negotiated cipher suite.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SuiteHash {
    Sha256,
    Sha384,
}

/// Key log that keeps the exporter secret for [`take_secret`] and nothing else.
#[derive(Debug)]
pub(crate) struct ExporterTap;

impl KeyLog for ExporterTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == LABEL {
            TAPPED.set(Some(Zeroizing::new(secret.to_vec())));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == LABEL
    }
}

/// Takes the secret that the last call into TLS on this thread produced.
///
/// To be asked right after each such call: nothing may run in between.
pub(crate) fn take_secret() -> Option<Secret> {
    TAPPED.take()
}

/// The 32 bytes of `tls-exporter`: label `EXPORTER-Channel-Binding`, empty context (RFC 9266 §2).
pub(crate) fn tls_exporter(secret: &[u8], hash: SuiteHash) -> Option<[u8; 32]> {
    let (hkdf_algorithm, digest_algorithm) = match hash {
        SuiteHash::Sha256 => (hkdf::HKDF_SHA256, &digest::SHA256),
        SuiteHash::Sha384 => (hkdf::HKDF_SHA384, &digest::SHA384),
    };
    let empty = digest::digest(digest_algorithm, b"");
    let derived = Zeroizing::new(expand_label(
        hkdf_algorithm,
        secret,
        b"EXPORTER-Channel-Binding",
        empty.as_ref(),
        digest_algorithm.output_len(),
    )?);
    expand_label(hkdf_algorithm, &derived, b"exporter", empty.as_ref(), 32)?.try_into().ok()
}

/// The hash of a certificate that `tls-server-end-point` binds to (RFC 5929 §4.1).
///
/// `None` if the signature algorithm has no single hash function (Ed25519) or one we do not know.
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm;
    let oid = algorithm.algorithm.to_id_string();
    let hash_oid = if oid == RSASSA_PSS {
        let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
        parameters.hash_algorithm_oid().to_id_string()
    } else {
        oid
    };
    let (_, hash) = END_POINT_HASHES.iter().find(|(known, _)| *known == hash_oid)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// HKDF-Expand-Label of RFC 8446 §7.1.
fn expand_label(
    algorithm: hkdf::Algorithm,
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    len: usize,
) -> Option<Vec<u8>> {
    const PREFIX: &[u8] = b"tls13 ";
    let len_bytes = u16::try_from(len).ok()?.to_be_bytes();
    let label_len = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_len = [u8::try_from(context.len()).ok()?];
    let info = [&len_bytes[..], &label_len, PREFIX, label, &context_len, context];
    let mut out = vec![0; len];
    let prk = hkdf::Prk::new_less_safe(algorithm, secret);
    prk.expand(&info, Len(len)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

thread_local! {
    static TAPPED: RefCell<Option<Secret>> = const { RefCell::new(None) };
}

const LABEL: &str = "EXPORTER_SECRET";

const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// Signature algorithms and bare hashes (as in RSASSA-PSS parameters) by object identifier.
/// RFC 5929 §4.1: MD5 and SHA-1 count as SHA-256.
static END_POINT_HASHES: [(&str, &digest::Algorithm); 17] = [
    ("1.2.840.113549.1.1.4", &digest::SHA256), // md5WithRSAEncryption
    ("1.2.840.113549.1.1.5", &digest::SHA256), // sha1WithRSAEncryption
    ("1.2.840.113549.1.1.14", &digest::SHA224), // sha224WithRSAEncryption
    ("1.2.840.113549.1.1.11", &digest::SHA256), // sha256WithRSAEncryption
    ("1.2.840.113549.1.1.12", &digest::SHA384), // sha384WithRSAEncryption
    ("1.2.840.113549.1.1.13", &digest::SHA512), // sha512WithRSAEncryption
    ("1.2.840.10045.4.1", &digest::SHA256),    // ecdsa-with-SHA1
    ("1.2.840.10045.4.3.1", &digest::SHA224),  // ecdsa-with-SHA224
    ("1.2.840.10045.4.3.2", &digest::SHA256),  // ecdsa-with-SHA256
    ("1.2.840.10045.4.3.3", &digest::SHA384),  // ecdsa-with-SHA384
    ("1.2.840.10045.4.3.4", &digest::SHA512),  // ecdsa-with-SHA512
    ("1.3.14.3.2.26", &digest::SHA256),        // id-sha1
    ("2.16.840.1.101.3.4.2.4", &digest::SHA224),
    ("2.16.840.1.101.3.4.2.1", &digest::SHA256),
    ("2.16.840.1.101.3.4.2.2", &digest::SHA384),
    ("2.16.840.1.101.3.4.2.3", &digest::SHA512),
    ("1.2.840.113549.2.5", &digest::SHA256), // md5
];
