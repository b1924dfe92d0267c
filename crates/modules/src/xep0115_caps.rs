//! XEP-0115: Entity Capabilities, version 1.6.0.
//!
//! Announces the server's own capabilities among the stream features.
//! Implements: §5 (the verification string), §6.3 (stream feature).
//! Left out: nothing. What clients can do is remembered in `engine/src/xep0115_caps.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use stentor_engine::registrar::{Disco, StreamFeature};
use stentor_engine::{Factory, Module, NoConfig, Registrar, Scope, Spec, Status, Xep};
use stentor_payload::xep0115_caps::NS;
use stentor_xml::Frame;

use crate::xep0030_disco::SERVER;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Caps>();

struct Caps;

impl Module for Caps {
    const SPEC: &'static Spec = &Spec {
        name: "caps",
        xeps: &[Xep { number: 115, version: "1.6.0", status: Status::Complete, note: "" }],
        requires: &["disco"],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: std::sync::Arc<Self>, r: &mut Registrar) {
        r.disco(Scope::Host, &[NS]);
    }
}

/// The stream feature for what is discovered of the domain; known once every module has spoken.
pub(crate) fn feature(disco: &Disco) -> StreamFeature {
    let frame = Frame::build(|w| {
        w.open("c", NS)
            .attr("hash", "sha-1")
            .attr("node", NODE)
            .attr("ver", &verification(disco))
            .close();
    });
    StreamFeature { is_after_sign_in: true, frame }
}

/// The node under which the announced capabilities can be asked for (§6.2).
pub(crate) fn node_of(disco: &Disco) -> String {
    format!("{NODE}#{}", verification(disco))
}

/// §5.1: the string that is hashed.
fn verification(disco: &Disco) -> String {
    let mut text =
        format!("{}/{}//{}<", SERVER.category, SERVER.kind, SERVER.name.unwrap_or_default());
    let mut features = disco.host.clone();
    features.sort_unstable();
    features.dedup();
    for feature in features {
        text.push_str(feature);
        text.push('<');
    }
    let mut forms = disco.forms.clone();
    forms.sort_unstable_by_key(|f| f.form_type);
    for form in &mut forms {
        text.push_str(form.form_type);
        text.push('<');
        form.fields.sort_unstable_by_key(|(name, _)| *name);
        for (name, values) in &mut form.fields {
            text.push_str(name);
            text.push('<');
            values.sort_unstable();
            for value in values {
                text.push_str(value);
                text.push('<');
            }
        }
    }
    STANDARD.encode(Sha1::digest(text))
}

/// What names this software.
const NODE: &str = "https://stentor.im/";

#[cfg(test)]
mod tests {
    use stentor_engine::registrar::DiscoForm;
    use stentor_payload::xep0004_forms::FieldKind;

    use super::*;

    #[test]
    fn the_order_of_features_and_values_does_not_matter() {
        let form = |values: [&str; 2]| DiscoForm {
            kind: FieldKind::ListMulti,
            form_type: "http://jabber.org/network/serverinfo",
            fields: vec![("abuse-addresses", values.map(String::from).to_vec())],
        };
        let disco = |host: [&'static str; 2], values| Disco {
            host: host.to_vec(),
            forms: vec![form(values)],
            ..Disco::default()
        };
        let one = verification(&disco(["a", "b"], ["x", "y"]));
        assert_eq!(one, verification(&disco(["b", "a"], ["y", "x"])));
        assert_ne!(one, verification(&disco(["a", "c"], ["x", "y"])));
    }

    #[test]
    fn the_string_is_that_of_the_specification() {
        // §5.1, written out by hand for our identity and two features.
        let disco = Disco { host: vec!["urn:b", "urn:a"], ..Disco::default() };
        let expected = STANDARD.encode(Sha1::digest("server/im//Stentor<urn:a<urn:b<"));
        assert_eq!(verification(&disco), expected);
    }
}
