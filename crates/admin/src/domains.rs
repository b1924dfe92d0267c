//! Commands about domains.

use serde::{Deserialize, Serialize};
use stentor_jid::prep_domain;
use tokio::sync::oneshot;

use crate::command::{AdminError, Command};
use crate::limits::DOMAIN_ROWS;
use crate::{Cx, Wish};

/// Serves another domain.
#[derive(Debug)]
pub struct AddDomain;

/// Lists domains, a page at a time.
#[derive(Debug)]
pub struct ListDomains;

/// Serves a domain no longer.
#[derive(Debug)]
pub struct RemoveDomain;

/// A domain to be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    /// Its name.
    pub name: String,
    /// The name of its profile.
    pub profile: String,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedDomain {
    /// Its name.
    pub name: String,
}

/// What came of adding a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Its name as in addresses.
    pub name: String,
    /// What is worth saying, about its certificate for instance.
    pub warnings: Vec<String>,
}

/// What came of removing a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// Sessions that were told to end.
    pub sessions: usize,
    /// Accounts that it still has in the store.
    pub accounts: u64,
}

/// Where a page of domains begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct After {
    /// What the page before said of the next one.
    pub after: Option<String>,
}

/// A page of domains, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most [`DOMAIN_ROWS`].
    pub domains: Vec<Row>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// One domain of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The name of its profile.
    pub profile: String,
    /// Whether it is served; if not, it was once.
    pub is_served: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// Its accounts.
    pub accounts: u64,
}

/// Where a domain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It stands in the configuration.
    Configuration,
    /// It was added by a command.
    Command,
}

impl Command for AddDomain {
    const NAME: &'static str = "domain-add";
    const SUMMARY: &'static str = "Serve another domain, from now on and after every restart.";
    type Input = NewDomain;
    type Output = Added;

    async fn run(cx: Cx, input: NewDomain) -> Result<Added, AdminError> {
        let name = domain(&input.name)?;
        cx.engine.add_domain(&name, &input.profile).await?;
        tracing::info!(event = "domain_added", domain = name, "A domain was added.");
        Ok(Added { warnings: certificates(&cx).await, name })
    }
}

impl Command for ListDomains {
    const NAME: &'static str = "domain-list";
    const SUMMARY: &'static str = "List domains, a page at a time.";
    type Input = After;
    type Output = Page;

    async fn run(cx: Cx, input: After) -> Result<Page, AdminError> {
        let mut rows = rows(&cx);
        if let Some(after) = &input.after {
            rows.retain(|row| row.name > *after);
        }
        let has_more = rows.len() > DOMAIN_ROWS;
        rows.truncate(DOMAIN_ROWS);
        for row in &mut rows {
            row.accounts = cx.engine.stores.accounts.count(&row.name).await?;
        }
        let next = rows.last().filter(|_| has_more).map(|row| row.name.clone());
        Ok(Page { domains: rows, next })
    }
}

impl Command for RemoveDomain {
    const NAME: &'static str = "domain-remove";
    const SUMMARY: &'static str = "Serve a domain no longer; its accounts stay in the store.";
    type Input = NamedDomain;
    type Output = Removed;

    async fn run(cx: Cx, input: NamedDomain) -> Result<Removed, AdminError> {
        let name = domain(&input.name)?;
        let sessions = cx.engine.remove_domain(&name).await?;
        let accounts = cx.engine.stores.accounts.count(&name).await?;
        tracing::info!(event = "domain_removed", domain = name, sessions, "A domain was removed.");
        Ok(Removed { name, sessions, accounts })
    }
}

/// Every domain that is or was served, by name.
fn rows(cx: &Cx) -> Vec<Row> {
    let hosts = cx.engine.hosts.load();
    let served = hosts.iter().map(|host| Row {
        name: host.domain.to_string(),
        profile: hosts.name_of(&host.profile).unwrap_or_default().to_owned(),
        is_served: true,
        origin: match hosts.is_configured(&host.domain) {
            true => Origin::Configuration,
            false => Origin::Command,
        },
        accounts: 0,
    });
    let others = hosts.rows().filter(|row| hosts.find(&row.name).is_none()).map(|row| Row {
        name: row.name.clone(),
        profile: row.profile.clone(),
        is_served: false,
        origin: Origin::Command,
        accounts: 0,
    });
    let mut rows: Vec<Row> = served.chain(others).collect();
    rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// Lets the running server look for the certificate of a new domain. The domain is served in any
/// case.
async fn certificates(cx: &Cx) -> Vec<String> {
    let Some(wishes) = &cx.wishes else { return Vec::new() };
    let (answer, told) = oneshot::channel();
    if wishes.send(Wish::Certificates(answer)).await.is_err() {
        return Vec::new();
    }
    match told.await {
        Ok(Ok(warnings)) => warnings,
        Ok(Err(error)) => vec![format!("its certificate was not looked for: {error}")],
        Err(_) => Vec::new(),
    }
}

fn domain(text: &str) -> Result<String, AdminError> {
    let prepared = prep_domain(text)
        .map_err(|error| AdminError::Refused(format!("`{text}` is no domain: {error}")))?;
    Ok(prepared.into_owned())
}

#[cfg(test)]
mod tests {
    use stentor_engine::DomainError;
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    #[tokio::test]
    async fn pages_name_every_domain_once_wherever_it_comes_from() {
        let world = World::new();
        for number in 0..DOMAIN_ROWS {
            world.engine.add_domain(&format!("d{number:04}.example"), "default").await.unwrap();
        }
        world.engine.remove_domain("d0001.example").await.unwrap();
        let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = ListDomains::run(cx(&world), After { after }).await.unwrap();
            assert!(page.domains.len() <= DOMAIN_ROWS);
            all.extend(page.domains);
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!((all.len(), pages), (DOMAIN_ROWS + 2, 2));
        let row = |name: &str| all.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row("capulet.example").origin, Origin::Configuration);
        assert_eq!(row("d0000.example").origin, Origin::Command);
        assert!(row("d0000.example").is_served && !row("d0001.example").is_served);
    }

    #[tokio::test]
    async fn a_domain_that_comes_back_keeps_its_age_and_may_change_its_profile() {
        let world = World::new();
        let engine = &world.engine;
        engine.add_domain("verona.example", "default").await.unwrap();
        let added_ms = engine.hosts.load().row("verona.example").unwrap().created_ms;
        engine.remove_domain("verona.example").await.unwrap();
        assert!(engine.hosts.load().is_gone("verona.example"));
        world.advance(60);
        engine.add_domain("verona.example", "default").await.unwrap();
        let hosts = engine.hosts.load_full();
        assert_eq!(hosts.row("verona.example").unwrap().created_ms, added_ms);
        assert!(hosts.find("verona.example").is_some() && !hosts.is_gone("verona.example"));
        let again = engine.add_domain("verona.example", "default").await;
        assert!(matches!(again, Err(DomainError::Served)), "{again:?}");
    }
}
