//! RFC 6698, RFC 7671: what signed records of DNS say of a server's certificate (DANE).
//!
//! Implements: all usages, selectors and matching types of RFC 6698 §2.1; which records are usable
//! (RFC 6698 §4.1); DANE-EE without names and dates (RFC 7671 §5.1); trust anchors that only the
//! record has (RFC 7671 §5.2.2, §5.2.3); the strongest digest alone (RFC 7671 §9).
//! Left out: the length of paths below a trust anchor of DANE-TA (RFC 7671 §5.2.1).

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, Der, TrustAnchor};
use x509_parser::asn1_rs::{FromDer as _, Sequence};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::tls::peer_cert::{BadCertificate, Roots};

/// One usable record: a certificate or key, and what it is to the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Association {
    usage: Usage,
    selector: Selector,
    matching: Matching,
    data: Vec<u8>,
}

/// What a chain has been shown to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Associated {
    /// Its key, or certificate, is the server's whatever the certificate says (RFC 7671 §5.1).
    Itself,
    /// An authority made it that may: its names still count (RFC 7671 §10.2).
    ByAuthority,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Usage {
    PkixTa,
    PkixEe,
    DaneTa,
    DaneEe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Selector {
    Cert,
    Spki,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Matching {
    Full,
    Sha256,
    Sha512,
}

impl Association {
    /// Reads the fields of a record; none if it is not usable (RFC 6698 §4.1).
    #[must_use]
    pub fn new(usage: u8, selector: u8, matching: u8, data: Vec<u8>) -> Option<Self> {
        let usage = match usage {
            0 => Usage::PkixTa,
            1 => Usage::PkixEe,
            2 => Usage::DaneTa,
            3 => Usage::DaneEe,
            _ => return None,
        };
        let selector = match selector {
            0 => Selector::Cert,
            1 => Selector::Spki,
            _ => return None,
        };
        let matching = match matching {
            0 => Matching::Full,
            1 => Matching::Sha256,
            2 => Matching::Sha512,
            _ => return None,
        };
        let is_well_formed = match (matching, selector) {
            (Matching::Sha256, _) => data.len() == 32,
            (Matching::Sha512, _) => data.len() == 64,
            (Matching::Full, Selector::Cert) => is_all(X509Certificate::from_der(&data)),
            (Matching::Full, Selector::Spki) => is_all(SubjectPublicKeyInfo::from_der(&data)),
        };
        is_well_formed.then_some(Self { usage, selector, matching, data })
    }

    /// Keeps of each usage and selector what is whole or has the strongest digest (RFC 7671 §9).
    #[must_use]
    pub fn strongest(all: &[Self]) -> Vec<Self> {
        let best = |a: &Self| {
            let same = all.iter().filter(|b| (b.usage, b.selector) == (a.usage, a.selector));
            same.map(|b| b.matching).max()
        };
        let is_kept = |a: &&Self| a.matching == Matching::Full || Some(a.matching) == best(a);
        all.iter().filter(is_kept).cloned().collect()
    }

    /// Whether a chain, leaf first, is what one of the associations says, at `now_secs` (Unix time).
    ///
    /// # Errors
    /// The reason, in words for the log.
    pub fn judge(
        all: &[Self],
        chain: &[CertificateDer<'_>],
        roots: &Roots,
        now_secs: u64,
    ) -> Result<Associated, BadCertificate> {
        let (leaf, above) =
            chain.split_first().ok_or_else(|| BadCertificate("none was shown".to_owned()))?;
        let of = |usage: Usage| all.iter().filter(move |a| a.usage == usage);
        if of(Usage::DaneEe).any(|a| a.matches(leaf)) {
            return Ok(Associated::Itself);
        }
        let mut reason = BadCertificate("no TLSA record matches it".to_owned());
        let mut ask = |verdict: Result<(), BadCertificate>| match verdict {
            Ok(()) => true,
            Err(error) => {
                reason = error;
                false
            }
        };
        let is_known_leaf = of(Usage::PkixEe).any(|a| a.matches(leaf));
        if is_known_leaf && ask(roots.judge(chain, now_secs)) {
            return Ok(Associated::ByAuthority);
        }
        // RFC 6698 §2.1.1: an authority of a valid path, the one at its end included.
        let of_path = || above.iter().chain(roots.certificates.iter());
        let named = of_path().filter(|ca| of(Usage::PkixTa).any(|a| a.matches(ca)));
        let named: Vec<_> = named.cloned().collect();
        if !named.is_empty()
            && ask(roots.judge(chain, now_secs))
            && ask(below(&named, Vec::new())?.judge(chain, now_secs))
        {
            return Ok(Associated::ByAuthority);
        }
        let (anchors, keys) = anchors(of(Usage::DaneTa), chain);
        let has_any = !anchors.is_empty() || !keys.is_empty();
        if has_any && ask(below(&anchors, keys)?.judge(chain, now_secs)) {
            return Ok(Associated::ByAuthority);
        }
        Err(reason)
    }

    fn matches(&self, certificate: &[u8]) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
        let selected = match self.selector {
            Selector::Cert => certificate,
            Selector::Spki => parsed.tbs_certificate.subject_pki.raw,
        };
        match self.matching {
            Matching::Full => selected == self.data,
            Matching::Sha256 => digest::digest(&digest::SHA256, selected).as_ref() == self.data,
            Matching::Sha512 => digest::digest(&digest::SHA512, selected).as_ref() == self.data,
        }
    }
}

/// The trust anchors of DANE-TA: certificates above the leaf that match, those that the records
/// have whole (RFC 7671 §5.2.2), and keys that may have signed the topmost one (RFC 7671 §5.2.3).
fn anchors<'a>(
    records: impl Iterator<Item = &'a Association>,
    chain: &[CertificateDer<'_>],
) -> (Vec<CertificateDer<'static>>, Vec<TrustAnchor<'static>>) {
    let (mut certificates, mut keys) = (Vec::new(), Vec::new());
    for record in records {
        let above = chain.iter().skip(1).filter(|ca| record.matches(ca));
        certificates.extend(above.map(|ca| ca.clone().into_owned()));
        match (record.matching, record.selector) {
            (Matching::Full, Selector::Cert) => {
                certificates.push(CertificateDer::from(record.data.clone()));
            }
            (Matching::Full, Selector::Spki) => keys.extend(signer(chain, &record.data)),
            _ => {}
        }
    }
    (certificates, keys)
}

/// Whoever is said to have signed the topmost certificate, if this is its key.
fn signer(chain: &[CertificateDer<'_>], key: &[u8]) -> Option<TrustAnchor<'static>> {
    let (_, topmost) = X509Certificate::from_der(chain.last()?).ok()?;
    let content = |der: &[u8]| Some(Sequence::from_der(der).ok()?.1.content.into_owned());
    Some(TrustAnchor {
        subject: Der::from(content(topmost.tbs_certificate.issuer.as_raw())?),
        subject_public_key_info: Der::from(content(key)?),
        name_constraints: None,
    })
}

/// These authorities and no others.
fn below(
    certificates: &[CertificateDer<'_>],
    keys: Vec<TrustAnchor<'static>>,
) -> Result<Roots, BadCertificate> {
    let mut store = RootCertStore { roots: keys };
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|e| BadCertificate(e.to_string()))?;
    }
    Ok(Roots::of(store, Vec::new()))
}

/// Whether something was read, to its last byte.
fn is_all<T, E>(read: Result<(&[u8], T), E>) -> bool {
    read.is_ok_and(|(rest, _)| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// In the validity of what rcgen makes.
    const NOW_SECS: u64 = 1_800_000_000;

    /// A certificate and its key, and an authority over both.
    struct Chain {
        leaf: CertificateDer<'static>,
        ca: CertificateDer<'static>,
        ca_key: Vec<u8>,
    }

    impl Chain {
        fn new(ca_name: &str) -> Self {
            let ca_key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, ca_name);
            let ca = params.self_signed(&ca_key).unwrap().der().clone();
            let issuer = Issuer::new(params, &ca_key);
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
            let (_, parsed) = X509Certificate::from_der(&ca).unwrap();
            let ca_key = parsed.tbs_certificate.subject_pki.raw.to_vec();
            Self { leaf, ca: ca.clone(), ca_key }
        }

        fn roots(&self) -> Roots {
            let mut store = RootCertStore::empty();
            store.add(self.ca.clone()).unwrap();
            Roots::of(store, vec![self.ca.clone()])
        }

        fn shown(&self) -> Vec<CertificateDer<'static>> {
            vec![self.leaf.clone(), self.ca.clone()]
        }
    }

    fn nobody() -> Roots {
        Roots::of(RootCertStore::empty(), Vec::new())
    }

    fn selected(certificate: &[u8], selector: u8) -> Vec<u8> {
        let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
        match selector {
            0 => certificate.to_vec(),
            _ => parsed.tbs_certificate.subject_pki.raw.to_vec(),
        }
    }

    fn record(usage: u8, selector: u8, matching: u8, certificate: &[u8]) -> Association {
        let data = selected(certificate, selector);
        let data = match matching {
            0 => data,
            1 => digest::digest(&digest::SHA256, &data).as_ref().to_vec(),
            _ => digest::digest(&digest::SHA512, &data).as_ref().to_vec(),
        };
        Association::new(usage, selector, matching, data).unwrap()
    }

    fn judge(
        records: &[Association],
        shown: &[CertificateDer<'static>],
        roots: &Roots,
    ) -> Option<Associated> {
        Association::judge(records, shown, roots, NOW_SECS).ok()
    }

    #[test]
    fn every_usage_selector_and_matching_type_is_understood() {
        let (ours, other) = (Chain::new("ours"), Chain::new("other"));
        let known = ours.roots();
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            for (usage, certificate, proven) in [
                (3, &ours.leaf, Associated::Itself),
                (2, &ours.ca, Associated::ByAuthority),
                (1, &ours.leaf, Associated::ByAuthority),
                (0, &ours.ca, Associated::ByAuthority),
            ] {
                let case = format!("{usage} {selector} {matching}");
                let record = [record(usage, selector, matching, certificate)];
                assert_eq!(judge(&record, &ours.shown(), &known), Some(proven), "{case}");
                assert_eq!(judge(&record, &other.shown(), &known), None, "{case}, another chain");
                // The usages of PKIX demand a known authority as well, those of DANE do not.
                let without = (usage >= 2).then_some(proven);
                assert_eq!(judge(&record, &ours.shown(), &nobody()), without, "{case}, unknown");
            }
        }
    }

    #[test]
    fn an_authority_need_not_be_shown_where_it_is_known_or_whole_in_the_record() {
        let ours = Chain::new("ours");
        let alone = [ours.leaf.clone()];
        for (usage, selector, matching, proven) in [
            // The root that ends the path is known here.
            (0, 0, 1, true),
            (0, 1, 2, true),
            // RFC 7671 §5.2.2 and §5.2.3.
            (2, 0, 0, true),
            (2, 1, 0, true),
            (2, 0, 1, false),
            (2, 1, 1, false),
        ] {
            let record = [record(usage, selector, matching, &ours.ca)];
            let outcome = judge(&record, &alone, &ours.roots());
            assert_eq!(outcome.is_some(), proven, "{usage} {selector} {matching}");
        }
        let other = Association::new(2, 1, 0, Chain::new("ours").ca_key).unwrap();
        assert_eq!(judge(&[other], &alone, &ours.roots()), None, "another key of the same name");
    }

    #[test]
    fn the_key_of_the_server_counts_without_dates_and_authorities_with_them() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["else.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        let leaf = params.self_signed(&key).unwrap().der().clone();
        let shown = [leaf.clone()];
        assert_eq!(judge(&[record(3, 1, 1, &leaf)], &shown, &nobody()), Some(Associated::Itself));
        assert_eq!(judge(&[record(1, 1, 1, &leaf)], &shown, &nobody()), None);
        assert_eq!(judge(&[record(2, 1, 1, &leaf)], &shown, &nobody()), None, "no authority");
        let ours = Chain::new("ours");
        let late = Association::judge(
            &[record(2, 0, 1, &ours.ca)],
            &ours.shown(),
            &nobody(),
            u64::from(u32::MAX) * 1_000,
        );
        assert!(late.unwrap_err().0.contains("expired"));
    }

    #[test]
    fn one_record_of_many_is_enough() {
        let (ours, other) = (Chain::new("ours"), Chain::new("other"));
        let records =
            [record(3, 1, 1, &other.leaf), record(2, 0, 1, &other.ca), record(3, 0, 2, &ours.leaf)];
        assert_eq!(judge(&records, &ours.shown(), &nobody()), Some(Associated::Itself));
        let reason = Association::judge(&records[..2], &ours.shown(), &nobody(), NOW_SECS);
        assert_eq!(reason.unwrap_err().0, "no TLSA record matches it");
        assert_eq!(judge(&records, &[], &nobody()), None, "no certificate at all");
    }

    #[test]
    fn what_is_unknown_or_malformed_is_not_usable() {
        let ours = Chain::new("ours");
        for (usage, selector, matching, data) in [
            (4, 0, 1, vec![0; 32]),
            (255, 0, 1, vec![0; 32]),
            (3, 2, 1, vec![0; 32]),
            (3, 0, 3, vec![0; 32]),
            (3, 0, 1, vec![0; 31]),
            (3, 0, 2, vec![0; 32]),
            (3, 0, 0, vec![0; 32]),
            (3, 1, 0, selected(&ours.leaf, 0)),
            (3, 0, 0, [selected(&ours.leaf, 0), vec![0]].concat()),
        ] {
            let case = format!("{usage} {selector} {matching}");
            assert_eq!(Association::new(usage, selector, matching, data), None, "{case}");
        }
    }

    /// The example of RFC 7671 §9.
    #[test]
    fn a_weaker_digest_beside_a_stronger_one_is_not_looked_at() {
        let (ours, other) = (Chain::new("ours"), Chain::new("other"));
        let of = |matching, chain: &Chain| record(3, 1, matching, &chain.leaf);
        let all = vec![of(1, &ours), of(2, &other), of(0, &other), record(3, 0, 1, &other.leaf)];
        let kept = Association::strongest(&all);
        assert_eq!(kept, all[1..]);
        assert_eq!(judge(&kept, &ours.shown(), &nobody()), None);
        assert_eq!(judge(&kept, &other.shown(), &nobody()), Some(Associated::Itself));
    }
}
