//! XEP-0115: Entity Capabilities, version 1.6.0.
//!
//! The mark in presence that stands for all that an entity can do, and the string that proves it.
//! Implements: §4 (the mark), §5 (the string, ill-formed answers).
//! Left out: the legacy format, whose mark proves nothing.
//! Status: complete

use std::borrow::Cow;

use stentor_stanza::Stanza;

use crate::limits::CAPS_ATTRIBUTE_BYTES_MAX;
use crate::xep0004_forms::{FORM_TYPE, Field, FieldKind, Form};
use crate::xep0030_disco::{Identity, Info};

/// The mark.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// How the string was hashed; none in the legacy format.
    pub hash: Option<String>,
    /// What names the software.
    pub node: String,
    /// The hash of the string.
    pub ver: String,
}

impl Caps {
    /// The mark in a presence; none also if it is longer than any sensible one.
    #[must_use]
    pub fn find(presence: &Stanza) -> Option<Self> {
        let c = presence.child(NS, "c")?;
        let attr = |name| {
            let value = c.attr(name).filter(|value| !value.is_empty())?;
            (value.len() <= CAPS_ATTRIBUTE_BYTES_MAX).then(|| value.into_owned())
        };
        Some(Self { hash: attr("hash"), node: attr("node")?, ver: attr("ver")? })
    }

    /// The node under which the entity tells what the mark stands for (§6.2).
    #[must_use]
    pub fn disco_node(&self) -> String {
        format!("{}#{}", self.node, self.ver)
    }
}

/// The string that is hashed (§5.1); none if the answer is ill-formed (§5.4).
#[must_use]
pub fn verification(info: &Info) -> Option<String> {
    let mut text = String::new();
    for identity in sorted(info.identities.iter())? {
        let Identity { category, kind, lang, name } = identity;
        text.push_str(&literal(&format!("{category}/{kind}/{lang}/{name}")));
        text.push('<');
    }
    for feature in sorted(info.features.iter())? {
        text.push_str(&literal(feature));
        text.push('<');
    }
    let mut forms = Vec::new();
    for form in &info.forms {
        forms.extend(form_type(form)?.map(|form_type| (form_type, form)));
    }
    forms.sort_unstable_by_key(|(form_type, _)| *form_type);
    if forms.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    for (form_type, form) in forms {
        text.push_str(&literal(form_type));
        text.push('<');
        write_fields(form, &mut text);
    }
    Some(text)
}

/// In the order of their bytes; none if two are the same.
fn sorted<'a, T: Ord + 'a>(all: impl Iterator<Item = &'a T>) -> Option<Vec<&'a T>> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all.windows(2).all(|pair| pair[0] != pair[1]).then_some(all)
}

/// What the form is of; `Some(None)` for one that is to be passed over, none for an ill-formed one.
#[allow(clippy::option_option)]
fn form_type(form: &Form) -> Option<Option<&str>> {
    let Some(field) = form.field(FORM_TYPE).filter(|f| f.kind == Some(FieldKind::Hidden)) else {
        return Some(None);
    };
    let mut values = field.values.iter();
    let Some(first) = values.next() else { return Some(None) };
    values.all(|value| value == first).then_some(Some(first))
}

fn write_fields(form: &Form, text: &mut String) {
    let is_other = |f: &&Field| f.var.as_deref().is_some_and(|var| var != FORM_TYPE);
    let mut fields: Vec<&Field> = form.fields.iter().filter(is_other).collect();
    fields.sort_unstable_by_key(|f| f.var.as_deref());
    for field in fields {
        text.push_str(&literal(field.var.as_deref().unwrap_or_default()));
        text.push('<');
        let mut values: Vec<&String> = field.values.iter().collect();
        values.sort_unstable();
        for value in values {
            text.push_str(&literal(value));
            text.push('<');
        }
    }
}

/// §5.1: what could be taken for the end of a part stays as it was escaped.
fn literal(part: &str) -> Cow<'_, str> {
    if part.contains('<') { part.replace('<', "&lt;").into() } else { part.into() }
}

/// The namespace of marks.
pub const NS: &str = "http://jabber.org/protocol/caps";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;
    use crate::Decode;

    fn info(inside: &str) -> Info {
        let xml = format!("<query xmlns='{}'>{inside}</query>", Info::NS);
        Info::decode(Frame::parse(xml.as_bytes()).unwrap().root()).unwrap()
    }

    const PSI: &str = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
        <identity xml:lang='el' category='client' name='&#936; 0.11' type='pc'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/muc'/>\
        <x xmlns='jabber:x:data' type='result'>\
        <field var='os'><value>Mac</value></field>\
        <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
        <field var='os_version'><value>10.5.1</value></field>\
        <field var='software'><value>Psi</value></field>\
        <field var='software_version'><value>0.11</value></field></x>";

    #[test]
    fn s5_3_the_complex_example_makes_its_string() {
        let expected = "client/pc/el/\u{3a8} 0.11<client/pc/en/Psi 0.11<\
            http://jabber.org/protocol/caps<http://jabber.org/protocol/disco#info<\
            http://jabber.org/protocol/disco#items<http://jabber.org/protocol/muc<\
            urn:xmpp:dataforms:softwareinfo<ip_version<ipv4<ipv6<os<Mac<os_version<10.5.1<\
            software<Psi<software_version<0.11<";
        assert_eq!(verification(&info(PSI)).as_deref(), Some(expected));
    }

    #[test]
    fn s5_4_ill_formed_answers_prove_nothing() {
        let form = |kind: &str, values: &str| {
            format!(
                "<x xmlns='jabber:x:data' type='result'>\
                 <field var='FORM_TYPE' {kind}>{values}</field></x>"
            )
        };
        let a = form("type='hidden'", "<value>a</value>");
        for inside in [
            "<feature var='a'/><feature var='a'/>".to_owned(),
            "<identity category='c' type='t'/>".repeat(2),
            a.repeat(2),
            form("type='hidden'", "<value>a</value><value>b</value>"),
        ] {
            assert_eq!(verification(&info(&inside)), None, "{inside}");
        }
        // Forms of no type are passed over.
        for inside in [
            form("", "<value>a</value>"),
            "<x xmlns='jabber:x:data' type='result'><field var='b'/></x>".to_owned(),
        ] {
            assert_eq!(verification(&info(&inside)).as_deref(), Some(""), "{inside}");
        }
        assert_eq!(verification(&info(&a)).as_deref(), Some("a<"));
    }

    #[test]
    fn s5_1_what_ends_a_part_cannot_be_smuggled_in() {
        let one = info("<feature var='a&lt;b'/>");
        let two = info("<feature var='a'/><feature var='b'/>");
        assert_ne!(verification(&one), verification(&two));
    }

    #[test]
    fn s4_marks_are_read_from_presence() {
        let find = |attributes: &str| {
            let xml = format!("<presence><c xmlns='{NS}' {attributes}/></presence>");
            Caps::find(&Stanza::parse(xml.as_bytes()).unwrap())
        };
        let caps = find("hash='sha-1' node='http://psi-im.org' ver='q07='").unwrap();
        assert_eq!(caps.hash.as_deref(), Some("sha-1"));
        assert_eq!(caps.disco_node(), "http://psi-im.org#q07=");
        assert_eq!(find("node='http://psi-im.org' ver='0.11'").unwrap().hash, None);
        assert_eq!(find("hash='sha-1' ver='q07='"), None);
        assert_eq!(find("hash='sha-1' node='n' ver=''"), None);
        let long = "x".repeat(CAPS_ATTRIBUTE_BYTES_MAX + 1);
        assert_eq!(find(&format!("hash='sha-1' node='n' ver='{long}'")), None);
    }
}
