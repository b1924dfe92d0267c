//! Reading the configuration again while the server runs.

use std::sync::Arc;

use stentor_admin::server::Reloaded;
use stentor_edge::Components;
use stentor_edge::s2s::Links;
use tokio::sync::Notify;

use crate::config::{Config, Sources, files};
use crate::logging;
use crate::wire::{self, Core, Trust};

/// What a reload changes, and what it compares with.
pub(crate) struct Reloader {
    /// The configuration of the start: what needs a restart still has its values.
    pub started: Config,
    /// Where it came from.
    pub sources: Sources,
    /// The engine, whose domains are replaced.
    pub core: Core,
    /// The components, which are replaced.
    pub components: Arc<Components>,
    /// The ways to other servers, if there are any: whom we speak to is replaced.
    pub links: Option<Arc<Links>>,
    /// The certificates, which are replaced.
    pub trust: Trust,
    /// The level of the log, which is replaced.
    pub level: logging::Level,
    /// Tells that chores are due.
    pub due: Arc<Notify>,
}

impl Reloader {
    /// Reads the configuration again. What is wrong with it changes nothing, and is told.
    pub(crate) fn reload(&self) -> Result<Reloaded, String> {
        let outcome = self.replace();
        match &outcome {
            Ok(reloaded) => tracing::info!(
                event = "reloaded",
                domains = reloaded.domains.len(),
                need_restart = reloaded.need_restart.join(", "),
                "The configuration was read again."
            ),
            Err(error) => tracing::error!(
                event = "not_reloaded",
                "The configuration was read again and nothing was changed: {error}"
            ),
        }
        outcome
    }

    /// Warns of certificates that end soon, and renews our own.
    pub(crate) fn look_at_certificates(&self) {
        let certificates = &self.trust.certificates;
        if self.trust.dev_authority.is_some()
            && let Ok((files, _)) = wire::identities(&self.started, &self.core.engine.hosts.load())
            && let Err(error) = certificates.reload_from(files)
        {
            tracing::error!(event = "certificate", %error, "The development certificate could not be renewed.");
        }
        for warning in files::expiry_warnings(certificates, files::unix_secs()) {
            tracing::warn!(event = "certificate", "{warning}");
        }
    }

    /// Looks again for the certificates of all domains: there may be a new one. Tells what is worth
    /// saying.
    pub(crate) fn reload_certificates(&self) -> Result<Vec<String>, String> {
        let config = Config::load(&self.sources).map_err(|mistakes| mistakes.to_string())?;
        let hosts = self.core.engine.hosts.load();
        let (files, _) = wire::identities(&config, &hosts).map_err(|error| format!("{error:#}"))?;
        let told = self.trust.certificates.reload_from(files).map_err(|error| error.to_string())?;
        let mut warnings: Vec<String> = told.iter().map(ToString::to_string).collect();
        warnings.sort_unstable();
        Ok(warnings)
    }

    fn replace(&self) -> Result<Reloaded, String> {
        let (config, mut warnings) =
            Config::load_checked(&self.sources).map_err(|mistakes| mistakes.to_string())?;
        // All that can fail, before anything is replaced.
        let rows: Vec<_> = self.core.engine.hosts.load().rows().cloned().collect();
        let hosts = wire::hosts(&config, rows).map_err(|error| format!("{error:#}"))?;
        let components = wire::component_settings(&config).map_err(|error| format!("{error:#}"))?;
        let (files, _) = wire::identities(&config, &hosts).map_err(|error| format!("{error:#}"))?;
        let told = self.trust.certificates.reload_from(files).map_err(|error| error.to_string())?;
        warnings.extend(told.iter().map(ToString::to_string));
        warnings.sort_unstable();
        warnings.dedup();
        let mut domains: Vec<String> = hosts.iter().map(|h| h.domain.to_string()).collect();
        domains.sort_unstable();
        self.core.engine.replace_hosts(hosts);
        self.core.engine.replace_components(wire::known_components(&config));
        self.components.replace(components);
        if let Some(links) = &self.links {
            links.replace_lists(config.federation.policy.lists.clone());
        }
        self.due.notify_one();
        let _ = self.level.reload(logging::filter(&config.log_level));
        let mut need_restart = self.started.fixed_changes(&config);
        let has_port = |config: &Config| config.listeners.iter().any(|l| l.kind.is_component());
        if has_port(&config) && !has_port(&self.started) {
            need_restart.push("the port for components".to_owned());
        }
        Ok(Reloaded { domains, need_restart, warnings })
    }
}
