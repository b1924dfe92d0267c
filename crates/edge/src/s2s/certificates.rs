//! What the certificate of another server proves (RFC 6120 §13.7, RFC 6125, XEP-0178).

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use stentor_jid::{JidError, domain_to_ascii, prep_domain};
use stentor_transport::{BadCertificate, CertNames, CertificateDer, Roots};

use super::discovery::literal;

/// Whether a chain leads to one of the authorities and names the domain as a server of XMPP.
///
/// # Errors
/// The reason, in words for the log.
pub(crate) fn proves(
    chain: &[CertificateDer<'static>],
    roots: &Roots,
    domain: &str,
) -> Result<(), BadCertificate> {
    let leaf = chain.first().ok_or_else(|| BadCertificate("none was shown".to_owned()))?;
    let now_secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    roots.judge(chain, now_secs)?;
    let name = tls_name(domain).map_err(|e| BadCertificate(e.to_string()))?;
    if Roots::judge_name(leaf, &name).is_ok() {
        return Ok(());
    }
    let names = CertNames::of(leaf)?;
    let is_same = |name: &str| prep_domain(name).is_ok_and(|name| name == domain);
    let by_srv = names.srv_ids.iter().any(|id| {
        id.split_once('.').is_some_and(|(service, name)| {
            service.eq_ignore_ascii_case("_xmpp-server") && is_same(name)
        })
    });
    if by_srv || names.xmpp_addrs.iter().any(|addr| is_same(addr)) {
        return Ok(());
    }
    Err(BadCertificate(format!("it does not name `{domain}`")))
}

/// A domain as TLS has it: A-labels, and addresses without brackets.
///
/// # Errors
/// It is no domain.
pub(crate) fn tls_name(domain: &str) -> Result<String, JidError> {
    if let Some(ip) = literal(domain) {
        return Ok(ip.to_string());
    }
    domain_to_ascii(domain).map(Cow::into_owned)
}
