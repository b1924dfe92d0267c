//! What the certificate of another server proves (RFC 6120 §13.7, RFC 6125, XEP-0178, RFC 7673).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stentor_jid::{JidError, domain_to_ascii, prep_domain};
use stentor_transport::{
    Associated, Association, BadCertificate, CertNames, CertificateDer, Roots,
};

use super::Federation;
use super::discovery::{NotFound, literal};
use super::rfc7673_dane::Dane;
use crate::limits::S2S_VERIFICATION_WAIT_MS;

/// What a certificate is believed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// An authority, and the names in it.
    Authority,
    /// A signed record of DNS (RFC 7673).
    Dane,
}

impl Proof {
    /// As the log has it.
    pub(crate) fn name<E>(judged: &Result<Self, E>) -> &'static str {
        match judged {
            Ok(Self::Authority) => "valid",
            Ok(Self::Dane) => "dane",
            Err(_) => "unproven",
        }
    }
}

/// Whether a chain proves to be the domain's as a server of XMPP: by one of the TLSA records if there
/// are any, else by one of the authorities.
///
/// # Errors
/// The reason, in words for the log.
pub(crate) fn proves(
    chain: &[CertificateDer<'static>],
    roots: &Roots,
    domain: &str,
    dane: &Dane,
) -> Result<Proof, BadCertificate> {
    let leaf = chain.first().ok_or_else(|| BadCertificate("none was shown".to_owned()))?;
    let now_secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if dane.associations.is_empty() {
        roots.judge(chain, now_secs)?;
        return names(leaf, domain, &dane.hosts).map(|()| Proof::Authority);
    }
    if Association::judge(&dane.associations, chain, roots, now_secs)? == Associated::ByAuthority {
        names(leaf, domain, &dane.hosts)?;
    }
    Ok(Proof::Dane)
}

/// What a chain that a connecting server showed proves a domain by. Where DNS is validated it has to be
/// like that of one of the domain's own servers (RFC 7712 §4.2): who cannot be found proves nothing.
pub(crate) async fn proven_by_caller(
    federation: Arc<Federation>,
    chain: Vec<CertificateDer<'static>>,
    domain: String,
) -> Result<Proof, String> {
    let (discovery, roots) = (&federation.discovery, &federation.roots);
    let judge =
        |dane: &Dane| proves(&chain, roots, &domain, dane).map_err(|error| error.to_string());
    if chain.is_empty() || !discovery.is_validating() || !discovery.is_by_dns(&domain) {
        return judge(&Dane::default());
    }
    let finding = async {
        let _permit = federation.verifying.acquire().await;
        discovery.find(&domain).await
    };
    let wait = Duration::from_millis(S2S_VERIFICATION_WAIT_MS);
    let found = tokio::time::timeout(wait, finding).await;
    match found.unwrap_or(Err(NotFound::NoAnswer)) {
        Ok(servers) => {
            let judged = servers.iter().map(|server| judge(&server.dane));
            judged.reduce(Result::or).unwrap_or_else(|| judge(&Dane::default()))
        }
        Err(NotFound::NoServer) => judge(&Dane::default()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a certificate names the domain, or one of the hosts that are as good (RFC 7673 §4.1).
fn names(
    leaf: &CertificateDer<'static>,
    domain: &str,
    hosts: &[String],
) -> Result<(), BadCertificate> {
    let name = tls_name(domain).map_err(|e| BadCertificate(e.to_string()))?;
    let mut dns_names = hosts.iter().chain([&name]);
    if dns_names.any(|name| Roots::judge_name(leaf, name).is_ok()) {
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// A certificate for a name, its authority, and that as one to believe.
    fn issued(name: &str) -> (Vec<CertificateDer<'static>>, Roots) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let issuer = Issuer::new(params, &key);
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let roots = Roots::from_pem(authority.pem().as_bytes()).unwrap();
        (vec![leaf.der().clone(), authority.der().clone()], roots)
    }

    fn dane(hosts: &[&str], records: &[(u8, &CertificateDer<'static>)]) -> Dane {
        let associations =
            records.iter().map(|(usage, of)| Association::new(*usage, 0, 0, of.to_vec()).unwrap());
        Dane {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            associations: associations.collect(),
            has_records: !records.is_empty(),
        }
    }

    /// RFC 7673 §4.1.
    #[test]
    fn the_name_of_a_server_counts_where_a_signed_record_leads_to_it() {
        let (shown, roots) = issued("h.example");
        let judge = |dane: &Dane| proves(&shown, &roots, "a.example", dane).ok();
        assert_eq!(judge(&dane(&[], &[])), None);
        assert_eq!(judge(&dane(&["g.example"], &[])), None);
        assert_eq!(judge(&dane(&["h.example"], &[])), Some(Proof::Authority));
        let (own, roots) = issued("a.example");
        let outcome = proves(&own, &roots, "a.example", &dane(&["h.example"], &[]));
        assert_eq!(outcome, Ok(Proof::Authority));
    }

    /// RFC 7673 §4.2, RFC 6698 §4.1, RFC 7671 §5.1 and §10.2.
    #[test]
    fn records_decide_whatever_an_authority_says() {
        let (shown, roots) = issued("a.example");
        let (other, unknown) = issued("b.example");
        let judge = |shown: &[_], roots: &Roots, records: &[_]| {
            proves(shown, roots, "a.example", &dane(&["h.example"], records)).ok()
        };
        assert_eq!(judge(&shown, &roots, &[(3, &other[0])]), None, "though an authority did");
        assert_eq!(judge(&shown, &unknown, &[(3, &shown[0])]), Some(Proof::Dane));
        assert_eq!(judge(&other, &roots, &[(3, &other[0])]), Some(Proof::Dane), "whoever it names");
        assert_eq!(judge(&shown, &unknown, &[(2, &shown[1])]), Some(Proof::Dane));
        assert_eq!(judge(&other, &roots, &[(2, &other[1])]), None, "it names somebody else");
        assert_eq!(judge(&[], &roots, &[(3, &shown[0])]), None);
    }
}
