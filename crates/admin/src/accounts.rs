//! Commands about accounts.

use serde::{Deserialize, Serialize};
use stentor_engine::registration::AccountError;
use stentor_jid::BareJid;
use stentor_store::AccountRow;

use crate::Cx;
use crate::command::{AdminError, Command};
use crate::limits::PAGE_ROWS;

/// Makes an account.
#[derive(Debug)]
pub struct Add;

/// Lists accounts, a page at a time.
#[derive(Debug)]
pub struct List;

/// Tells what is known of one account.
#[derive(Debug)]
pub struct Show;

/// Sets an account's password.
#[derive(Debug)]
pub struct SetPassword;

/// Deletes an account with all it owns.
#[derive(Debug)]
pub struct Delete;

/// Keeps an account from signing in.
#[derive(Debug)]
pub struct Suspend;

/// Lets a suspended account sign in again.
#[derive(Debug)]
pub struct Unsuspend;

/// Forgets an account's failed sign-ins.
#[derive(Debug)]
pub struct Unlock;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its address: `name@domain`.
    pub jid: String,
}

/// An account and its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Its address: `name@domain`.
    pub jid: String,
    /// The password.
    pub password: String,
}

/// Which accounts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// Of this domain only.
    pub domain: Option<String>,
    /// What the page before said of the next one.
    pub after: Option<String>,
}

/// A page of accounts, by domain and address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most [`PAGE_ROWS`].
    pub accounts: Vec<Row>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// One account of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its address.
    pub jid: String,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Its sessions now.
    pub sessions: usize,
}

/// One account, looked at by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What a list says of it.
    #[serde(flatten)]
    pub row: Row,
    /// Messages that wait for it to come (XEP-0160).
    pub waiting_messages: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
}

/// What came of forgetting failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlocked {
    /// The account.
    pub jid: String,
    /// Whether there were any.
    pub had_failures: bool,
}

impl Command for Add {
    const NAME: &'static str = "account-add";
    const SUMMARY: &'static str = "Make an account.";
    type Input = Credentials;
    type Output = Account;

    async fn run(cx: Cx, input: Credentials) -> Result<Account, AdminError> {
        let jid = address(&input.jid)?;
        cx.engine.create_account(&jid, input.password).await?;
        tracing::info!(event = "account_added", account = %jid, "An account was made.");
        Ok(Account::of(&jid))
    }
}

impl Command for List {
    const NAME: &'static str = "account-list";
    const SUMMARY: &'static str = "List accounts, a page at a time.";
    type Input = Which;
    type Output = Page;

    async fn run(cx: Cx, input: Which) -> Result<Page, AdminError> {
        let mut after = input.after.as_deref().map(address).transpose()?;
        let mut domains = domains(&cx, input.domain.as_deref()).await?;
        if let Some(after) = &after {
            domains.retain(|domain| domain.as_str() >= after.domain());
        }
        let mut page = Page { accounts: Vec::new(), next: None };
        for domain in domains {
            let mut begin = after.take().filter(|after| after.domain() == domain);
            loop {
                let rows =
                    cx.engine.stores.accounts.list(&domain, begin.as_ref(), PAGE_ROWS).await?;
                let Some(last) = rows.last() else { break };
                begin = Some(last.owner.clone());
                for row in rows {
                    if page.accounts.len() >= PAGE_ROWS as usize {
                        page.next = page.accounts.last().map(|row| row.jid.clone());
                        return Ok(page);
                    }
                    page.accounts.push(Row::of(&cx, &row));
                }
            }
        }
        Ok(page)
    }
}

impl Command for Show {
    const NAME: &'static str = "account-show";
    const SUMMARY: &'static str = "Tell what is known of one account.";
    type Input = Account;
    type Output = Shown;

    async fn run(cx: Cx, input: Account) -> Result<Shown, AdminError> {
        let jid = address(&input.jid)?;
        let Some(found) = cx.engine.stores.accounts.load(&jid).await? else {
            return Err(AccountError::Missing.into());
        };
        // What was taken before the question counts.
        cx.engine.stores.writer.barrier().await?;
        let waiting = cx.engine.stores.offline.usage(&jid).await?;
        Ok(Shown {
            row: Row::of(&cx, &found),
            waiting_messages: waiting.count,
            waiting_bytes: waiting.bytes,
        })
    }
}

impl Command for SetPassword {
    const NAME: &'static str = "account-password";
    const SUMMARY: &'static str = "Set an account's password; its sessions and tokens end.";
    type Input = Credentials;
    type Output = Account;

    async fn run(cx: Cx, input: Credentials) -> Result<Account, AdminError> {
        let jid = address(&input.jid)?;
        cx.engine.set_password(&jid, input.password, None).await?;
        tracing::info!(event = "password_set", account = %jid, "A password was set.");
        Ok(Account::of(&jid))
    }
}

impl Command for Delete {
    const NAME: &'static str = "account-delete";
    const SUMMARY: &'static str = "Delete an account with all it owns.";
    type Input = Account;
    type Output = Account;

    async fn run(cx: Cx, input: Account) -> Result<Account, AdminError> {
        let jid = address(&input.jid)?;
        cx.engine.delete_account(&jid).await?;
        tracing::info!(event = "account_deleted", account = %jid, "An account was deleted.");
        Ok(Account::of(&jid))
    }
}

impl Command for Suspend {
    const NAME: &'static str = "account-suspend";
    const SUMMARY: &'static str = "Keep an account from signing in, and end its sessions.";
    type Input = Account;
    type Output = Account;

    async fn run(cx: Cx, input: Account) -> Result<Account, AdminError> {
        let jid = address(&input.jid)?;
        cx.engine.suspend_account(&jid, true).await?;
        tracing::info!(event = "account_suspended", account = %jid, "An account was suspended.");
        Ok(Account::of(&jid))
    }
}

impl Command for Unsuspend {
    const NAME: &'static str = "account-unsuspend";
    const SUMMARY: &'static str = "Let a suspended account sign in again.";
    type Input = Account;
    type Output = Account;

    async fn run(cx: Cx, input: Account) -> Result<Account, AdminError> {
        let jid = address(&input.jid)?;
        cx.engine.suspend_account(&jid, false).await?;
        tracing::info!(event = "account_unsuspended", account = %jid, "A suspension was lifted.");
        Ok(Account::of(&jid))
    }
}

impl Command for Unlock {
    const NAME: &'static str = "account-unlock";
    const SUMMARY: &'static str = "Forget an account's failed sign-ins.";
    type Input = Account;
    type Output = Unlocked;

    async fn run(cx: Cx, input: Account) -> Result<Unlocked, AdminError> {
        let jid = address(&input.jid)?;
        // Failures are counted in memory.
        cx.running()?;
        if cx.engine.account(&jid).await?.is_none() {
            return Err(AccountError::Missing.into());
        }
        let had_failures = cx.engine.credentials.guard.forgive_account(&jid);
        tracing::info!(event = "account_unlocked", account = %jid, had_failures, "Failed sign-ins were forgotten.");
        Ok(Unlocked { jid: jid.as_str().to_owned(), had_failures })
    }
}

impl Account {
    fn of(jid: &BareJid) -> Self {
        Self { jid: jid.as_str().to_owned() }
    }
}

impl Row {
    fn of(cx: &Cx, row: &AccountRow) -> Self {
        let account = cx.engine.directory.find(row.owner.as_str());
        Self {
            jid: row.owner.as_str().to_owned(),
            created_ms: row.created_ms,
            suspended: row.is_suspended,
            sessions: account.map_or(0, |account| account.resources().len()),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("jid", &self.jid).finish_non_exhaustive()
    }
}

/// The domains to list, in order. One that is served no longer may have accounts all the same.
async fn domains(cx: &Cx, wanted: Option<&str>) -> Result<Vec<String>, AdminError> {
    let hosts = cx.engine.hosts.load();
    let mut domains: Vec<String> = hosts.iter().map(|h| h.domain.to_string()).collect();
    domains.sort_unstable();
    let Some(wanted) = wanted else { return Ok(domains) };
    let is_served = domains.iter().any(|domain| domain == wanted);
    if !is_served && cx.engine.stores.accounts.count(wanted).await? == 0 {
        return Err(AdminError::Refused(format!("`{wanted}` is no domain of this server")));
    }
    Ok(vec![wanted.to_owned()])
}

pub(crate) fn address(text: &str) -> Result<BareJid, AdminError> {
    let jid = BareJid::new(text)
        .map_err(|error| AdminError::Refused(format!("`{text}` is no address: {error}")))?;
    if jid.local().is_none() {
        return Err(AdminError::Refused(format!("`{text}` names no account: write `name@{jid}`")));
    }
    Ok(jid)
}

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    #[tokio::test]
    async fn pages_name_every_account_of_every_domain_once() {
        let world = World::new();
        for number in 0..PAGE_ROWS {
            world.add_account(&format!("user{number:04}@capulet.example")).await;
            world.add_account(&format!("user{number:04}@montague.example")).await;
        }
        world.add_account("zoe@montague.example").await;
        let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = List::run(cx(&world), Which { domain: None, after }).await.unwrap();
            assert!(page.accounts.len() <= PAGE_ROWS as usize);
            all.extend(page.accounts.into_iter().map(|row| row.jid));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!((all.len(), pages), (2 * PAGE_ROWS as usize + 1, 3));
        all.dedup();
        assert_eq!(all.len(), 2 * PAGE_ROWS as usize + 1);
        assert_eq!(all.last().map(String::as_str), Some("zoe@montague.example"));
        let page = Which { domain: Some("montague.example".into()), after: None };
        let page = List::run(cx(&world), page).await.unwrap();
        assert!(page.accounts.iter().all(|row| row.jid.ends_with("@montague.example")));
    }

    #[tokio::test]
    async fn what_waits_for_an_account_is_shown() {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        world.add_account("romeo@montague.example").await;
        let mut romeo = world.connect("romeo@montague.example/orchard").await;
        let show = async || {
            let juliet = Account { jid: "juliet@capulet.example".into() };
            let shown = Show::run(cx(&world), juliet).await.unwrap();
            (shown.waiting_messages, shown.waiting_bytes > 0, shown.row.sessions)
        };
        for _ in 0..2 {
            let to = "juliet@capulet.example";
            romeo.send(&format!("<message type='chat' to='{to}'><body>x</body></message>")).await;
        }
        assert_eq!(show().await, (2, true, 0));
        let mut juliet = world.connect("juliet@capulet.example/balcony").await;
        juliet.send("<presence/>").await;
        juliet.receive_all();
        assert_eq!(show().await, (0, false, 1));
        let nobody = Account { jid: "nobody@capulet.example".into() };
        assert!(Show::run(cx(&world), nobody).await.is_err());
    }

    #[tokio::test]
    async fn a_suspended_account_is_listed_as_such_until_that_is_lifted() {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        let juliet = || Account { jid: "juliet@capulet.example".into() };
        let row = async || {
            let page = List::run(cx(&world), Which::default()).await.unwrap();
            page.accounts.into_iter().next().unwrap()
        };
        let session = world.connect("juliet@capulet.example/balcony").await;
        assert_eq!((row().await.suspended, row().await.sessions), (false, 1));
        Suspend::run(cx(&world), juliet()).await.unwrap();
        assert!(row().await.suspended);
        Unsuspend::run(cx(&world), juliet()).await.unwrap();
        assert!(!row().await.suspended);
        drop(session);
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_with_its_reason() {
        let world = World::new();
        let account = |jid: &str| Account { jid: jid.into() };
        let credentials =
            |jid: &str, password: &str| Credentials { jid: jid.into(), password: password.into() };
        let refused = |outcome: Result<Account, AdminError>| {
            let error = outcome.unwrap_err();
            format!("{}: {error}", error.code())
        };
        let texts = [
            refused(Add::run(cx(&world), credentials("capulet.example", "a")).await),
            refused(Add::run(cx(&world), credentials("a@elsewhere.example", "a")).await),
            refused(Add::run(cx(&world), credentials("a@capulet.example", "")).await),
            refused(SetPassword::run(cx(&world), credentials("no@capulet.example", "a")).await),
            refused(Delete::run(cx(&world), account("no@capulet.example")).await),
        ];
        let expected = [
            "refused: `capulet.example` names no account: write `name@capulet.example`",
            "not-ours: the address is not one of an account on a domain of this server",
            "bad-password: the password is empty, too long or has forbidden characters",
            "no-account: there is no such account",
            "no-account: there is no such account",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn passwords_do_not_show_in_debug_output() {
        let credentials = Credentials { jid: "a@b.example".into(), password: "hunter2".into() };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
