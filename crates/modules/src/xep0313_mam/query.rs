//! What a query asks: the filters of its form, the page, and how its results are called.

use stentor_engine::Engine;
use stentor_payload::xep0004_forms::{Expected, Field, FieldKind, Form, FormKind, Mismatch};
use stentor_payload::xep0059_rsm::{self as rsm, Before, Uid};
use stentor_payload::{Decode, Encode, xep0082_time};
use stentor_stanza::{Condition, StanzaError};
use stentor_store::{ArchiveFilter, Edge};
use stentor_xml::{ElementRef, Writer};

use super::NS;
use crate::limits::{ARCHIVE_IDS_MAX, ARCHIVE_QUERY_ID_BYTES_MAX};
use crate::xep0431_full_text as full_text;

/// A query (§4), its ids as they were written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    /// Repeated in every result.
    pub(super) id: Option<String>,
    /// The filters but those by ids.
    pub(super) filter: ArchiveFilter,
    before_id: Option<String>,
    after_id: Option<String>,
    ids: Vec<String>,
    pub(super) page: rsm::Ask,
    /// Whether results are sent newest first (§4.3.4).
    pub(super) is_flipped: bool,
}

/// What is read of the archive.
pub(super) struct Selection {
    pub(super) filter: ArchiveFilter,
    pub(super) from: Edge,
}

impl Decode for Query {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        // §6.1.3: nodes are those of publish-subscribe services.
        if query.attr("node").is_some() {
            return Err(StanzaError::new(Condition::ItemNotFound));
        }
        let mut read = Self {
            id: query.attr("queryid").map(std::borrow::Cow::into_owned),
            page: rsm::Ask::find(query)?,
            is_flipped: query.child(NS, "flip-page").is_some(),
            ..Self::default()
        };
        if read.id.as_ref().is_some_and(|id| id.len() > ARCHIVE_QUERY_ID_BYTES_MAX) {
            return Err(BAD_REQUEST);
        }
        if let Some(form) = Form::find(query)? {
            read.fill(&form)?;
        }
        Ok(read)
    }
}

impl Query {
    fn fill(&mut self, form: &Form) -> Result<(), StanzaError> {
        form.check(NS, FIELDS).map_err(refusal)?;
        let value = |var| form.field(var).and_then(Field::first);
        let moment = |var| match value(var) {
            None => Ok(None),
            Some(text) => xep0082_time::read(text).map(Some).ok_or(BAD_REQUEST),
        };
        self.filter.start_ms = moment("start")?;
        self.filter.end_ms = moment("end")?;
        self.filter.with = form.field("with").and_then(Field::as_jid);
        self.filter.text = value(full_text::FIELD).map(str::to_owned);
        self.before_id = value("before-id").map(str::to_owned);
        self.after_id = value("after-id").map(str::to_owned);
        self.ids = form.field("ids").map_or_else(Vec::new, |f| f.values.clone());
        if self.ids.len() > ARCHIVE_IDS_MAX {
            let text = format!("Ask for at most {ARCHIVE_IDS_MAX} ids at a time.");
            return Err(StanzaError::new(Condition::NotAcceptable).with_text(text));
        }
        Ok(())
    }

    /// What to read, with ids as the store knows them.
    ///
    /// # Errors
    /// `item-not-found`: something is no id of ours (§4.1.3, §4.3.2).
    pub(super) fn select(&self, engine: &Engine) -> Result<Selection, StanzaError> {
        let read = |id: &str| engine.read_id(id).ok_or(StanzaError::new(Condition::ItemNotFound));
        let mut filter = self.filter.clone();
        filter.before_id = self.before_id.as_deref().map(read).transpose()?;
        filter.after_id = self.after_id.as_deref().map(read).transpose()?;
        filter.ids = self.ids.iter().map(|id| read(id)).collect::<Result<_, _>>()?;
        let after = self.page.after.as_ref().map(|Uid(id)| read(id)).transpose()?;
        let from = match (&self.page.before, self.page.index) {
            (None, Some(index)) => Edge::Index(index),
            (None, None) => after.map_or(Edge::First, Edge::After),
            (Some(before), _) => {
                // §4.3.2 leaves both together open: the page before one, of what is behind the other.
                filter.after_id = filter.after_id.max(after);
                match before {
                    Before::End => Edge::Last,
                    Before::Item(Uid(id)) => Edge::Before(read(id)?),
                }
            }
        };
        Ok(Selection { filter, from })
    }
}

/// §4.1.5: an unknown field is not implemented. All else that is wrong is a bad request.
fn refusal(mismatch: Mismatch) -> StanzaError {
    match mismatch {
        Mismatch::Unknown(_) => StanzaError::new(Condition::FeatureNotImplemented),
        other => BAD_REQUEST.with_text(sentence(&other)),
    }
}

fn sentence(mismatch: &Mismatch) -> String {
    let text = mismatch.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

/// The question for the fields of a query (§4.1.5).
pub(super) struct AskFields;

impl Decode for AskFields {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

/// The fields of a query.
pub(super) struct Fields {
    pub(super) has_full_text: bool,
}

impl Encode for Fields {
    fn encode(&self, w: &mut Writer) {
        let shown = FIELDS.iter().filter(|f| self.has_full_text || f.var != full_text::FIELD);
        let form = shown.fold(Form::new(FormKind::Form).of_type(NS), |form, field| {
            let shown = Field::new(field.kind, field.var);
            // The list of all ids is not offered; any may be named.
            form.with(if field.var == "ids" { shown.open() } else { shown })
        });
        w.open(AskFields::NAME, NS);
        form.encode(w);
        w.close();
    }
}

/// §4.1: none is ever required.
const FIELDS: &[Expected] = &[
    Expected::optional(FieldKind::JidSingle, "with"),
    Expected::optional(FieldKind::TextSingle, "start"),
    Expected::optional(FieldKind::TextSingle, "end"),
    Expected::optional(FieldKind::TextSingle, "before-id"),
    Expected::optional(FieldKind::TextSingle, "after-id"),
    Expected::optional(FieldKind::ListMulti, "ids"),
    // §4.1.4: understood, and without effect where no archive of an account has groupchat messages.
    Expected::optional(FieldKind::Boolean, "include-groupchat"),
    Expected::optional(FieldKind::TextSingle, full_text::FIELD),
];
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read(inside: &str) -> Result<Query, StanzaError> {
        let xml = format!("<query xmlns='urn:xmpp:mam:2' queryid='f27'>{inside}</query>");
        Query::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    fn form(fields: &[(&str, &[&str])]) -> String {
        let field = |(var, values): &(&str, &[&str])| {
            let values: String = values.iter().map(|v| format!("<value>{v}</value>")).collect();
            format!("<field var='{var}'>{values}</field>")
        };
        let fields: String = fields.iter().map(field).collect();
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:mam:2</value></field>{fields}</x>"
        )
    }

    fn condition(inside: &str) -> Condition {
        read(inside).unwrap_err().condition
    }

    #[test]
    fn without_anything_all_is_asked_for() {
        let query = read("").unwrap();
        assert_eq!(query, Query { id: Some("f27".into()), ..Query::default() });
    }

    #[test]
    fn filters_are_read() {
        let query = read(&form(&[
            ("start", &["2026-01-02T03:04:05Z"]),
            ("end", &["2026-01-02T03:04:05.678Z"]),
            ("with", &["Juliet@Capulet.example/Balcony"]),
            ("before-id", &["b"]),
            ("after-id", &["a"]),
            ("ids", &["1", "2"]),
            ("include-groupchat", &["false"]),
            (full_text::FIELD, &["baptized"]),
        ]))
        .unwrap();
        let filter = &query.filter;
        assert_eq!(
            (filter.start_ms, filter.end_ms),
            (Some(1_767_323_045_000), Some(1_767_323_045_678))
        );
        assert_eq!(filter.with.as_ref().unwrap().as_str(), "juliet@capulet.example/Balcony");
        assert_eq!(filter.text.as_deref(), Some("baptized"));
        assert_eq!((query.before_id.as_deref(), query.after_id.as_deref()), (Some("b"), Some("a")));
        assert_eq!(query.ids, ["1", "2"]);
    }

    #[test]
    fn empty_fields_filter_nothing() {
        let empty = form(&[("start", &[""]), ("with", &[]), (full_text::FIELD, &[""])]);
        assert_eq!(read(&empty).unwrap().filter, ArchiveFilter::default());
    }

    #[test]
    fn pages_and_flips_are_read() {
        let query = read(
            "<set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set><flip-page/>",
        )
        .unwrap();
        assert!(query.is_flipped);
        assert_eq!(query.page.max, Some(10));
        assert_eq!(query.page.before, Some(Before::End));
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for inside in [
            form(&[("start", &["yesterday"])]),
            form(&[("end", &["2026-01-02"])]),
            form(&[("with", &["a@b@c"])]),
            form(&[("with", &["a.example", "b.example"])]),
            form(&[("include-groupchat", &["perhaps"])]),
            "<x xmlns='jabber:x:data' type='submit'/>".into(),
            "<x xmlns='jabber:x:data' type='form'/>".into(),
            "<x xmlns='jabber:x:data'/>".into(),
        ] {
            assert_eq!(condition(&inside), Condition::BadRequest, "{inside}");
        }
        assert_eq!(condition(&form(&[("weather", &["fair"])])), Condition::FeatureNotImplemented);
        let many = vec!["1"; ARCHIVE_IDS_MAX + 1];
        assert_eq!(condition(&form(&[("ids", &many)])), Condition::NotAcceptable);
    }

    #[test]
    fn no_field_is_required_and_the_list_of_ids_is_open() {
        let frame = Frame::build(|w| Fields { has_full_text: false }.encode(w));
        let form = Form::find(frame.root()).unwrap().unwrap();
        assert!(form.fields.iter().all(|field| !field.is_required));
        assert!(form.field("ids").unwrap().is_open);
        assert!(form.field(full_text::FIELD).is_none());
        let frame = Frame::build(|w| Fields { has_full_text: true }.encode(w));
        assert!(Form::find(frame.root()).unwrap().unwrap().field(full_text::FIELD).is_some());
    }
}
