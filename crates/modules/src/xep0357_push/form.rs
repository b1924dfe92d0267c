//! The form in which users choose when and how much their devices are told (XEP-0050).

use std::sync::Arc;

use stentor_engine::commands::{Command, NotCompleted};
use stentor_engine::{AccountState, BoxFuture, IqCx, refuse};
use stentor_payload::xep0004_forms::{Field, FieldKind, Form, FormKind};
use stentor_payload::xep0082_time;
use stentor_stanza::StanzaError;

use super::choice::{Choice, FOREVER, Told};
use super::hours::Hours;
use super::lanes::{self, Lanes};
use super::registration::Registrations;
use crate::limits::PUSH_HOURS_MAX;

/// The command.
pub(super) struct Settings {
    pub(super) lanes: Arc<Lanes>,
}

impl Command for Settings {
    fn name(&self) -> &'static str {
        "Notifications"
    }

    fn form(&self, cx: &IqCx<'_>) -> Result<Form, StanzaError> {
        let state = cx.own_kept_account()?.lock();
        Ok(write(&state))
    }

    fn complete<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        form: Form,
    ) -> BoxFuture<'a, Result<String, NotCompleted>> {
        Box::pin(async move {
            let account = cx.own_kept_account().map_err(NotCompleted::Error)?;
            let ticket = {
                let mut state = account.lock();
                let former = state.slots.find::<Choice>().cloned().unwrap_or_default();
                let choice = read(&form, former, &state).map_err(NotCompleted::Form)?;
                let write = choice.put(&account.jid);
                state.slots.put(choice);
                cx.engine.stores.writer.submit(write)
            };
            let settled = cx.engine.settle(account, ticket).await;
            settled.map_err(|error| NotCompleted::Error(refuse::store_error(&error)))?;
            tracing::info!(event = "push_chosen", account = %account.jid, "A user chose when and how much devices are told.");
            lanes::look_again(&self.lanes, cx.engine, &account.jid, &account.lock());
            Ok("What you have chosen holds from now on.".to_owned())
        })
    }
}

fn write(state: &AccountState) -> Form {
    let choice = state.slots.find::<Choice>().cloned().unwrap_or_default();
    let is_quiet = choice.quiet_until_ms.is_some();
    let until = choice.quiet_until_ms.filter(|ms| *ms < FOREVER).map(xep0082_time::write);
    let mut hours = Field::new(FieldKind::TextMulti, HOURS)
        .label("Only at these hours, in lines such as Mon-Fri 08:00-18:00 Europe/Berlin");
    hours.values = choice.hours.lines();
    let mut form = Form::new(FormKind::Form)
        .of_type(NODE)
        .with(Field::new(FieldKind::Boolean, QUIET).label("Do not disturb").value(if is_quiet {
            "true"
        } else {
            "false"
        }))
        .with(
            Field::new(FieldKind::TextSingle, QUIET_UNTIL)
                .label("Until, as 2026-01-02T03:04:05Z; empty for no end")
                .value(until.unwrap_or_default()),
        )
        .with(hours)
        .with(how_much(CONTENT, "What devices are told", choice.told));
    form.title = Some("Notifications".to_owned());
    form.instructions.push("When your devices are told of messages, and how much.".to_owned());
    for registration in state.slots.find::<Registrations>().iter().flat_map(|r| r.0.values()) {
        let mark = registration.mark();
        let own = choice.devices.get(&mark).copied().unwrap_or_default();
        let (name, service) = (registration.resource(), registration.service.domain());
        let label = format!("The device {name} by {service}");
        form = form.with(how_much(&format!("{DEVICE}{mark}"), &label, own));
    }
    form
}

fn how_much(var: &str, label: &str, told: Told) -> Field {
    let field = Field::new(FieldKind::ListSingle, var).label(label).value(told.name());
    Told::ALL.into_iter().fold(field, |field, told| {
        let label = match told {
            Told::All => "Who writes, and what, as far as the server permits",
            Told::Sender => "Who writes",
            Told::Bare => "That there is something",
            Told::Nothing => "Nothing",
        };
        field.option(Some(label), told.name())
    })
}

/// What was filled in. Fields that are not there stay as they are.
fn read(form: &Form, former: Choice, state: &AccountState) -> Result<Choice, String> {
    if form.form_type() != Some(NODE) {
        return Err(format!("The form is not of the type {NODE}."));
    }
    let mut choice = former;
    if let Some(field) = form.field(QUIET) {
        let is_quiet = field.as_bool().ok_or("`quiet` is neither true nor false.")?;
        let until = form.field(QUIET_UNTIL).and_then(Field::first);
        let until_ms = match until {
            Some(text) => xep0082_time::read(text).ok_or("`quiet_until` is not a time.")?,
            None => FOREVER,
        };
        choice.quiet_until_ms = is_quiet.then_some(until_ms);
    }
    if let Some(field) = form.field(HOURS) {
        if field.values.len() > PUSH_HOURS_MAX {
            return Err(format!("There are more than {PUSH_HOURS_MAX} lines of `hours`."));
        }
        let lines = field.values.iter().map(String::as_str);
        choice.hours = Hours::read(lines).map_err(|wrong| format!("{wrong}."))?;
    }
    let read_told = |field: &Field| {
        let name = field.first().unwrap_or_default();
        Told::read(name).ok_or_else(|| format!("`{name}` is none of the choices."))
    };
    if let Some(field) = form.field(CONTENT) {
        choice.told = read_told(field)?;
    }
    // Of devices that are gone nothing is kept.
    let mut devices = std::mem::take(&mut choice.devices);
    for registration in state.slots.find::<Registrations>().iter().flat_map(|r| r.0.values()) {
        let mark = registration.mark();
        let told = match form.field(&format!("{DEVICE}{mark}")) {
            Some(field) => read_told(field)?,
            None => devices.remove(&mark).unwrap_or_default(),
        };
        if told != Told::default() {
            choice.devices.insert(mark, told);
        }
    }
    Ok(choice)
}

/// The node of the command, and the type of its form.
pub(super) const NODE: &str = "https://stentor.im/protocol/push";
const QUIET: &str = "quiet";
const QUIET_UNTIL: &str = "quiet_until";
const HOURS: &str = "hours";
const CONTENT: &str = "content";
/// How the fields of devices begin.
const DEVICE: &str = "device-";

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(fields: &[(&str, &str)]) -> Result<Choice, String> {
        let form = Form::new(FormKind::Submit).of_type(NODE);
        let form = fields.iter().fold(form, |form, (var, value)| {
            form.with(Field::new(FieldKind::TextSingle, var).value(*value))
        });
        read(&form, Choice::default(), &AccountState::default())
    }

    #[test]
    fn what_is_filled_in_is_read_and_what_is_wrong_is_told() {
        let choice = submitted(&[("quiet", "1"), ("quiet_until", "1970-01-01T00:00:01Z")]);
        assert_eq!(choice.unwrap().quiet_until_ms, Some(1_000));
        assert_eq!(submitted(&[("quiet", "true")]).unwrap().quiet_until_ms, Some(FOREVER));
        assert_eq!(submitted(&[("quiet", "false")]).unwrap().quiet_until_ms, None);
        assert_eq!(submitted(&[("content", "bare")]).unwrap().told, Told::Bare);
        assert_eq!(submitted(&[("unknown", "x")]).unwrap(), Choice::default());
        for (var, value) in [("quiet", "perhaps"), ("hours", "always"), ("content", "everything")] {
            assert!(submitted(&[(var, value)]).is_err(), "{var}");
        }
        assert!(submitted(&[("quiet", "1"), ("quiet_until", "tomorrow")]).is_err());
        let other = Form::new(FormKind::Submit).of_type("urn:example:x");
        assert!(read(&other, Choice::default(), &AccountState::default()).is_err());
    }

    #[test]
    fn the_form_shows_what_holds() {
        let mut state = AccountState::default();
        let form = write(&state);
        assert_eq!(form.field("quiet").unwrap().as_bool(), Some(false));
        state.slots.put(Choice {
            quiet_until_ms: Some(1_000),
            hours: Hours::read(["Sat 10:00-12:00 UTC"]).unwrap(),
            told: Told::Sender,
            ..Choice::default()
        });
        let mut form = write(&state);
        assert_eq!(form.field("quiet_until").unwrap().first(), Some("1970-01-01T00:00:01Z"));
        // Sent back as it came it changes nothing.
        form.kind = FormKind::Submit;
        let choice = state.slots.find::<Choice>().unwrap();
        assert_eq!(read(&form, Choice::default(), &state).as_ref(), Ok(choice));
    }
}
