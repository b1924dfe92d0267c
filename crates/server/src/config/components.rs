//! The components that may attach themselves.

use std::fs;

use stentor_edge::ComponentSettings;
use stentor_engine::component::xep0355_delegation::NS_DELEGATION;
use stentor_engine::{Access, Component, Delegation, PresenceAccess, Privileges};
use stentor_jid::prep_domain;
use zeroize::Zeroizing;

use super::reader::{Reader, Section, Value};
use super::sections::size;
use super::words::Word as _;
use super::{ComponentEntry, HostEntry, Secret, keys};

/// Reads `[[component]]`.
pub(super) fn read<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
    hosts: &[HostEntry],
) -> Vec<ComponentEntry> {
    let mut components: Vec<ComponentEntry> = Vec::new();
    for (index, table) in reader.items("component", value).into_iter().enumerate() {
        let mut s = reader.item("component", index, table);
        let domain = domain(&mut s, table, hosts, &components);
        let secret = secret(&mut s, table);
        let may = Component {
            domain: domain.clone().unwrap_or_default(),
            name: s.text(&keys::COMPONENT_NAME).map(|(_, name)| name),
            hosts: domains(&mut s, hosts),
            may_federate: s.truth(&keys::COMPONENT_FEDERATE),
            privileges: privileges(&mut s, table),
            delegations: delegations(&mut s),
        };
        let settings = ComponentSettings {
            domain: may.domain.clone(),
            // Filled in when it is known where it stands.
            secret: Zeroizing::new(String::new()),
            streams_max: size(s.number(&keys::COMPONENT_CONNECTIONS_MAX)),
            on_conflict: s.word(&keys::COMPONENT_ON_CONFLICT),
            queue_bytes_max: size(s.number(&keys::COMPONENT_QUEUE_BYTES_MAX)),
            stanza_bytes_max: size(s.number(&keys::COMPONENT_STANZA_BYTES_MAX)),
            ..ComponentSettings::default()
        };
        s.finish();
        if let (Some(_), Some(secret)) = (domain, secret) {
            components.push(ComponentEntry { may, settings, secret });
        }
    }
    components
}

fn domain(
    s: &mut Section<'_, '_, '_>,
    table: &Value<'_>,
    hosts: &[HostEntry],
    others: &[ComponentEntry],
) -> Option<String> {
    let Some((span, text)) = s.text(&keys::COMPONENT_DOMAIN) else {
        s.wrong(&table.span(), "a `[[component]]` needs a `domain`");
        return None;
    };
    let wrong = match prep_domain(&text) {
        Err(error) => format!("`{text}` is no domain: {error}"),
        Ok(domain) if hosts.iter().any(|h| h.name == domain) => {
            format!("`{text}` is a `[[host]]`: give the component a domain of its own")
        }
        Ok(domain) if others.iter().any(|c| c.may.domain == domain) => {
            format!("`{text}` stands there twice: take one out")
        }
        Ok(domain) => return Some(domain.into_owned()),
    };
    s.wrong(&span, wrong);
    None
}

fn secret(s: &mut Section<'_, '_, '_>, table: &Value<'_>) -> Option<Secret> {
    let written = s.text(&keys::COMPONENT_SECRET);
    let file = s.path(&keys::COMPONENT_SECRET_FILE);
    match (written, file) {
        (Some((span, text)), None) => {
            if text.is_empty() {
                s.wrong(&span, "the secret is empty: anybody would know it");
            }
            Some(Secret::Written(Zeroizing::new(text)))
        }
        (None, Some((span, path))) => Some(Secret::File(s.place(&span), path)),
        _ => {
            s.wrong(&table.span(), "a `[[component]]` needs either `secret` or `secret_file`");
            None
        }
    }
}

fn domains(s: &mut Section<'_, '_, '_>, hosts: &[HostEntry]) -> Vec<String> {
    let mut domains = Vec::new();
    for (span, text) in s.texts(&keys::COMPONENT_HOSTS) {
        match prep_domain(&text) {
            Err(error) => s.wrong(&span, format!("`{text}` is no domain: {error}")),
            Ok(domain) if !hosts.iter().any(|h| h.name == domain) => {
                s.wrong(&span, format!("`{text}` is no domain of this server; add a `[[host]]`"));
            }
            Ok(domain) => domains.push(domain.into_owned()),
        }
    }
    domains
}

/// XEP-0356.
fn privileges(s: &mut Section<'_, '_, '_>, table: &Value<'_>) -> Privileges {
    let mut iq = Vec::new();
    for (span, text) in s.texts(&keys::COMPONENT_IQ_ACCESS) {
        let granted = text.split_once(' ').and_then(|(ns, access)| Some((ns, Access::of(access)?)));
        match granted {
            Some((ns, access)) => iq.push((ns.to_owned(), access)),
            None => s.wrong(
                &span,
                format!("`{text}` is no namespace with `get`, `set` or `both` behind it"),
            ),
        }
    }
    let privileges = Privileges {
        roster: s.word(&keys::COMPONENT_ROSTER_ACCESS),
        roster_push: s.truth(&keys::COMPONENT_ROSTER_PUSH),
        messages: s.truth(&keys::COMPONENT_MESSAGE_ACCESS),
        iq,
        presence: s.word(&keys::COMPONENT_PRESENCE_ACCESS),
    };
    let reads = matches!(privileges.roster, Access::Get | Access::Both);
    if privileges.presence == PresenceAccess::Roster && !reads {
        s.wrong(
            &table.span(),
            "`presence_access = \"roster\"` needs `roster_access` of `get` or `both` (XEP-0356 §7.4)",
        );
    }
    // Without any other word nothing is granted.
    let roster_push = privileges.roster_push && reads;
    Privileges { roster_push, ..privileges }
}

/// XEP-0355.
fn delegations(s: &mut Section<'_, '_, '_>) -> Vec<Delegation> {
    let mut delegations = Vec::new();
    for (span, text) in s.texts(&keys::COMPONENT_DELEGATE) {
        let mut words = text.split_whitespace().map(str::to_owned);
        match words.next() {
            None => s.wrong(&span, "an empty text names no namespace"),
            Some(namespace) if namespace == NS_DELEGATION => {
                s.wrong(&span, format!("`{namespace}` itself cannot be delegated (XEP-0355 §8)"));
            }
            Some(namespace) => {
                delegations.push(Delegation { namespace, attributes: words.collect() });
            }
        }
    }
    delegations
}

impl ComponentEntry {
    /// The settings with the secret, which may stand in a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn settings(&self) -> Result<ComponentSettings, super::Mistake> {
        let secret = match &self.secret {
            Secret::Written(secret) => secret.clone(),
            Secret::File(place, path) => {
                let wrong = |text| super::Mistake { place: place.clone(), text };
                let shown = path.display();
                let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
                    wrong(format!(
                        "{shown}: cannot be read ({error}); name a file that the server may read"
                    ))
                })?;
                let secret = text.trim_end_matches(['\r', '\n']);
                if secret.is_empty() || secret.contains('\n') {
                    return Err(wrong(format!("{shown}: must hold one line, the secret")));
                }
                Zeroizing::new(secret.to_owned())
            }
        };
        Ok(ComponentSettings { secret, ..self.settings.clone() })
    }
}
