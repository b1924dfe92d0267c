//! Checking the files that the configuration names, and what is not wrong but worth saying.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use stentor_edge::s2s::TrustAnchors;
use stentor_transport::{Certificates, Roots};

use super::Config;
use super::place::{Mistake, Place};

/// Every file that cannot be used, and warnings about those that can.
pub(crate) fn check(config: &Config) -> (Vec<Mistake>, Vec<String>) {
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    let now_secs = unix_secs();
    let mut loaded = Vec::new();
    for entry in &config.certificates {
        match Certificates::load(vec![entry.files.clone()]) {
            Ok((certificates, told)) => {
                warnings.extend(told.iter().map(ToString::to_string));
                warnings.extend(expiry_warnings(&certificates, now_secs));
                loaded.push(certificates);
            }
            Err(error) => {
                let is_key = error.file == entry.files.key && error.file != entry.files.certificate;
                let place = if is_key { entry.key.clone() } else { entry.chain.clone() };
                mistakes.push(Mistake { place, text: error.to_string() });
            }
        }
    }
    if let Some((place, dir)) = config.certificate_folder.as_ref().filter(|(_, dir)| !dir.is_dir())
    {
        let text = format!("{}: is no folder; make it, or name another", dir.display());
        mistakes.push(Mistake { place: place.clone(), text });
    }
    if config.data_dir.exists() && !config.data_dir.is_dir() {
        let text =
            format!("{}: is no folder; name another as `data_dir`", config.data_dir.display());
        mistakes.push(Mistake { place: Place::Whole, text });
    }
    if let Err(mistake) = client_roots(config) {
        mistakes.push(mistake);
    }
    if let Err(mistake) = server_roots(config) {
        mistakes.push(mistake);
    }
    if let Err(mistake) = trust_anchors(config) {
        mistakes.push(mistake);
    }
    mistakes.extend(config.components.iter().filter_map(|c| c.settings().err()));
    for host in config.hosts.iter().filter(|h| !h.is_gone) {
        let name = super::ascii_name(&host.name);
        let in_folder = config.certificate_folder.as_ref();
        let in_folder = in_folder.is_some_and(|(_, dir)| dir.join(&name).is_dir());
        if in_folder || loaded.iter().any(|c| c.has_name(&name)) || !mistakes.is_empty() {
            continue;
        }
        if !config.certificates.is_empty() {
            warnings.push(format!("no certificate names `{name}`; its clients will complain"));
        } else if name != "localhost" {
            warnings.push(format!(
                "no certificate is configured, and clients of `{name}` do not trust the one for \
                 development; add a `[[certificate]]`"
            ));
        }
    }
    (mistakes, warnings)
}

/// Whose certificates sign clients in.
///
/// # Errors
/// The file cannot be used.
pub(crate) fn client_roots(config: &Config) -> Result<Option<Roots>, Mistake> {
    config.client_authority.as_ref().map(authorities).transpose()
}

/// Whose certificates prove other servers.
///
/// # Errors
/// The file cannot be used.
pub(crate) fn server_roots(config: &Config) -> Result<Roots, Mistake> {
    match &config.federation.authority {
        None => Ok(Roots::of_system()),
        Some(named) => authorities(named),
    }
}

/// The keys that answers of DNS are validated by, if they are.
///
/// # Errors
/// The file cannot be used.
pub(crate) fn trust_anchors(config: &Config) -> Result<Option<TrustAnchors>, Mistake> {
    let federation = &config.federation;
    let Some((place, path)) = &federation.trust_anchor else {
        return Ok(federation.is_validating.then(TrustAnchors::of_root));
    };
    let shown = path.display();
    let wrong = |text| Mistake { place: place.clone(), text };
    let text = fs::read_to_string(path).map_err(|error| {
        wrong(format!("{shown}: cannot be read ({error}); name a file that the server may read"))
    })?;
    let anchors = TrustAnchors::from_text(&text).map_err(|error| {
        wrong(format!("{shown}: {error}; it must hold DNSKEY records, one a line"))
    })?;
    Ok(Some(anchors))
}

fn authorities((place, path): &(Place, PathBuf)) -> Result<Roots, Mistake> {
    let shown = path.display();
    let wrong = |text| Mistake { place: place.clone(), text };
    let pem = fs::read(path).map_err(|error| {
        wrong(format!("{shown}: cannot be read ({error}); name a file that the server may read"))
    })?;
    let roots = Roots::from_pem(&pem).map_err(|error| {
        wrong(format!("{shown}: {error}; it must hold certificates of authorities in PEM"))
    })?;
    Ok(roots)
}

/// What to say about certificates that end soon.
pub(crate) fn expiry_warnings(certificates: &Certificates, now_secs: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    for expiry in certificates.expiries() {
        let left = expiry.not_after_secs.saturating_sub(now_secs);
        // One that ended already is told of when it is loaded.
        if (0..WARN_SECS).contains(&left) {
            let (file, days) = (expiry.file.display(), left / DAY_SECS);
            warnings.push(format!(
                "{file}: the certificate expires in {days} days; renew it and reload"
            ));
        }
    }
    warnings
}

/// The time, for judging certificates.
pub(crate) fn unix_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl From<Mistake> for anyhow::Error {
    fn from(mistake: Mistake) -> Self {
        match mistake.place {
            Place::At { line, .. } => Self::msg(format!("line {line}: {}", mistake.text)),
            Place::Variable(_) | Place::Whole => Self::msg(mistake.text),
        }
    }
}

const DAY_SECS: i64 = 86_400;

/// From this much before its end a certificate is warned of: 30 days.
const WARN_SECS: i64 = 30 * DAY_SECS;
