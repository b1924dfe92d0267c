//! XEP-0377: Blocking Command Reports, version 0.4.1.
//!
//! Why an address was blocked, for the operator of the server.
//! Implements: §4 (reasons, text), §5 (what the reporter agrees to), §6 (named messages).
//! Left out: nothing.

use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::limits::{
    REPORT_REASON_BYTES_MAX, REPORT_STANZAS_MAX, REPORT_TEXT_BYTES_MAX, STANZA_ID_BYTES_MAX,
};
use crate::{Decode, Encode, xep0359_sid};

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A URN; §4 defines two.
    pub reason: String,
    /// What the reporter says about it.
    pub text: Option<String>,
    /// The messages it is about.
    pub stanzas: Vec<StanzaId>,
    /// Whether the reported domain may learn of it (§5).
    pub may_reach_origin: bool,
    /// Whether others who collect reports may learn of it (§5).
    pub may_reach_third_parties: bool,
}

/// A message, by the id under which an archive keeps it (XEP-0359).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaId {
    /// Whose archive.
    pub by: String,
    /// The id.
    pub id: String,
}

impl Report {
    /// The report inside an element, if there is one.
    ///
    /// # Errors
    /// As for [`Report::decode`].
    pub fn find(item: ElementRef<'_>) -> Result<Option<Self>, StanzaError> {
        item.child(NS, Self::NAME).map(Self::decode).transpose()
    }
}

impl Decode for Report {
    const NS: &'static str = NS;
    const NAME: &'static str = "report";

    fn decode(report: ElementRef<'_>) -> Result<Self, StanzaError> {
        // §4: a report includes a reason.
        let reason = report.attr("reason").filter(|r| !r.is_empty()).ok_or(BAD_REQUEST)?;
        let text = report.child(NS, "text").map(|t| t.text().trim().to_owned());
        let mut stanzas = Vec::new();
        for element in report.children().filter(|c| c.is(xep0359_sid::NS, "stanza-id")) {
            let attr = |name| element.attr(name).map(std::borrow::Cow::into_owned);
            let (Some(by), Some(id)) = (attr("by"), attr("id")) else { return Err(BAD_REQUEST) };
            if by.len().max(id.len()) > STANZA_ID_BYTES_MAX {
                return Err(BAD_REQUEST);
            }
            stanzas.push(StanzaId { by, id });
        }
        let is_too_long = reason.len() > REPORT_REASON_BYTES_MAX
            || text.as_ref().is_some_and(|t| t.len() > REPORT_TEXT_BYTES_MAX)
            || stanzas.len() > REPORT_STANZAS_MAX;
        if is_too_long {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        Ok(Self {
            reason: reason.into_owned(),
            text: text.filter(|t| !t.is_empty()),
            stanzas,
            may_reach_origin: report.child(NS, "report-origin").is_some(),
            may_reach_third_parties: report.child(NS, "third-party").is_some(),
        })
    }
}

impl Encode for Report {
    fn encode(&self, w: &mut Writer) {
        w.open(Self::NAME, NS).attr("reason", &self.reason);
        for stanza in &self.stanzas {
            xep0359_sid::write(w, &stanza.by, &stanza.id);
        }
        if let Some(text) = &self.text {
            w.text_element("text", NS, text);
        }
        let agreed = [
            ("report-origin", self.may_reach_origin),
            ("third-party", self.may_reach_third_parties),
        ];
        for (name, _) in agreed.into_iter().filter(|(_, is_agreed)| *is_agreed) {
            w.leaf(name, NS);
        }
        w.close();
    }
}

/// The namespace of reports.
pub const NS: &str = "urn:xmpp:reporting:1";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read(xml: &str) -> Result<Report, StanzaError> {
        Report::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn s6_a_report_with_messages_is_read_and_written_again() {
        let report = read(
            "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='28482-98726-73623'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='38383-38018-18385'/>\
             <text xml:lang='en'>\n    Never came trouble to my house like this.\n  </text>\
             <report-origin/><third-party/></report>",
        )
        .unwrap();
        assert_eq!(report.reason, "urn:xmpp:reporting:spam");
        assert_eq!(report.text.as_deref(), Some("Never came trouble to my house like this."));
        assert_eq!(report.stanzas[1].id, "38383-38018-18385");
        assert!(report.may_reach_origin && report.may_reach_third_parties);
        let frame = Frame::build(|w| report.encode(w));
        assert_eq!(Report::decode(frame.root()), Ok(report));
    }

    #[test]
    fn s5_nothing_is_agreed_to_by_silence() {
        let report =
            read("<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'/>");
        let report = report.unwrap();
        assert!(!report.may_reach_origin && !report.may_reach_third_parties);
    }

    #[test]
    fn s4_a_report_has_a_reason() {
        for xml in [
            "<report xmlns='urn:xmpp:reporting:1'/>",
            "<report xmlns='urn:xmpp:reporting:1' reason=''/>",
            "<report xmlns='urn:xmpp:reporting:1' reason='a'>\
             <stanza-id xmlns='urn:xmpp:sid:0' id='a'/></report>",
        ] {
            assert_eq!(read(xml), Err(BAD_REQUEST), "{xml}");
        }
    }

    #[test]
    fn overlong_reports_are_refused() {
        let text = "x".repeat(REPORT_TEXT_BYTES_MAX + 1);
        let ids = "<stanza-id xmlns='urn:xmpp:sid:0' by='a.example' id='a'/>"
            .repeat(REPORT_STANZAS_MAX + 1);
        let reason = "x".repeat(REPORT_REASON_BYTES_MAX + 1);
        for (reason, inside) in
            [("a", format!("<text>{text}</text>")), ("a", ids), (&*reason, String::new())]
        {
            let xml = format!("<report xmlns='{NS}' reason='{reason}'>{inside}</report>");
            assert_eq!(read(&xml), Err(StanzaError::new(Condition::NotAcceptable)));
        }
    }
}
