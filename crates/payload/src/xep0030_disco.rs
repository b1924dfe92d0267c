//! XEP-0030: Service Discovery, version 2.5.0.
//!
//! What an entity says that it is and can do.
//! Implements: §3 as read from an answer, with the forms of XEP-0128.
//! Left out: questions, and items, which the server only answers.
//! Status: complete

use stentor_stanza::{Condition, StanzaError};
use stentor_xml::ElementRef;

use crate::Decode;
use crate::limits::{DISCO_FEATURES_MAX, DISCO_FORMS_MAX, DISCO_IDENTITIES_MAX};
use crate::xep0004_forms::{self as forms, Form};

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// What it is.
    pub identities: Vec<Identity>,
    /// What it can do.
    pub features: Vec<String>,
    /// More about it.
    pub forms: Vec<Form>,
}

/// What an entity is, in the registered words.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The category.
    pub category: String,
    /// The type within it.
    pub kind: String,
    /// The language of the name.
    pub lang: String,
    /// A name for people.
    pub name: String,
}

impl Decode for Info {
    const NS: &'static str = NS_INFO;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        let mut info = Self::default();
        for child in query.children() {
            let is_too_many = info.features.len() == DISCO_FEATURES_MAX
                || info.identities.len() == DISCO_IDENTITIES_MAX
                || info.forms.len() == DISCO_FORMS_MAX;
            if is_too_many {
                return Err(BAD_REQUEST);
            }
            if child.is(NS_INFO, "identity") {
                info.identities.push(identity(child)?);
            } else if child.is(NS_INFO, "feature") {
                info.features.push(child.attr("var").ok_or(BAD_REQUEST)?.into_owned());
            } else if child.is(forms::NS, Form::NAME) {
                info.forms.push(Form::decode(child)?);
            }
        }
        Ok(info)
    }
}

fn identity(identity: ElementRef<'_>) -> Result<Identity, StanzaError> {
    let attr = |name| identity.attr(name).map(std::borrow::Cow::into_owned);
    Ok(Identity {
        category: attr("category").ok_or(BAD_REQUEST)?,
        kind: attr("type").ok_or(BAD_REQUEST)?,
        lang: identity.lang().map(std::borrow::Cow::into_owned).unwrap_or_default(),
        name: attr("name").unwrap_or_default(),
    })
}

/// The namespace of questions for identities and features.
pub const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
/// The namespace of questions for items.
pub const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read(inside: &str) -> Result<Info, StanzaError> {
        let xml = format!("<query xmlns='{NS_INFO}'>{inside}</query>");
        Info::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn reads_identities_features_and_forms() {
        let info = read(
            "<identity xml:lang='en' category='client' name='Psi' type='pc'/>\
             <feature var='urn:a'/><odd/><x xmlns='jabber:x:data' type='result'/>",
        )
        .unwrap();
        let psi = ["client", "pc", "en", "Psi"].map(String::from);
        let [category, kind, lang, name] = psi;
        assert_eq!(info.identities, [Identity { category, kind, lang, name }]);
        assert_eq!((info.features, info.forms.len()), (vec!["urn:a".to_owned()], 1));
    }

    #[test]
    fn what_lacks_names_or_is_too_much_is_refused() {
        for inside in [
            "<feature/>".to_owned(),
            "<identity type='pc'/>".to_owned(),
            "<identity category='client'/>".to_owned(),
            "<feature var='a'/>".repeat(DISCO_FEATURES_MAX + 1),
        ] {
            assert_eq!(read(&inside), Err(BAD_REQUEST));
        }
    }
}
