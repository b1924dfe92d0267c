//! XEP-0004: Data Forms, version 2.13.2.
//!
//! Forms and their fields: read, written, and compared with what a form may contain.
//! Implements: §3.1 (form types), §3.2 and §3.3 (fields and their types), §3.5 and §3.6 (fields
//! left out and left empty), §4 (validation, in `expect.rs`); the field `FORM_TYPE` of XEP-0068; the
//! open lists of XEP-0122.
//! Left out: §3.4 (tables of results), which come with the searches that need them.

mod expect;

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

pub use expect::{Expected, Mismatch};

use crate::limits::{FORM_FIELDS_MAX, FORM_VALUES_MAX};
use crate::{Decode, Encode};

/// A form: an empty one to fill in, a submitted one, or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// What it is for.
    pub kind: FormKind,
    /// A title for people.
    pub title: Option<String>,
    /// Sentences for people, one for each element.
    pub instructions: Vec<String>,
    /// The fields in order.
    pub fields: Vec<Field>,
}

/// What a form is for (§3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// To be filled in.
    Form,
    /// Filled in.
    Submit,
    /// Given up.
    Cancel,
    /// Data that is told.
    Result,
}

/// One field (§3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name; only `fixed` fields may have none.
    pub var: Option<String>,
    /// Its type; none where it is inferred from the context, as in submitted forms.
    pub kind: Option<FieldKind>,
    /// A name for people.
    pub label: Option<String>,
    /// A description for people.
    pub desc: Option<String>,
    /// Whether the form is valid only with it.
    pub is_required: bool,
    /// Its values.
    pub values: Vec<String>,
    /// What can be chosen, in lists.
    pub options: Vec<FieldOption>,
    /// Whether values beyond the options are welcome (XEP-0122 §3.2.2).
    pub is_open: bool,
}

/// One of the choices of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldOption {
    /// A name for people.
    pub label: Option<String>,
    /// The value.
    pub value: String,
}

/// The type of a field (§3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// True or false.
    Boolean,
    /// Text for people between the fields.
    Fixed,
    /// Returned as it came.
    Hidden,
    /// Any number of addresses.
    JidMulti,
    /// One address.
    JidSingle,
    /// Any number of the options.
    ListMulti,
    /// One of the options.
    ListSingle,
    /// Lines of text.
    TextMulti,
    /// Text that is not shown.
    TextPrivate,
    /// One line of text.
    TextSingle,
}

impl Form {
    /// A form without fields.
    #[must_use]
    pub const fn new(kind: FormKind) -> Self {
        Self { kind, title: None, instructions: Vec::new(), fields: Vec::new() }
    }

    /// The same with a hidden field `FORM_TYPE` (XEP-0068 §3.1).
    #[must_use]
    pub fn of_type(self, form_type: &str) -> Self {
        self.with(Field::new(FieldKind::Hidden, FORM_TYPE).value(form_type))
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.var.as_deref() == Some(var))
    }

    /// The value of the field `FORM_TYPE`; none if it has several, as a hidden field never does (§3.3).
    #[must_use]
    pub fn form_type(&self) -> Option<&str> {
        self.field(FORM_TYPE).filter(|field| field.values.len() == 1)?.first()
    }

    /// The first form of a wrapper element, if it holds one.
    ///
    /// # Errors
    /// As for [`Form::decode`].
    pub fn find(wrapper: ElementRef<'_>) -> Result<Option<Self>, StanzaError> {
        wrapper.child(NS, Self::NAME).map(Self::decode).transpose()
    }
}

impl Field {
    /// A field without values.
    #[must_use]
    pub fn new(kind: FieldKind, var: &str) -> Self {
        Self { var: Some(var.to_owned()), kind: Some(kind), ..Self::default() }
    }

    /// The same with one more value.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.values.push(value.into());
        self
    }

    /// The same with a name for people.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with one more choice.
    #[must_use]
    pub fn option(mut self, label: Option<&str>, value: impl Into<String>) -> Self {
        let label = label.map(str::to_owned);
        self.options.push(FieldOption { label, value: value.into() });
        self
    }

    /// The same as a list that takes any value.
    #[must_use]
    pub const fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// The first value; none also where it is empty, which says the same (§3.6).
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.values.first().map(String::as_str).filter(|v| !v.is_empty())
    }

    /// The first value as a boolean in either spelling (§3.3); none if there is none or it is
    /// something else.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        read_bool(self.first()?)
    }

    /// The first value as an address; none if there is none or it is something else.
    #[must_use]
    pub fn as_jid(&self) -> Option<Jid> {
        Jid::new(self.first()?).ok()
    }
}

impl FieldKind {
    /// The value of the `type` attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Fixed => "fixed",
            Self::Hidden => "hidden",
            Self::JidMulti => "jid-multi",
            Self::JidSingle => "jid-single",
            Self::ListMulti => "list-multi",
            Self::ListSingle => "list-single",
            Self::TextMulti => "text-multi",
            Self::TextPrivate => "text-private",
            Self::TextSingle => "text-single",
        }
    }

    /// Reads the `type` attribute: what is not known is `text-single` (§3.3).
    fn read(name: &str) -> Self {
        let known = KINDS.iter().find(|kind| kind.name() == name);
        known.copied().unwrap_or(Self::TextSingle)
    }

    /// Whether a field of this type may have several values (§3.2).
    #[must_use]
    pub const fn is_multi(self) -> bool {
        matches!(self, Self::Hidden | Self::JidMulti | Self::ListMulti | Self::TextMulti)
    }
}

impl FormKind {
    /// The value of the `type` attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Result => "result",
        }
    }

    fn read(name: &str) -> Option<Self> {
        let all = [Self::Form, Self::Submit, Self::Cancel, Self::Result];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

impl Decode for Form {
    const NS: &'static str = NS;
    const NAME: &'static str = "x";

    fn decode(x: ElementRef<'_>) -> Result<Self, StanzaError> {
        let kind = x.attr("type").and_then(|t| FormKind::read(&t)).ok_or(BAD_REQUEST)?;
        let mut form = Self::new(kind);
        let mut values_left = FORM_VALUES_MAX;
        for child in x.children().filter(|c| c.ns() == NS) {
            match child.name() {
                "title" => form.title = Some(child.text().into_owned()),
                "instructions" => {
                    take_one(&mut values_left)?;
                    form.instructions.push(child.text().into_owned());
                }
                "field" if form.fields.len() == FORM_FIELDS_MAX => return Err(BAD_REQUEST),
                "field" => {
                    let field = read_field(child, &mut values_left)?;
                    // §3.2: `var` identifies the field in its form.
                    if field.var.as_deref().is_some_and(|var| form.field(var).is_some()) {
                        return Err(BAD_REQUEST);
                    }
                    form.fields.push(field);
                }
                _ => {}
            }
        }
        Ok(form)
    }
}

fn read_field(element: ElementRef<'_>, values_left: &mut usize) -> Result<Field, StanzaError> {
    let text = |of: ElementRef<'_>| of.text().into_owned();
    let mut field = Field {
        var: element.attr("var").map(std::borrow::Cow::into_owned),
        kind: element.attr("type").map(|t| FieldKind::read(&t)),
        label: element.attr("label").map(std::borrow::Cow::into_owned),
        ..Field::default()
    };
    if field.var.is_none() && field.kind != Some(FieldKind::Fixed) {
        return Err(BAD_REQUEST);
    }
    for child in element.children() {
        if child.is(NS_VALIDATE, "validate") {
            field.is_open = child.child(NS_VALIDATE, "open").is_some();
        }
        if child.ns() != NS {
            continue;
        }
        if matches!(child.name(), "value" | "option") {
            take_one(values_left)?;
        }
        match child.name() {
            "desc" => field.desc = Some(text(child)),
            "required" => field.is_required = true,
            "value" => field.values.push(text(child)),
            "option" => field.options.push(FieldOption {
                label: child.attr("label").map(std::borrow::Cow::into_owned),
                value: text(child.child(NS, "value").ok_or(BAD_REQUEST)?),
            }),
            _ => {}
        }
    }
    Ok(field)
}

fn take_one(left: &mut usize) -> Result<(), StanzaError> {
    *left = left.checked_sub(1).ok_or(BAD_REQUEST)?;
    Ok(())
}

impl Encode for Form {
    fn encode(&self, w: &mut Writer) {
        w.open(Self::NAME, NS).attr("type", self.kind.name());
        if let Some(title) = &self.title {
            w.text_element("title", NS, title);
        }
        for line in &self.instructions {
            w.text_element("instructions", NS, line);
        }
        for field in &self.fields {
            field.encode(w);
        }
        w.close();
    }
}

impl Encode for Field {
    fn encode(&self, w: &mut Writer) {
        w.open("field", NS)
            .attr_opt("var", self.var.as_deref())
            .attr_opt("type", self.kind.map(FieldKind::name))
            .attr_opt("label", self.label.as_deref());
        if let Some(desc) = &self.desc {
            w.text_element("desc", NS, desc);
        }
        if self.is_required {
            w.leaf("required", NS);
        }
        for value in &self.values {
            w.text_element("value", NS, value);
        }
        for option in &self.options {
            w.open("option", NS).attr_opt("label", option.label.as_deref());
            w.text_element("value", NS, &option.value).close();
        }
        if self.is_open {
            w.open("validate", NS_VALIDATE).attr("datatype", "xs:string");
            w.leaf("open", NS_VALIDATE).close();
        }
        w.close();
    }
}

fn read_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// The namespace of forms.
pub const NS: &str = "jabber:x:data";
/// The name of the hidden field that says which form it is (XEP-0068).
pub const FORM_TYPE: &str = "FORM_TYPE";
/// The namespace of validation (XEP-0122).
const NS_VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);
const KINDS: [FieldKind; 10] = [
    FieldKind::Boolean,
    FieldKind::Fixed,
    FieldKind::Hidden,
    FieldKind::JidMulti,
    FieldKind::JidSingle,
    FieldKind::ListMulti,
    FieldKind::ListSingle,
    FieldKind::TextMulti,
    FieldKind::TextPrivate,
    FieldKind::TextSingle,
];

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read(xml: &str) -> Result<Form, StanzaError> {
        Form::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    fn written(form: &Form) -> String {
        Frame::build(|w| form.encode(w)).as_str().to_owned()
    }

    #[test]
    fn reads_a_submitted_form() {
        let form = read(
            "<x xmlns='jabber:x:data' type='submit'>\
             <field type='hidden' var='FORM_TYPE'><value>jabber:bot</value></field>\
             <field var='public'><value>0</value></field>\
             <field var='owner'><value>Romeo@Montague.example</value></field>\
             <field var='features'><value>news</value><value>search</value></field>\
             <field var='password'><value/></field></x>",
        )
        .unwrap();
        assert_eq!(form.kind, FormKind::Submit);
        assert_eq!(form.form_type(), Some("jabber:bot"));
        assert_eq!(form.field("public").unwrap().as_bool(), Some(false));
        let owner = form.field("owner").unwrap().as_jid().unwrap();
        assert_eq!(owner.as_str(), "romeo@montague.example");
        assert_eq!(form.field("features").unwrap().values, ["news", "search"]);
        assert_eq!(form.field("password").unwrap().first(), None);
        assert_eq!(form.field("other"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let form = Form {
            title: Some("Bot configuration".into()),
            instructions: vec!["Fill out this form.".into()],
            ..Form::new(FormKind::Form)
        }
        .of_type("jabber:bot")
        .with(Field { desc: Some("<&>".into()), ..Field::new(FieldKind::Boolean, "public") })
        .with(
            Field { is_required: true, ..Field::new(FieldKind::TextSingle, "name") }.label("Name"),
        )
        .with(Field::new(FieldKind::ListSingle, "n").option(Some("Ten"), "10").option(None, "20"))
        .with(Field::new(FieldKind::ListMulti, "ids").open());
        assert_eq!(read(&written(&form)).unwrap(), form);
    }

    #[test]
    fn an_open_list_is_written_as_xep0122_says() {
        let form = Form::new(FormKind::Form).with(Field::new(FieldKind::ListMulti, "ids").open());
        assert_eq!(
            written(&form),
            "<x xmlns='jabber:x:data' type='form'><field var='ids' type='list-multi'>\
             <validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'>\
             <open/></validate></field></x>"
        );
    }

    #[test]
    fn booleans_have_two_spellings() {
        let value = |v: &str| Field::new(FieldKind::Boolean, "b").value(v).as_bool();
        assert_eq!(
            ["1", "true", "0", "false", "yes", ""].map(value),
            [Some(true), Some(true), Some(false), Some(false), None, None]
        );
    }

    #[test]
    fn unknown_types_of_fields_are_text() {
        let form =
            read("<x xmlns='jabber:x:data' type='form'><field var='a' type='odd'/></x>").unwrap();
        assert_eq!(form.fields[0].kind, Some(FieldKind::TextSingle));
    }

    #[test]
    fn forms_that_are_none_are_refused() {
        let too_many = |what: &str| {
            let fields: String =
                (0..=FORM_FIELDS_MAX).map(|n| what.replace('#', &n.to_string())).collect();
            format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")
        };
        let values = "<value/>".repeat(FORM_VALUES_MAX + 1);
        for xml in [
            "<x xmlns='jabber:x:data'/>".to_owned(),
            "<x xmlns='jabber:x:data' type='error'/>".to_owned(),
            "<x xmlns='jabber:x:data' type='submit'><field/></x>".to_owned(),
            "<x xmlns='jabber:x:data' type='submit'><field var='a'/><field var='a'/></x>"
                .to_owned(),
            "<x xmlns='jabber:x:data' type='form'><field var='a'><option/></field></x>".to_owned(),
            too_many("<field var='#'/>"),
            format!("<x xmlns='jabber:x:data' type='submit'><field var='a'>{values}</field></x>"),
        ] {
            assert_eq!(read(&xml), Err(BAD_REQUEST), "{xml:.200}");
        }
    }
}
