//! A certificate authority of one's own, for development.
//!
//! Made once and kept in a folder, so that trusting it once is enough: the leaf is renewed when it
//! is about to expire or when it is to name other hosts, the authority stays. Keys are readable by
//! the owner only. Not for production: nobody else trusts it, and nothing can be revoked.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::{DEV_CA_DAYS, DEV_LEAF_DAYS, DEV_RENEW_DAYS};
use crate::tls::{IdentityFiles, now_secs};

/// Where the files of the development authority are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCa {
    /// The certificate of the authority: what people tell their devices to trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// Whether the authority was made just now.
    pub is_new: bool,
    /// Whether the server's certificate was made just now.
    pub is_renewed: bool,
}

impl DevCa {
    /// The server's certificate as [`crate::Certificates::load`] takes it.
    pub fn identity(&self) -> IdentityFiles {
        IdentityFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            names: Vec::new(),
        }
    }
}

/// Opens the authority in `dir`, makes what is missing there, and renews what is due.
///
/// The certificate names the given hosts (A-labels; wildcards may stand), `localhost`, `127.0.0.1`
/// and `::1`.
///
/// # Errors
/// If the folder cannot be used or a name cannot stand in a certificate.
pub fn open(dir: &Path, hosts: &[String]) -> Result<DevCa, DevCaError> {
    open_at(dir, hosts, now_secs())
}

/// Why there is no development authority.
#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}; let the server's user write there", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate cannot be made, as for a host name that is not ASCII.
    #[error("cannot make a development certificate: {0}")]
    Make(#[from] rcgen::Error),
}

fn open_at(dir: &Path, hosts: &[String], now: i64) -> Result<DevCa, DevCaError> {
    fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
    let [authority, authority_key, certificate, key] =
        ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"].map(|name| dir.join(name));
    let names = names(hosts);

    let kept = kept_authority(&authority, &authority_key, now)?;
    let is_new = kept.is_none();
    let ca_key = match kept {
        Some(key) => key,
        None => make_authority(&authority, &authority_key, now)?,
    };
    let ca_params = authority_params(&ca_key, now)?;
    let is_renewed = is_new || !is_leaf_good(&authority, &certificate, &key, &names, now);
    if is_renewed {
        make_leaf(&Issuer::new(ca_params, ca_key), &certificate, &key, names, now)?;
    }
    Ok(DevCa { authority, certificate, key, is_new, is_renewed })
}

/// Sorted and without repetition, so that they compare.
fn names(hosts: &[String]) -> Vec<String> {
    let fixed = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names: Vec<_> =
        hosts.iter().map(|host| host.to_ascii_lowercase()).chain(fixed).collect();
    names.sort();
    names.dedup();
    names
}

/// The key of an authority that is there, belongs to its certificate and is good for a while.
fn kept_authority(
    authority: &Path,
    authority_key: &Path,
    now: i64,
) -> Result<Option<KeyPair>, DevCaError> {
    let (Some(certificate), Some(key)) = (read_if_there(authority)?, read_if_there(authority_key)?)
    else {
        return Ok(None);
    };
    let Ok(key) = KeyPair::from_pem(&String::from_utf8_lossy(&key)) else {
        return Ok(None);
    };
    let is_good = CertificateDer::from_pem_slice(&certificate).is_ok_and(|der| {
        X509Certificate::from_der(&der)
            .is_ok_and(|(_, parsed)| is_far_from_expiry(&parsed, now) && has_key(&parsed, &key))
    });
    Ok(is_good.then_some(key))
}

fn make_authority(authority: &Path, authority_key: &Path, now: i64) -> Result<KeyPair, DevCaError> {
    let key = KeyPair::generate()?;
    let certificate = authority_params(&key, now)?.self_signed(&key)?;
    write(authority_key, &key.serialize_pem(), 0o600)?;
    write(authority, &certificate.pem(), 0o644)?;
    Ok(key)
}

/// The name depends on the key alone: it is made again to sign a leaf, and two authorities in one
/// trust store can be told apart.
fn authority_params(key: &KeyPair, now: i64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let id = crate::tls::fingerprint(key.public_key_raw());
    let name =
        format!("Stentor development CA {:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, DEV_CA_DAYS);
    Ok(params)
}

fn make_leaf(
    issuer: &Issuer<'_, KeyPair>,
    certificate: &Path,
    key: &Path,
    names: Vec<String>,
    now: i64,
) -> Result<(), DevCaError> {
    let leaf_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Stentor development server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, DEV_LEAF_DAYS);
    let leaf = params.signed_by(&leaf_key, issuer)?;
    write(key, &leaf_key.serialize_pem(), 0o600)?;
    write(certificate, &leaf.pem(), 0o644)
}

/// From a day ago, for clocks that are behind.
fn validity(params: &mut CertificateParams, now: i64, days: u64) {
    let now = Duration::from_secs(u64::try_from(now).unwrap_or_default());
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + Duration::from_secs(days * DAY.as_secs());
}

/// Whether the leaf is of this authority, for these names, with this key, and good for a while.
fn is_leaf_good(
    authority: &Path,
    certificate: &Path,
    key: &Path,
    names: &[String],
    now: i64,
) -> bool {
    let Ok(key) = fs::read_to_string(key) else { return false };
    let Ok(key) = KeyPair::from_pem(&key) else { return false };
    let Ok(ca) = CertificateDer::from_pem_file(authority) else { return false };
    let Ok(leaf) = CertificateDer::from_pem_file(certificate) else { return false };
    let Ok((_, ca)) = X509Certificate::from_der(&ca) else { return false };
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf) else { return false };
    leaf.issuer().as_raw() == ca.subject().as_raw()
        // A clock that was wrong once must not keep clients out for years. The authority stays all the
        // same: clients trust it, and it is this clock that may be behind.
        && leaf.validity().not_before.timestamp() <= now
        && is_far_from_expiry(&leaf, now)
        && has_key(&leaf, &key)
        && leaf_names(&leaf) == names
}

fn leaf_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                return Some(std::net::Ipv4Addr::from(v4).to_string());
            }
            let v6 = <[u8; 16]>::try_from(*bytes).ok()?;
            Some(std::net::Ipv6Addr::from(v6).to_string())
        }
        _ => None,
    };
    let mut names: Vec<_> = extension.value.general_names.iter().filter_map(name).collect();
    names.sort();
    names
}

fn is_far_from_expiry(certificate: &X509Certificate<'_>, now: i64) -> bool {
    let margin = i64::try_from(DEV_RENEW_DAYS * DAY.as_secs()).unwrap_or(i64::MAX);
    certificate.validity().not_after.timestamp().saturating_sub(margin) > now
}

fn has_key(certificate: &X509Certificate<'_>, key: &KeyPair) -> bool {
    *certificate.public_key().subject_public_key.data == *key.public_key_raw()
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DevCaError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at(path, e)),
    }
}

/// Writes a file as a whole or not at all, never readable to others than `mode` says.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevCaError> {
    let draft = path.with_extension("new");
    let attempt = || {
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    attempt().map_err(|e| at(path, e))
}

fn at(file: &Path, source: io::Error) -> DevCaError {
    DevCaError::Io { file: file.to_owned(), source }
}

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;
    const DAY_SECS: i64 = 86_400;

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn keeps_authority_and_leaf_while_they_are_good() {
        let dir = tempfile::tempdir().unwrap();
        let first = open_at(dir.path(), &hosts(&["capulet.example"]), NOW).unwrap();
        assert!(first.is_new && first.is_renewed);
        let bytes = fs::read(&first.certificate).unwrap();
        let second = open_at(dir.path(), &hosts(&["capulet.example"]), NOW + DAY_SECS).unwrap();
        assert!(!second.is_new && !second.is_renewed);
        assert_eq!(fs::read(&second.certificate).unwrap(), bytes);
    }

    #[test]
    fn renews_the_leaf_alone_near_its_expiry_and_for_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let first = open_at(dir.path(), &hosts(&["capulet.example"]), NOW).unwrap();
        let ca = fs::read(&first.authority).unwrap();
        let late = NOW + (397 - 30) * DAY_SECS;
        let renewed = open_at(dir.path(), &hosts(&["capulet.example"]), late).unwrap();
        assert!(!renewed.is_new && renewed.is_renewed);
        let other = open_at(dir.path(), &hosts(&["montague.example"]), late).unwrap();
        assert!(!other.is_new && other.is_renewed);
        assert_eq!(fs::read(&first.authority).unwrap(), ca);
    }

    #[test]
    fn a_leaf_of_the_future_is_made_anew_and_the_authority_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = open_at(dir.path(), &[], NOW).unwrap();
        let authority = fs::read(&first.authority).unwrap();
        assert!(open_at(dir.path(), &[], NOW + 700 * DAY_SECS).unwrap().is_renewed);
        let again = open_at(dir.path(), &[], NOW + DAY_SECS).unwrap();
        assert!(!again.is_new && again.is_renewed);
        assert_eq!(fs::read(&first.authority).unwrap(), authority);
        assert!(!open_at(dir.path(), &[], NOW + 2 * DAY_SECS).unwrap().is_renewed);
    }

    #[test]
    fn makes_a_new_authority_when_the_old_one_expires_or_lost_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = open_at(dir.path(), &[], NOW).unwrap();
        let old = fs::read(&first.authority).unwrap();
        let late = NOW + (3_650 - 30) * DAY_SECS;
        assert!(open_at(dir.path(), &[], late).unwrap().is_new);
        assert_ne!(fs::read(&first.authority).unwrap(), old);
        fs::remove_file(dir.path().join("ca-key.pem")).unwrap();
        let again = open_at(dir.path(), &[], late).unwrap();
        assert!(again.is_new && again.is_renewed);
    }

    #[test]
    fn leads_from_the_leaf_to_the_authority_for_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let made = open_at(dir.path(), &hosts(&["capulet.example"]), NOW).unwrap();
        let roots = crate::Roots::from_pem(&fs::read(&made.authority).unwrap()).unwrap();
        let leaf = CertificateDer::from_pem_file(&made.certificate).unwrap();
        roots.judge(std::slice::from_ref(&leaf), NOW.unsigned_abs()).unwrap();
        for name in ["capulet.example", "localhost", "127.0.0.1", "::1"] {
            crate::Roots::judge_name(&leaf, name).unwrap();
        }
        assert!(crate::Roots::judge_name(&leaf, "montague.example").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn keeps_keys_to_the_owner() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        open_at(dir.path(), &[], NOW).unwrap();
        for name in ["ca-key.pem", "server-key.pem"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
