//! Having a command done: by the running server, or here on the data folder.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use stentor_admin::accounts::{List, Which};
use stentor_admin::command::Refusal;
use stentor_admin::domains::{self, ListDomains};
use stentor_admin::import::{Batch, Import};
use stentor_admin::limits::IMPORT_ROWS;
use stentor_admin::reports::{After, ListReports};
use stentor_admin::socket::{self, AskError};
use stentor_admin::{Command, Cx};
use stentor_store_sqlite::OpenError;
use tokio::runtime::Runtime;

use super::import::Rows;
use super::{complain, say, words};
use crate::config::{Config, Mistakes, Sources};
use crate::wire;

/// Where commands are taken to.
pub(super) struct Office {
    data_dir: PathBuf,
    /// What a running server does not need: who can be asked need not be started.
    config: Result<Config, Mistakes>,
    as_json: bool,
    runtime: Runtime,
}

type Answer<C> = anyhow::Result<Result<<C as Command>::Output, Refusal>>;

impl Office {
    /// Of the server with this configuration.
    pub(super) fn open(sources: &Sources, as_json: bool) -> anyhow::Result<Self> {
        let config = Config::load(sources);
        let Some(data_dir) = Config::data_dir(sources) else {
            return Err(config.err().map_or_else(|| anyhow::anyhow!("no data folder"), Into::into));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { data_dir, config, as_json, runtime })
    }

    /// Has something changed, and says so.
    pub(super) fn change<C: Command>(
        &self,
        input: C::Input,
        words: impl FnOnce(&C::Output) -> String,
    ) -> anyhow::Result<ExitCode> {
        let was_there = self.data_dir.is_dir();
        let (outcome, was_here) = self.runtime.block_on(self.ask::<C>(input))?;
        if was_here && outcome.is_ok() {
            self.remark_here(was_there);
        }
        Ok(self.tell(&outcome, words))
    }

    /// Has something told or done that changes no account.
    pub(super) fn look<C: Command>(
        &self,
        input: C::Input,
        words: impl FnOnce(&C::Output) -> String,
    ) -> anyhow::Result<ExitCode> {
        let (outcome, _) = self.runtime.block_on(self.ask::<C>(input))?;
        Ok(self.tell(&outcome, words))
    }

    /// Makes many accounts, batch after batch, and names those that could not be made.
    pub(super) fn import(&self, rows: Rows) -> anyhow::Result<ExitCode> {
        let (mut made, mut refused, mut is_here) = (0, 0, false);
        let was_there = self.data_dir.is_dir();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let (lines, accounts): (Vec<_>, Vec<_>) = rows.by_ref().take(IMPORT_ROWS).unzip();
            let (outcome, was_here) =
                self.runtime.block_on(self.ask::<Import>(Batch { accounts }))?;
            is_here |= was_here;
            let imported = match outcome {
                Ok(imported) => imported,
                refusal => return Ok(self.tell(&refusal, |_| String::new())),
            };
            made += imported.made;
            refused += imported.refused.len();
            for row in &imported.refused {
                let line = lines.get(row.index).copied().unwrap_or_default();
                match self.as_json {
                    true => say(&format!("{}\n", json!({ "line": line, "refused": row }))),
                    false => complain(&format!("line {line}, {}: {}", row.jid, row.refusal.error)),
                }
            }
        }
        if is_here {
            self.remark_here(was_there);
        }
        match self.as_json {
            true => say(&format!("{}\n", json!({ "made": made, "refused": refused }))),
            false => say(&words::imported(made, refused)),
        }
        Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Lists accounts, page after page.
    pub(super) fn list_accounts(&self, domain: Option<&str>) -> anyhow::Result<ExitCode> {
        let mut after = None;
        let mut is_first = true;
        loop {
            let input = Which { domain: domain.map(str::to_owned), after };
            let page = match self.runtime.block_on(self.ask::<List>(input))?.0 {
                Ok(page) => page,
                refusal => return Ok(self.tell(&refusal, |_| String::new())),
            };
            match self.as_json {
                true => page.accounts.iter().for_each(|row| say(&format!("{}\n", json!(row)))),
                false if is_first && page.accounts.is_empty() => say("There are none.\n"),
                false => page.accounts.iter().for_each(|row| say(&words::row(row))),
            }
            let Some(next) = page.next else { return Ok(ExitCode::SUCCESS) };
            (after, is_first) = (Some(next), false);
        }
    }

    /// Lists domains, page after page.
    pub(super) fn list_domains(&self) -> anyhow::Result<ExitCode> {
        let mut after = None;
        loop {
            let input = domains::After { after };
            let page = match self.runtime.block_on(self.ask::<ListDomains>(input))?.0 {
                Ok(page) => page,
                refusal => return Ok(self.tell(&refusal, |_| String::new())),
            };
            match self.as_json {
                true => page.domains.iter().for_each(|row| say(&format!("{}\n", json!(row)))),
                false => page.domains.iter().for_each(|row| say(&words::domain_row(row))),
            }
            let Some(next) = page.next else { return Ok(ExitCode::SUCCESS) };
            after = Some(next);
        }
    }

    fn remark_here(&self, was_there: bool) {
        let what =
            if was_there { "the folder itself was changed" } else { "a new folder was made" };
        if !self.as_json {
            let dir = self.data_dir.display();
            complain(&format!("no server runs on `{dir}`, so {what}"));
        }
    }

    /// Lists reports, page after page.
    pub(super) fn list_reports(&self) -> anyhow::Result<ExitCode> {
        let mut after = None;
        loop {
            let is_first = after.is_none();
            let page = match self.runtime.block_on(self.ask::<ListReports>(After { after }))?.0 {
                Ok(page) => page,
                refusal => return Ok(self.tell(&refusal, |_| String::new())),
            };
            match self.as_json {
                true => page.reports.iter().for_each(|row| say(&format!("{}\n", json!(row)))),
                false if is_first && page.reports.is_empty() => say("There are none.\n"),
                false => page.reports.iter().for_each(|row| say(&words::report_row(row))),
            }
            let Some(next) = page.next else { return Ok(ExitCode::SUCCESS) };
            after = Some(next);
        }
    }

    fn tell<T: serde::Serialize>(
        &self,
        outcome: &Result<T, Refusal>,
        words: impl FnOnce(&T) -> String,
    ) -> ExitCode {
        match outcome {
            Ok(output) if self.as_json => say(&format!("{}\n", json!(output))),
            Ok(output) => say(&words(output)),
            Err(refusal) if self.as_json => say(&format!("{}\n", json!(refusal))),
            Err(refusal) => complain(&refusal.error),
        }
        if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Asks the running server, or does it here. Tells whether it was here.
    async fn ask<C: Command>(
        &self,
        input: C::Input,
    ) -> anyhow::Result<(Result<C::Output, Refusal>, bool)> {
        let path = wire::socket_path(&self.data_dir);
        match socket::ask::<C>(&path, &input).await {
            Ok(answer) => Ok((answer, false)),
            Err(AskError::Absent) => Ok((self.here::<C>(input).await?, true)),
            Err(error) => Err(error.into()),
        }
    }

    async fn here<C: Command>(&self, input: C::Input) -> Answer<C> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let dir = &self.data_dir;
        // Only something new is a reason to make a folder.
        anyhow::ensure!(
            matches!(C::NAME, "account-add" | "account-import" | "domain-add") || dir.is_dir(),
            "there is no data folder `{}`; name that of the server by `--data` or `--config`",
            dir.display()
        );
        let core = wire::core(config).await.map_err(|error| self.explain(error))?;
        let cx: Cx = wire::admin(&core, None, None);
        let outcome = C::run(cx, input).await;
        core.store.stop().await?;
        Ok(outcome.map_err(Refusal::from))
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<OpenError>() {
            Some(OpenError::Locked { .. }) => anyhow::anyhow!(
                "a server has the data folder `{}` and does not answer: it is starting or \
                 stopping; try again in a moment",
                self.data_dir.display()
            ),
            _ => error,
        }
    }
}
