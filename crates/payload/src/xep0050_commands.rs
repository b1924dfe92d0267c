//! XEP-0050: Ad-Hoc Commands, version 1.3.0.
//!
//! A command as it is asked for, and what is answered.
//! Implements: §2.4 (executing, stages, cancelling), §4.1 to §4.3 (the elements), §4.4 (malformed
//! actions).
//! Left out: nothing. Languages beyond the server's own are answered in that.

use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::limits::{COMMAND_NODE_BYTES_MAX, COMMAND_SESSION_BYTES_MAX};
use crate::xep0004_forms::Form;
use crate::{Decode, Encode};

/// A command that somebody executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which.
    pub node: String,
    /// The session that goes on; none for a new one.
    pub session: Option<String>,
    /// What is to be done.
    pub action: Action,
    /// What was filled in.
    pub form: Option<Form>,
}

/// What is to be done with a command (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is to begin, or to go on as the answer before said.
    Execute,
    /// It is given up.
    Cancel,
    /// The stage before it.
    Prev,
    /// The next stage.
    Next,
    /// It is to be done with what was filled in.
    Complete,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Which command.
    pub node: String,
    /// Its session.
    pub session: String,
    /// What became of it.
    pub progress: Progress,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A form is to be filled in, after which it can be completed.
    Form(Form),
    /// It is done; a sentence for people.
    Completed(String),
    /// It was given up.
    Canceled,
}

impl Decode for Command {
    const NS: &'static str = NS;
    const NAME: &'static str = "command";

    fn decode(command: ElementRef<'_>) -> Result<Self, StanzaError> {
        let bounded = |name, max: usize| command.attr(name).filter(|text| text.len() <= max);
        let node = bounded("node", COMMAND_NODE_BYTES_MAX).ok_or(BAD_REQUEST)?;
        let session = match command.attr("sessionid") {
            None => None,
            Some(_) => {
                let session = bounded("sessionid", COMMAND_SESSION_BYTES_MAX);
                Some(session.ok_or(BAD_REQUEST.with_app("bad-sessionid", NS))?.into_owned())
            }
        };
        let action = match command.attr("action").as_deref() {
            None | Some("execute") => Action::Execute,
            Some("cancel") => Action::Cancel,
            Some("prev") => Action::Prev,
            Some("next") => Action::Next,
            Some("complete") => Action::Complete,
            Some(_) => return Err(BAD_REQUEST.with_app("malformed-action", NS)),
        };
        let form = Form::find(command).map_err(|_| BAD_REQUEST.with_app("bad-payload", NS))?;
        Ok(Self { node: node.into_owned(), session, action, form })
    }
}

impl Encode for Executed {
    fn encode(&self, w: &mut Writer) {
        let status = match &self.progress {
            Progress::Form(_) => "executing",
            Progress::Completed(_) => "completed",
            Progress::Canceled => "canceled",
        };
        w.open("command", NS).attr("node", &self.node);
        w.attr("sessionid", &self.session).attr("status", status);
        match &self.progress {
            Progress::Form(form) => {
                // §3.4: `execute` names an action that is allowed.
                w.open("actions", NS).attr("execute", "complete").leaf("complete", NS).close();
                form.encode(w);
            }
            Progress::Completed(note) => {
                w.open("note", NS).attr("type", "info").text(note).close();
            }
            Progress::Canceled => {}
        }
        w.close();
    }
}

/// The namespace of commands, and the node under which they are found (§2.2).
pub const NS: &str = "http://jabber.org/protocol/commands";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;
    use crate::xep0004_forms::FormKind;

    fn command(attrs: &str, inside: &str) -> Result<Command, StanzaError> {
        let xml = format!("<command xmlns='{NS}' {attrs}>{inside}</command>");
        Command::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    fn refusal(attrs: &str, inside: &str) -> String {
        let error = command(attrs, inside).unwrap_err();
        let frame = Frame::build(|w| error.write(w));
        frame.as_str().to_owned()
    }

    #[test]
    fn s4_1_the_action_is_to_execute_unless_it_says_otherwise() {
        assert_eq!(command("node='config'", "").unwrap().action, Action::Execute);
        for (name, action) in [
            ("execute", Action::Execute),
            ("cancel", Action::Cancel),
            ("prev", Action::Prev),
            ("next", Action::Next),
            ("complete", Action::Complete),
        ] {
            let read =
                command(&format!("node='config' sessionid='s' action='{name}'"), "").unwrap();
            assert_eq!((read.action, read.session.as_deref()), (action, Some("s")));
        }
    }

    #[test]
    fn s4_4_what_cannot_be_understood_is_told() {
        assert!(refusal("node='a' action='dance'", "").contains("<malformed-action xmlns='http"));
        let long = "x".repeat(COMMAND_SESSION_BYTES_MAX + 1);
        assert!(refusal(&format!("node='a' sessionid='{long}'"), "").contains("<bad-sessionid"));
        assert!(
            refusal("node='a'", "<x xmlns='jabber:x:data' type='?'/>").contains("<bad-payload")
        );
        let error = command("", "").unwrap_err();
        assert_eq!(error.condition, Condition::BadRequest);
    }

    #[test]
    fn s2_4_answers_say_how_far_it_is() {
        let write = |progress| {
            let answer = Executed { node: "config".into(), session: "s".into(), progress };
            Frame::build(|w| answer.encode(w)).as_str().to_owned()
        };
        let head = "<command xmlns='http://jabber.org/protocol/commands' node='config' \
                    sessionid='s' status=";
        assert_eq!(write(Progress::Canceled), format!("{head}'canceled'/>"));
        assert_eq!(
            write(Progress::Completed("Done.".into())),
            format!("{head}'completed'><note type='info'>Done.</note></command>")
        );
        assert_eq!(
            write(Progress::Form(Form::new(FormKind::Form))),
            format!(
                "{head}'executing'><actions execute='complete'><complete/></actions>\
                 <x xmlns='jabber:x:data' type='form'/></command>"
            )
        );
    }
}
