//! One certificate chain with its key, read from files and checked before it is used.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::limits::{CHAIN_LEN_MAX, PEM_BYTES_MAX, RSA_BITS_MIN};
use crate::tls::binding::server_end_point;
use crate::tls::peer_cert::{CertNames, fingerprint};
use crate::tls::provider::provider;

/// Where a certificate and its key are, and for whom they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key; may be the same file.
    pub key: PathBuf,
    /// Server names (A-labels) that this certificate is to be used for whatever it says itself.
    pub names: Vec<String>,
}

/// A loaded certificate chain and key.
pub(crate) struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    /// Names to be chosen by, in lower case; `*.` in front of wildcards. Configured ones first.
    pub(crate) names: Vec<String>,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) server_end_point: Option<Arc<[u8]>>,
    pub(crate) not_before_secs: i64,
    pub(crate) not_after_secs: i64,
    pub(crate) file: PathBuf,
}

impl Identity {
    pub(crate) fn load(
        files: &IdentityFiles,
        now_secs: i64,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, LoadError> {
        let chain_pem = read(&files.certificate)?;
        let key_pem = read(&files.key)?;
        let chain = chain(&files.certificate, &chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
            LoadError::new(&files.key, Reason::NoKey, "name the file with the PEM private key")
        })?;
        let leaf = chain.first().cloned().expect("chain() returns at least one");
        let about = About::read(&files.certificate, &leaf)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => LoadError::new(
                &files.key,
                Reason::KeyMismatch(files.certificate.clone()),
                "use the key that the certificate was requested with",
            ),
            other => LoadError::new(&files.key, Reason::Unusable(other.to_string()), NEW_KEY),
        })?;
        let configured = files.names.iter().map(|name| name.to_ascii_lowercase());
        let identity = Self {
            names: configured.chain(about.dns_names).collect(),
            fingerprint: fingerprint(&leaf),
            server_end_point: server_end_point(&leaf).map(Arc::from),
            not_before_secs: about.not_before_secs,
            not_after_secs: about.not_after_secs,
            file: files.certificate.clone(),
            key: Arc::new(key),
        };
        identity.warn(now_secs, warnings);
        warn_about_mode(&files.key, warnings);
        Ok(identity)
    }

    fn warn(&self, now_secs: i64, warnings: &mut Vec<Warning>) {
        if now_secs > self.not_after_secs {
            let days = (now_secs - self.not_after_secs) / 86_400;
            warnings.push(Warning {
                file: self.file.clone(),
                text: format!("the certificate expired {days} days ago; renew it and reload"),
            });
        }
        if now_secs < self.not_before_secs {
            warnings.push(Warning {
                file: self.file.clone(),
                text: "the certificate is not valid yet; check the clock of this machine".into(),
            });
        }
        if self.names.is_empty() {
            warnings.push(Warning {
                file: self.file.clone(),
                text: "the certificate names no host; it serves as default only".into(),
            });
        }
    }
}

/// Something about a certificate that an administrator should see to, though it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file concerned.
    pub file: PathBuf,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.text)
    }
}

/// Why a certificate or key was not loaded: the file, the reason and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}; {remedy}", file.display())]
pub struct LoadError {
    /// The file concerned.
    pub file: PathBuf,
    /// What is wrong.
    pub reason: Reason,
    /// What to do about it.
    pub remedy: &'static str,
}

impl LoadError {
    pub(crate) fn new(file: &Path, reason: Reason, remedy: &'static str) -> Self {
        Self { file: file.to_owned(), reason, remedy }
    }
}

/// The reasons of a [`LoadError`].
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The operating system refused to read the file.
    #[error("cannot be read ({0})")]
    Unreadable(std::io::Error),
    /// More than [`PEM_BYTES_MAX`] bytes.
    #[error("is larger than a certificate file can be")]
    TooBig,
    /// No `BEGIN CERTIFICATE` block.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// A `BEGIN CERTIFICATE` block that does not decode.
    #[error("holds broken PEM ({0})")]
    BrokenPem(String),
    /// More than [`CHAIN_LEN_MAX`] certificates.
    #[error("holds more than {CHAIN_LEN_MAX} certificates")]
    ChainTooLong,
    /// No private key block, or an encrypted one.
    #[error("holds no unencrypted PEM private key")]
    NoKey,
    /// The public key in the certificate (path given) is another one.
    #[error("the key does not belong to the certificate in {}", .0.display())]
    KeyMismatch(PathBuf),
    /// An RSA key of so many bits.
    #[error("has an RSA key of {0} bits, at least {RSA_BITS_MIN} are required")]
    WeakKey(usize),
    /// Signed with MD5 or SHA-1.
    #[error("is signed with an outdated hash (MD5 or SHA-1)")]
    WeakSignature,
    /// Anything else.
    #[error("cannot be used ({0})")]
    Unusable(String),
    /// A set without any certificate.
    #[error("no certificate is configured")]
    NoneConfigured,
}

/// What a certificate of ours says of itself.
struct About {
    dns_names: Vec<String>,
    not_before_secs: i64,
    not_after_secs: i64,
}

impl About {
    /// Refuses what RFC 9325 §4 forbids.
    fn read(file: &Path, leaf: &CertificateDer<'_>) -> Result<Self, LoadError> {
        let unusable = |text| LoadError::new(file, Reason::Unusable(text), NEW_CERTIFICATE);
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| unusable(e.to_string()))?;
        if let Ok(PublicKey::RSA(rsa)) = parsed.public_key().parsed()
            && rsa.key_size() < RSA_BITS_MIN
        {
            return Err(LoadError::new(file, Reason::WeakKey(rsa.key_size()), NEW_KEY));
        }
        let algorithm = parsed.signature_algorithm.algorithm.to_id_string();
        if WEAK_SIGNATURES.contains(&algorithm.as_str()) {
            return Err(LoadError::new(file, Reason::WeakSignature, NEW_CERTIFICATE));
        }
        Ok(Self {
            dns_names: CertNames::of(leaf).map_err(|e| unusable(e.to_string()))?.dns_names,
            not_before_secs: parsed.validity().not_before.timestamp(),
            not_after_secs: parsed.validity().not_after.timestamp(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let refuse = |e: std::io::Error| {
        let remedy = match e.kind() {
            std::io::ErrorKind::NotFound => "check the path in the configuration",
            std::io::ErrorKind::PermissionDenied => {
                "let the user that the server runs as read the file and enter its folders"
            }
            _ => "check the file",
        };
        LoadError::new(path, Reason::Unreadable(e), remedy)
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(refuse)?;
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refuse)?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(LoadError::new(path, Reason::TooBig, "check the path in the configuration"));
    }
    Ok(bytes)
}

/// At least one certificate, leaf first.
fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| LoadError::new(path, Reason::BrokenPem(e.to_string()), NEW_CERTIFICATE))?;
    match chain.len() {
        0 => Err(LoadError::new(
            path,
            Reason::NoCertificate,
            "name the file with the PEM chain, the server's own certificate first",
        )),
        len if len > CHAIN_LEN_MAX => {
            Err(LoadError::new(path, Reason::ChainTooLong, "leave out what is not of this chain"))
        }
        _ => Ok(chain),
    }
}

#[cfg(unix)]
fn warn_about_mode(key: &Path, warnings: &mut Vec<Warning>) {
    use std::os::unix::fs::PermissionsExt;

    // Group access is how keys are commonly shared with the user of a service.
    if let Ok(facts) = fs::metadata(key)
        && facts.permissions().mode() & 0o007 != 0
    {
        warnings.push(Warning {
            file: key.to_owned(),
            text: format!(
                "the private key is open to every user of this machine; `chmod 640 {}`",
                key.display()
            ),
        });
    }
}

#[cfg(not(unix))]
fn warn_about_mode(_key: &Path, _warnings: &mut Vec<Warning>) {}

const NEW_KEY: &str = "make a new key (ECDSA P-256, or RSA with 2048 bits or more)";
const NEW_CERTIFICATE: &str = "obtain the certificate anew";

/// MD5 and SHA-1 with RSA, SHA-1 with ECDSA (RFC 9155 deprecates them).
const WEAK_SIGNATURES: [&str; 3] =
    ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];
