//! The domains and their certificates.

use std::collections::BTreeMap;

use stentor_jid::prep_domain;
use stentor_transport::IdentityFiles;

use super::reader::{Reader, Value, nearest};
use super::{CertificateEntry, HostEntry, ProfileEntry, keys};

/// Reads `[[host]]`.
pub(super) fn read<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
    profiles: &BTreeMap<String, ProfileEntry>,
) -> Vec<HostEntry> {
    let mut hosts: Vec<HostEntry> = Vec::new();
    for (index, table) in reader.items("host", value).into_iter().enumerate() {
        let mut s = reader.item("host", index, table);
        let name = s.text(&keys::HOST_NAME);
        let profile = s.text(&keys::HOST_PROFILE);
        let is_gone = s.truth(&keys::HOST_GONE);
        if let Some((span, profile)) = &profile
            && !profiles.contains_key(profile)
        {
            let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
            let remedy = nearest(profile, &known).map_or_else(
                || format!("write `[profile.{profile}]`"),
                |known| format!("did you mean `{known}`?"),
            );
            s.wrong(span, format!("there is no profile `{profile}`; {remedy}"));
        }
        match name {
            None => s.wrong(&table.span(), "a `[[host]]` needs a `name`"),
            Some((span, name)) => match prep_domain(&name) {
                Err(error) => s.wrong(&span, format!("`{name}` is no domain: {error}")),
                Ok(prepared) if hosts.iter().any(|h| h.name == prepared) => {
                    s.wrong(&span, format!("`{name}` stands there twice: take one out"));
                }
                Ok(prepared) => hosts.push(HostEntry {
                    name: prepared.into_owned(),
                    profile: profile.map_or_else(|| "default".to_owned(), |(_, p)| p),
                    is_gone,
                }),
            },
        }
        s.finish();
    }
    if value.is_none() {
        let (name, profile) = ("localhost".to_owned(), "default".to_owned());
        hosts.push(HostEntry { name, profile, is_gone: false });
    }
    hosts
}

/// Reads `[[certificate]]`.
pub(super) fn certificates<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
) -> Vec<CertificateEntry> {
    let mut certificates = Vec::new();
    for (index, table) in reader.items("certificate", value).into_iter().enumerate() {
        let mut s = reader.item("certificate", index, table);
        let (chain, key) = (s.path(&keys::CHAIN), s.path(&keys::KEY));
        let names = s.texts(&keys::NAMES).into_iter().map(|(_, name)| name).collect();
        match (chain, key) {
            (Some((chain_span, certificate)), Some((key_span, key))) => {
                let files = IdentityFiles { certificate, key, names };
                let (chain, key) = (s.place(&chain_span), s.place(&key_span));
                certificates.push(CertificateEntry { files, chain, key });
            }
            _ => s.wrong(&table.span(), "a `[[certificate]]` needs both `chain` and `key`"),
        }
        s.finish();
    }
    certificates
}
