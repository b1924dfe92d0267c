//! Answers in words, and what can be told without asking anybody.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stentor_admin::accounts::{Account, Row, Shown, Unlocked};
use stentor_admin::archive::Held;
use stentor_admin::devices::{Devices, Revoked};
use stentor_admin::domains::{Added, Origin, Removed, Row as DomainRow};
use stentor_admin::guard::{Blocked, Lifted};
use stentor_admin::reports::{Report, Row as ReportRow};
use stentor_admin::s2s::{Ended, Pair, Stream, Streams, Waiting};
use stentor_admin::server::{Reloaded, State};
use stentor_engine::Spec;
use stentor_modules::registry;
use stentor_payload::xep0082_time;

use crate::config::Config;

/// An account was made: what next.
pub(super) fn added(account: &Account) -> String {
    let jid = &account.jid;
    format!("Made {jid}. Sign in with any XMPP client as {jid}.\n")
}

/// What came of a list of accounts.
pub(super) fn imported(made: usize, refused: usize) -> String {
    let noun = |n: usize| if n == 1 { "account" } else { "accounts" };
    match refused {
        0 => format!("Made {made} {}.\n", noun(made)),
        _ => format!("Made {made} {}; {refused} could not be made.\n", noun(made)),
    }
}

/// Failures were forgotten.
pub(super) fn unlocked(unlocked: &Unlocked) -> String {
    let jid = &unlocked.jid;
    match unlocked.had_failures {
        true => format!("Forgot the failed sign-ins to {jid}.\n"),
        false => format!("There were no failed sign-ins to {jid}.\n"),
    }
}

/// One account of a list.
pub(super) fn row(row: &Row) -> String {
    let suspended = if row.suspended { "  suspended" } else { "" };
    format!("{}  sessions: {}{suspended}\n", row.jid, row.sessions)
}

/// One report of a list.
pub(super) fn report_row(row: &ReportRow) -> String {
    let ReportRow { id, by, jid, reason, messages, .. } = row;
    let at = xep0082_time::write(row.at_ms);
    let reason = plain(reason);
    format!("{by}  {id}  {at}  blocked: {jid}  reason: {reason}  messages: {messages}\n")
}

/// A whole report.
pub(super) fn report(report: &Report) -> String {
    let mut text = report_row(&report.row);
    if let Some(said) = &report.text {
        let _ = writeln!(text, "{}", plain(said));
    }
    for (party, is_agreed) in [
        ("the reported domain", report.may_reach_origin),
        ("third parties", report.may_reach_third_parties),
    ] {
        if is_agreed {
            let _ = writeln!(text, "May be passed on to {party}.");
        }
    }
    for message in &report.messages_xml {
        let _ = writeln!(text, "{}", plain(message));
    }
    text
}

/// Users choose their words; a terminal must not take orders from them.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// One account, looked at by itself.
pub(super) fn shown(shown: &Shown) -> String {
    let Shown { row, waiting_messages, waiting_bytes } = shown;
    let mut text = self::row(row);
    let _ = writeln!(text, "made: {}", xep0082_time::write(row.created_ms));
    let _ = writeln!(text, "waiting messages: {waiting_messages}, {waiting_bytes} bytes");
    text
}

/// A domain is served.
pub(super) fn domain_added(added: &Added) -> String {
    let name = &added.name;
    let mut text =
        format!("Serving {name}. Make an account by `stentor account add NAME@{name}`.\n");
    for warning in &added.warnings {
        let _ = writeln!(text, "Warning: {warning}.");
    }
    text
}

/// A domain is served no longer.
pub(super) fn domain_removed(removed: &Removed) -> String {
    let Removed { name, sessions, accounts } = removed;
    format!("Not serving {name} any more; sessions ended: {sessions}, accounts kept: {accounts}.\n")
}

/// One domain of a list.
pub(super) fn domain_row(row: &DomainRow) -> String {
    let DomainRow { name, profile, is_served, origin, accounts } = row;
    let origin = match origin {
        Origin::Configuration => "configuration",
        Origin::Command => "command",
    };
    let state = if *is_served { "served" } else { "removed" };
    format!("{name}  profile: {profile}  {state}  from: {origin}  accounts: {accounts}\n")
}

/// Devices of an account.
pub(super) fn devices(list: &Devices) -> String {
    let mut text = String::new();
    for device in &list.devices {
        let names: Vec<&str> =
            [&device.software, &device.name].into_iter().filter_map(|n| n.as_deref()).collect();
        let name = if names.is_empty() { "unnamed".to_owned() } else { names.join(", ") };
        let name = plain(&name);
        let means = match (device.knows_password, device.has_token) {
            (true, true) => "password, token",
            (true, false) => "password",
            (false, true) => "token",
            (false, false) => "none",
        };
        let seen = xep0082_time::write(device.last_ms);
        let sessions = device.sessions.len();
        let id = &device.id;
        let _ = writeln!(
            text,
            "{id}  {name}  last seen: {seen}  signs in by: {means}  sessions: {sessions}"
        );
    }
    if list.devices.is_empty() {
        text.push_str("There are none.\n");
    }
    text
}

/// A device was sent away.
pub(super) fn revoked(revoked: &Revoked) -> String {
    let Revoked { jid, device, sessions, knows_password } = revoked;
    let mut text =
        format!("Took back the access of {device} to {jid}; sessions ended: {sessions}.\n");
    if *knows_password {
        text.push_str("It knows the password: change that to keep it out.\n");
    }
    text
}

/// What an archive holds.
pub(super) fn archive(held: &Held) -> String {
    format!("The archive of {} holds {} messages, {} bytes.\n", held.jid, held.messages, held.bytes)
}

/// Blocked addresses.
pub(super) fn blocked(list: &Blocked) -> String {
    let mut text = String::new();
    for row in &list.blocked {
        let _ = writeln!(text, "{}  for {} seconds", row.address, row.left_secs);
    }
    if list.blocked.is_empty() {
        text.push_str("There are none.\n");
    }
    if list.left_out > 0 {
        let _ = writeln!(text, "and {} more", list.left_out);
    }
    text
}

/// Streams between servers, and what waits for one.
pub(super) fn streams(list: &Streams) -> String {
    let mut text = String::new();
    for Stream { direction, pair, peer, tls, cipher, certificate, how, both_ways, since_ms } in
        &list.streams
    {
        let Pair { local, remote } = pair;
        let arrow = match (both_ways, direction.as_str()) {
            (true, _) => "<->",
            (false, "in") => "<-",
            (false, _) => "->",
        };
        let since = xep0082_time::write(*since_ms);
        let _ = writeln!(
            text,
            "{local} {arrow} {remote}  {direction}  {peer}  {tls} {cipher}  \
             certificate: {certificate}  {how}  since {since}"
        );
    }
    if list.streams.is_empty() {
        text.push_str("No stream stands.\n");
    }
    more(&mut text, list.streams_left_out);
    for Waiting { pair: Pair { local, remote }, stanzas, bytes, oldest_secs, trouble } in
        &list.waiting
    {
        let trouble = trouble.as_ref().map(|told| format!("  {told}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{local} -> {remote}  waiting: {stanzas} stanzas, {bytes} bytes, \
             the oldest for {}{trouble}",
            duration(i64::try_from(*oldest_secs).unwrap_or(i64::MAX)),
        );
    }
    more(&mut text, list.waiting_left_out);
    text
}

fn more(text: &mut String, left_out: usize) {
    if left_out > 0 {
        let _ = writeln!(text, "and {left_out} more");
    }
}

/// Streams are being ended.
pub(super) fn streams_ended(ended: &Ended) -> String {
    let Ended { domain, streams } = ended;
    match streams {
        0 => format!("No stream with {domain} stands.\n"),
        1 => format!("1 stream with {domain} is being closed.\n"),
        _ => format!("{streams} streams with {domain} are being closed.\n"),
    }
}

/// A block was lifted.
pub(super) fn lifted(lifted: &Lifted) -> String {
    match lifted.had_failures {
        true => format!("{} may try again.\n", lifted.address),
        false => format!("Nothing was held against {}.\n", lifted.address),
    }
}

/// The configuration was read again.
pub(super) fn reloaded(reloaded: &Reloaded) -> String {
    let mut text = format!("Read the configuration; serving {}.\n", reloaded.domains.join(", "));
    if !reloaded.need_restart.is_empty() {
        let _ = writeln!(text, "Only a restart changes: {}.", reloaded.need_restart.join(", "));
    }
    for warning in &reloaded.warnings {
        let _ = writeln!(text, "Warning: {warning}.");
    }
    text
}

/// How the server is.
pub(super) fn status(state: &State) -> String {
    let mut text = match state.running {
        true => {
            let up = duration(state.uptime_secs);
            format!("Stentor {} has been running for {up}.\n", state.version)
        }
        false => "No server is running on this data folder.\n".to_owned(),
    };
    let more = state.domains_count - state.domains.len().min(state.domains_count);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = writeln!(text, "{:24} {}{more}", "domains", state.domains.join(", "));
    let _ = writeln!(text, "{:24} {}", "accounts", state.accounts);
    if state.running {
        let _ = writeln!(text, "{:24} {}", "sessions", state.sessions);
        for (name, count) in &state.counted {
            let _ = writeln!(text, "{name:24} {count}");
        }
        for (name, count) in &state.store {
            let _ = writeln!(text, "{:24} {count}", format!("store_{name}"));
        }
    }
    text
}

/// The configuration has no mistakes.
pub(super) fn sound(config: &Config) -> String {
    let count = |n: usize, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    format!(
        "The configuration is sound: {}, {}, {}.\n",
        count(config.hosts.len(), "domain"),
        count(config.listeners.len(), "port"),
        count(config.certificates.len(), "certificate"),
    )
}

/// The modules, for people.
pub(super) fn modules() -> String {
    let mut text = String::new();
    for spec in registry::ALL.iter().map(|f| f.spec) {
        let xeps = xeps(spec);
        let xeps = if xeps.is_empty() { String::new() } else { format!(" ({})", xeps.join(", ")) };
        let _ = writeln!(text, "{}{xeps}", spec.name);
        for option in spec.options {
            let _ = writeln!(text, "    {} = {}", option.key, option.default);
            let _ = writeln!(text, "        {}", option.help);
        }
    }
    text
}

/// The modules, for programs.
pub(super) fn modules_json() -> String {
    let modules = registry::ALL.iter().map(|f| f.spec).map(|spec| {
        let options = spec.options.iter().map(
            |option| json!({ "key": option.key, "default": option.default, "help": option.help }),
        );
        let options: Vec<Value> = options.collect();
        let requires = spec.requires;
        json!({ "name": spec.name, "xeps": xeps(spec), "requires": requires, "options": options })
    });
    format!("{}\n", Value::Array(modules.collect()))
}

/// The release, for people.
pub(super) fn version() -> String {
    let schema = stentor_store_sqlite::SCHEMA_VERSION;
    format!("stentor {}, database schema {schema}\n", env!("CARGO_PKG_VERSION"))
}

/// The release, for programs.
pub(super) fn version_json() -> String {
    let (version, schema) = (env!("CARGO_PKG_VERSION"), stentor_store_sqlite::SCHEMA_VERSION);
    format!("{}\n", json!({ "version": version, "schema": schema }))
}

fn xeps(spec: &Spec) -> Vec<String> {
    spec.xeps.iter().map(|xep| format!("XEP-{:04}", xep.number)).collect()
}

fn duration(secs: i64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", secs % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_show_their_two_largest_units() {
        for (secs, expected) in
            [(0, "0 s"), (61, "1 min 1 s"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(duration(secs), expected);
        }
    }
}
