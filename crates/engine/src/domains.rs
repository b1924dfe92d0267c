//! Domains that come and go while the server runs: rows of the store beside those of the
//! configuration.

use std::sync::Arc;

use stentor_store::{HostRow, StoreError, Write};

use crate::engine::Engine;
use crate::host::Hosts;
use crate::limits::DOMAINS_MAX;
use crate::outbox::Close;

/// Why a domain was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// It is one of ours.
    #[error("the domain is served already")]
    Served,
    /// A component speaks for it.
    #[error("the domain is that of a component")]
    Component,
    /// There is no such profile.
    #[error("there is no profile `{0}`; write `[profile.{0}]` and reload")]
    NoProfile(String),
    /// It is not one of ours.
    #[error("the domain is not served")]
    Missing,
    /// It stands in the configuration.
    #[error("the domain stands in the configuration; take it out there and reload")]
    Configured,
    /// It is the only one.
    #[error("the domain is the only one; add another first")]
    Last,
    /// There are too many.
    #[error("there are {DOMAINS_MAX} domains; no more can be added")]
    Full,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl Engine {
    /// Serves another domain from now on, also after a restart. One that was removed has its
    /// accounts back.
    ///
    /// # Errors
    /// As [`DomainError`] says; then nothing was changed.
    pub async fn add_domain(&self, name: &str, profile: &str) -> Result<(), DomainError> {
        let hosts = self.hosts.load_full();
        if hosts.find(name).is_some() {
            return Err(DomainError::Served);
        }
        if self.component(name).is_some() {
            return Err(DomainError::Component);
        }
        if !hosts.has_profile(profile) {
            return Err(DomainError::NoProfile(profile.to_owned()));
        }
        if hosts.iter().count() >= DOMAINS_MAX {
            return Err(DomainError::Full);
        }
        let created_ms = hosts.row(name).map_or(self.clock.unix_ms(), |row| row.created_ms);
        let (name, profile) = (name.to_owned(), profile.to_owned());
        self.put_domain(HostRow { name, profile, is_enabled: true, created_ms }).await
    }

    /// Serves a domain no longer: its sessions end by `host-gone` (RFC 6120 §4.9.3.5), and so does
    /// whoever asks for it later. Its accounts stay in the store. Tells how many sessions there
    /// were.
    ///
    /// # Errors
    /// As [`DomainError`] says; then nothing was changed.
    pub async fn remove_domain(&self, name: &str) -> Result<usize, DomainError> {
        let hosts = self.hosts.load_full();
        if hosts.find(name).is_none() {
            return Err(DomainError::Missing);
        }
        let row = hosts.row(name).filter(|_| !hosts.is_configured(name)).cloned();
        let row = row.ok_or(DomainError::Configured)?;
        if hosts.iter().count() == 1 {
            return Err(DomainError::Last);
        }
        self.put_domain(HostRow { is_enabled: false, ..row }).await?;
        Ok(self.close_domain(name))
    }

    async fn put_domain(&self, row: HostRow) -> Result<(), DomainError> {
        self.stores.writer.submit(Write::PutHost(row.clone())).await?;
        self.hosts.rcu(|hosts| Hosts::clone(hosts).with_rows([row.clone()]));
        Ok(())
    }

    /// Ends every session of a domain that is served no longer.
    pub(crate) fn close_domain(&self, name: &str) -> usize {
        let mut closed = 0;
        for account in self.directory.online() {
            if account.jid.domain() == name {
                for resource in account.resources() {
                    resource.outbox.close(Close::HostGone);
                    closed += 1;
                }
            }
        }
        closed
    }

    /// Ends the sessions of domains that were served before and are not now.
    pub(crate) fn close_removed(&self, former: &Arc<Hosts>) {
        let hosts = self.hosts.load();
        for host in former.iter().filter(|host| hosts.find(&host.domain).is_none()) {
            self.close_domain(&host.domain);
        }
    }
}
