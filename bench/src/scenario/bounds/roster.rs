//! An account with as many contacts as a roster has room for. All of them come at once, hear that it
//! changes and leaves, and are shown to it when it signs in again: that is more than may wait for one
//! session.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{BURST_LEAST, Outcome, SLACK_BYTES, Stage, Trouble, finish};
use crate::fleet::{Fleet, News};
use crate::scenario::{account_number, settle};
use crate::split::{attribute, has};

pub(super) struct Gathering {
    contacts: usize,
    /// The account, and behind it its contacts.
    fleet: Option<Fleet>,
}

/// Whose presence is awaited, by words that are in it.
struct Awaited<'a> {
    stage: &'a Stage<'a>,
    words: [Option<&'a str>; 2],
    /// By each contact, whether the account has heard of it, and it of the account.
    of_contacts: Vec<bool>,
    by_contacts: Vec<bool>,
}

impl Gathering {
    pub(super) const fn new(contacts: usize) -> Self {
        Self { contacts, fleet: None }
    }

    /// Waits until the account has heard of each contact, and each contact of the account, as far as
    /// that is awaited: by words that are in it. How long it took, and how many did not.
    fn wait(
        &self,
        stage: &Stage<'_>,
        fleet: &mut Fleet,
        words: [Option<&str>; 2],
    ) -> anyhow::Result<(Duration, usize)> {
        let mut awaited = Awaited {
            stage,
            words,
            of_contacts: vec![words[0].is_none(); self.contacts],
            by_contacts: vec![words[1].is_none(); self.contacts],
        };
        let begun = Instant::now();
        loop {
            fleet.turn(Duration::from_millis(20), &mut |who, xml, _| awaited.hear(who, xml))?;
            for news in fleet.take_news() {
                match news {
                    News::Closed { who, reason } => anyhow::bail!("{who} was thrown out: {reason}"),
                    News::Ready { who, .. } => {
                        let first = format!("{ROSTER}{}", presence("at home"));
                        fleet.outs().of(who).extend_from_slice(first.as_bytes());
                    }
                }
            }
            let left = awaited.left();
            if left == 0 || begun.elapsed() > PATIENCE {
                return Ok((begun.elapsed(), left));
            }
        }
    }

    /// Everybody subscribes to everybody else. Approved before they ask (RFC 6121 §3.4), they need not
    /// wait for each other.
    fn befriend(&self, stage: &Stage<'_>, fleet: &mut Fleet) -> anyhow::Result<()> {
        let to = |number: usize, kind: &str| {
            format!("<presence type='{kind}' to='{}'/>", stage.jid(number))
        };
        for number in 1..=self.contacts {
            fleet.outs().of(0).extend_from_slice(to(number, "subscribed").as_bytes());
            fleet.outs().of(number).extend_from_slice(to(0, "subscribed").as_bytes());
        }
        finish(fleet, 0..self.contacts + 1)?;
        for number in 1..=self.contacts {
            fleet.outs().of(0).extend_from_slice(to(number, "subscribe").as_bytes());
            fleet.outs().of(number).extend_from_slice(to(0, "subscribe").as_bytes());
        }
        finish(fleet, 0..self.contacts + 1)
    }
}

impl Trouble for Gathering {
    fn about(&self) -> String {
        format!("{} contacts of one account come at once", self.contacts)
    }

    fn accounts(&self) -> usize {
        self.contacts + 1
    }

    fn memory_max(&self) -> u64 {
        // The presence of each, and what waits for the one session.
        self.contacts as u64 * CONTACT_BYTES + OUTBOX_BYTES + SLACK_BYTES
    }

    fn others_least(&self) -> [Duration; 2] {
        [BURST_LEAST; 2]
    }

    fn prepare(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let mut fleet = stage.fleet(self.contacts + 1)?;
        stage.target.sign_in(&mut fleet, 0..self.contacts + 1, |who| stage.login(who))?;
        self.befriend(stage, &mut fleet)?;
        fleet.outs().of(0).extend_from_slice(presence("at home").as_bytes());
        settle(&mut fleet)?;
        self.fleet = Some(fleet);
        Ok(())
    }

    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome> {
        let mut fleet = self.fleet.take().context("nobody is signed in")?;
        let mut outcome = Outcome::default();
        let mut missing = 0;
        let mut note = |name, (length, left): (Duration, usize)| {
            outcome.figures.push((name, length.as_secs_f64(), "s"));
            missing += left;
        };
        for who in 1..=self.contacts {
            fleet.outs().of(who).extend_from_slice(presence("there").as_bytes());
        }
        note("all_come_secs", self.wait(stage, &mut fleet, [Some("there,"), Some("at home")])?);

        fleet.outs().of(0).extend_from_slice(presence("away").as_bytes());
        note("all_hear_of_a_change_secs", self.wait(stage, &mut fleet, [None, Some("away")])?);

        fleet.cut(0);
        let gone = self.wait(stage, &mut fleet, [None, Some("unavailable")])?;
        note("all_hear_of_its_end_secs", gone);

        fleet.connect(0, Some(stage.login(0)))?;
        let seen = self.wait(stage, &mut fleet, [Some("there,"), Some("at home")])?;
        note("signs_in_and_sees_all_secs", seen);

        (1..=self.contacts).for_each(|who| fleet.cut(who));
        let left = self.wait(stage, &mut fleet, [Some("unavailable"), None])?;
        note("all_leave_secs", left);

        outcome.end("contacts and the one account stayed", self.contacts + 1);
        let text = format!("of all these presences {missing} did not come: none");
        outcome.check(text, missing == 0);
        Ok(outcome)
    }
}

impl Awaited<'_> {
    fn hear(&mut self, who: usize, xml: &[u8]) {
        let word = self.words[usize::from(who > 0)];
        if !xml.starts_with(b"<presence") || !word.is_some_and(|word| has(xml, word)) {
            return;
        }
        let prefix = &self.stage.target.common.prefix;
        let from = attribute(xml, "from").and_then(|from| account_number(from, prefix));
        match from.and_then(|number| number.checked_sub(self.stage.first_account)) {
            Some(number @ 1..) if who == 0 => self.of_contacts[number - 1] = true,
            Some(0) if who > 0 => self.by_contacts[who - 1] = true,
            _ => {}
        }
    }

    fn left(&self) -> usize {
        let all = self.of_contacts.iter().chain(&self.by_contacts);
        all.filter(|has_come| !**has_come).count()
    }
}

/// A presence as long as those of clients with an avatar, a device and a status.
fn presence(status: &str) -> String {
    format!(
        "<presence><priority>5</priority><status>{status}, {}</status>\
         <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example/' \
         ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>\
         <x xmlns='vcard-temp:x:update'><photo>sha1-hash-of-image</photo></x>\
         <idle xmlns='urn:xmpp:idle:1' since='2026-01-02T03:04:05Z'/></presence>",
        "and whatever else people write there. ".repeat(16)
    )
}

const ROSTER: &str = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
const PATIENCE: Duration = Duration::from_secs(240);
/// What the presence of a contact may take, as it is kept and while it is on its way to two.
const CONTACT_BYTES: u64 = 6 * 1024;
/// What may wait for one session.
const OUTBOX_BYTES: u64 = 4 << 20;
