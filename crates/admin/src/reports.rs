//! Commands about what users report (XEP-0377).

use serde::{Deserialize, Serialize};
use stentor_engine::xep0377_reports::Kept;

use crate::Cx;
use crate::accounts::address;
use crate::command::{AdminError, Command};
use crate::limits::REPORT_ROWS;

/// Lists the reports that wait, a page at a time.
#[derive(Debug)]
pub struct ListReports;

/// Shows a report with all that was kept of it.
#[derive(Debug)]
pub struct ShowReport;

/// Drops a report.
#[derive(Debug)]
pub struct DropReport;

/// Which reports to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct After {
    /// What the page before said of the next one.
    pub after: Option<Which>,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The account that reported: `name@domain`.
    pub by: String,
    /// The report, as the list names it.
    pub id: u64,
}

/// A page of reports, by reporter and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// The reports.
    pub reports: Vec<Row>,
    /// Where the next page begins; none after the last.
    pub next: Option<Which>,
}

/// One report of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What names it among the reports of its reporter.
    pub id: u64,
    /// The account that reported.
    pub by: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The address that was reported, and blocked.
    pub jid: String,
    /// Why: a URN.
    pub reason: String,
    /// How many messages were kept with it.
    pub messages: usize,
}

/// A whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What the list has of it.
    #[serde(flatten)]
    pub row: Row,
    /// What the reporter said.
    pub text: Option<String>,
    /// Whether the reporter agrees that the reported domain learns of it.
    pub may_reach_origin: bool,
    /// Whether the reporter agrees that others who collect reports learn of it.
    pub may_reach_third_parties: bool,
    /// The messages, as XML.
    pub messages_xml: Vec<String>,
}

impl Command for ListReports {
    const NAME: &'static str = "report-list";
    const SUMMARY: &'static str = "List what users reported.";
    type Input = After;
    type Output = Reports;

    async fn run(cx: Cx, input: After) -> Result<Reports, AdminError> {
        let after =
            input.after.map(|w| Ok::<_, AdminError>((address(&w.by)?, w.id))).transpose()?;
        let page = cx.engine.reports(after).await?;
        let next = page.next.map(|(by, id)| Which { by: by.as_str().to_owned(), id });
        let reports: Vec<Row> = page.reports.iter().take(REPORT_ROWS).map(Row::of).collect();
        // What did not fit comes with the next page.
        let cut = reports.last().filter(|_| reports.len() < page.reports.len());
        let next = cut.map(|row| Which { by: row.by.clone(), id: row.id }).or(next);
        Ok(Reports { reports, next })
    }
}

impl Command for ShowReport {
    const NAME: &'static str = "report-show";
    const SUMMARY: &'static str = "Show a report with all that was kept of it.";
    type Input = Which;
    type Output = Report;

    async fn run(cx: Cx, input: Which) -> Result<Report, AdminError> {
        let kept = cx.engine.report(&address(&input.by)?, input.id).await?;
        let kept = kept.ok_or_else(|| input.missing())?;
        let messages = kept.messages.iter().map(|message| message.to_bytes());
        Ok(Report {
            row: Row::of(&kept),
            messages_xml: messages.map(|xml| String::from_utf8_lossy(&xml).into_owned()).collect(),
            text: kept.report.text,
            may_reach_origin: kept.report.may_reach_origin,
            may_reach_third_parties: kept.report.may_reach_third_parties,
        })
    }
}

impl Command for DropReport {
    const NAME: &'static str = "report-drop";
    const SUMMARY: &'static str = "Drop a report that was dealt with.";
    type Input = Which;
    type Output = Which;

    async fn run(cx: Cx, input: Which) -> Result<Which, AdminError> {
        if !cx.engine.drop_report(&address(&input.by)?, input.id).await? {
            return Err(input.missing());
        }
        let (by, id) = (&input.by, input.id);
        tracing::info!(event = "report_dropped", account = by, id, "A report was dropped.");
        Ok(input)
    }
}

impl Which {
    fn missing(&self) -> AdminError {
        AdminError::Refused(format!("{} has made no report `{}`", self.by, self.id))
    }
}

impl Row {
    fn of(kept: &Kept) -> Self {
        Self {
            id: kept.id,
            by: kept.by.as_str().to_owned(),
            at_ms: kept.at_ms(),
            jid: kept.blocked.as_str().to_owned(),
            reason: kept.report.reason.clone(),
            messages: kept.messages.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    const REPORT: &str = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>\
        <item jid='tybalt@capulet.example'>\
        <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
        <text>Never came trouble to my house like this.</text><third-party/></report></item>\
        </block></iq>";

    #[tokio::test]
    async fn what_users_report_is_listed_shown_and_dropped() {
        let world = World::new();
        let list = async || ListReports::run(cx(&world), After::default()).await.unwrap();
        assert_eq!(list().await, Reports { reports: Vec::new(), next: None });
        world.add_account("juliet@capulet.example").await;
        let mut juliet = world.connect("juliet@capulet.example/balcony").await;
        juliet.send(REPORT).await;
        let page = list().await;
        let [row] = &page.reports[..] else { panic!("{page:?}") };
        assert_eq!((&*row.by, &*row.jid), ("juliet@capulet.example", "tybalt@capulet.example"));
        assert_eq!((&*row.reason, row.messages), ("urn:xmpp:reporting:spam", 0));
        assert_eq!(row.at_ms, world.engine.clock.unix_ms());

        let which = Which { by: row.by.clone(), id: row.id };
        let rest = After { after: page.next.clone() };
        assert_eq!(ListReports::run(cx(&world), rest).await.unwrap().reports, []);
        let report = ShowReport::run(cx(&world), which.clone()).await.unwrap();
        assert_eq!(report.text.as_deref(), Some("Never came trouble to my house like this."));
        assert!(report.may_reach_third_parties && !report.may_reach_origin);
        DropReport::run(cx(&world), which.clone()).await.unwrap();
        assert_eq!(list().await.reports, []);
        for error in [
            ShowReport::run(cx(&world), which.clone()).await.map(|_| ()).unwrap_err(),
            DropReport::run(cx(&world), which).await.map(|_| ()).unwrap_err(),
        ] {
            assert!(error.to_string().starts_with("juliet@capulet.example has made no report"));
        }
    }
}
