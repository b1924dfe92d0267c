use stentor_stanza::ErrorType;
use stentor_xml::Frame;

use super::*;
use crate::Decode;
use crate::limits::{NODE_IDS_MAX, NODE_ITEM_ID_BYTES_MAX, NODE_PARTIES_MAX};
use crate::xep0059_rsm as rsm;

fn read<P: Decode>(inside: &str) -> Result<P, StanzaError> {
    let xml = format!("<pubsub xmlns='{}'>{inside}</pubsub>", P::NS);
    P::decode(Frame::parse(xml.as_bytes()).unwrap().root())
}

fn refused<P: Decode>(inside: &str) -> (Condition, Option<&'static str>) {
    let error = read::<P>(inside).err().unwrap_or_else(|| panic!("{inside}"));
    (error.condition, error.app.map(|(name, _)| name))
}

const PLAIN: (Condition, Option<&str>) = (Condition::BadRequest, None);

#[test]
fn s7_1_1_an_item_of_a_publication_has_at_most_one_payload() {
    let read = |inside: &str| match read::<Set>(inside) {
        Ok(Set::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    };
    let full = read(
        "<publish node='tune'><item id='1'><tune xmlns='http://jabber.org/protocol/tune'/></item>\
         </publish><publish-options><x xmlns='jabber:x:data' type='submit'/></publish-options>",
    );
    assert_eq!(full.node, "tune");
    let item = &full.items[0];
    assert_eq!(item.id.as_deref(), Some("1"));
    let payload = item.payload.as_ref().unwrap();
    assert_eq!(payload.as_str(), "<tune xmlns='http://jabber.org/protocol/tune'/>");
    assert!(full.options.is_some());
    let bare = read("<publish node='tune'/>");
    assert!(bare.items.is_empty() && bare.options.is_none());
    // §12.11.
    let batch = read("<publish node='tune'><item id='1'/><item/><item id='2'/></publish>");
    let ids: Vec<_> = batch.items.iter().map(|item| item.id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), None, Some("2")]);
    let many = format!("<publish node='n'>{}</publish>", "<item/>".repeat(NODE_IDS_MAX + 1));
    let expected = (Condition::NotAllowed, Some("max-items-exceeded"));
    assert_eq!(refused::<Set>(&many), expected);
    for (inside, expected) in [
        (
            "<publish node='tune'><item><a/><b/></item></publish>",
            (Condition::BadRequest, Some("invalid-payload")),
        ),
        ("<publish><item/></publish>", (Condition::BadRequest, Some("nodeid-required"))),
        ("<publish node='tune'/><publish-options/>", PLAIN),
        ("<publish-options/><publish node='tune'/>", PLAIN),
        ("", PLAIN),
    ] {
        assert_eq!(refused::<Set>(inside), expected, "{inside}");
    }
}

#[test]
fn s7_2_3_a_retraction_names_node_and_item() {
    for (inside, expected) in [
        ("<retract><item id='1'/></retract>", Some("nodeid-required")),
        ("<retract node='n'/>", Some("item-required")),
        ("<retract node='n'><item/></retract>", Some("item-required")),
        ("<retract node='n'><item id='1'/><item/></retract>", Some("item-required")),
        ("<retract node='n' notify='yes'><item id='1'/></retract>", None),
    ] {
        assert_eq!(refused::<Set>(inside), (Condition::BadRequest, expected), "{inside}");
    }
    for (notify, expected) in [("", false), ("notify='0'", false), ("notify='true'", true)] {
        let read = read::<Set>(&format!("<retract node='n' {notify}><item id='1'/></retract>"));
        assert!(matches!(read, Ok(Set::Retract { notify, .. }) if notify == expected));
    }
    match read::<Set>("<retract node='n'><item id='1'/><item id='2'/></retract>") {
        Ok(Set::Retract { ids, .. }) => assert_eq!(ids, ["1", "2"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s8_1_3_configuration_goes_behind_creation_and_names_no_node() {
    let form = "<x xmlns='jabber:x:data' type='submit'/>";
    let made = read::<Set>(&format!("<create node='n'/><configure>{form}</configure>"));
    assert!(matches!(made, Ok(Set::Create { node: Some(_), config: Some(_) })));
    assert!(matches!(
        read::<Set>("<create/><configure/>"),
        Ok(Set::Create { node: None, config: None })
    ));
    for inside in [
        format!("<create node='n'/><configure node='n'>{form}</configure>"),
        format!("<configure>{form}</configure><create node='n'/>"),
    ] {
        assert_eq!(refused::<Set>(&inside), PLAIN);
    }
}

#[test]
fn s6_subscriptions_name_node_and_address() {
    for (inside, expected) in [
        ("<subscribe jid='a.example'/>", (Condition::BadRequest, Some("nodeid-required"))),
        ("<subscribe node='n'/>", (Condition::BadRequest, Some("jid-required"))),
        ("<subscribe node='n' jid='a@b@c'/>", (Condition::JidMalformed, None)),
        ("<unsubscribe node='n'/>", (Condition::BadRequest, Some("jid-required"))),
    ] {
        assert_eq!(refused::<Set>(inside), expected, "{inside}");
    }
    let options = "<subscribe node='n' jid='a.example'/><options/>";
    assert!(matches!(read::<Set>(options), Ok(Set::Options)));
}

#[test]
fn s6_5_items_are_asked_for_by_ids_number_or_page() {
    let items = |ids: &[&str], max_items, page| Get::Items {
        node: "n".into(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        max_items,
        page,
    };
    let page = rsm::Ask { max: Some(3), ..rsm::Ask::default() };
    for (inside, expected) in [
        ("<items node='n'/>", items(&[], None, None)),
        ("<items node='n'><item id='1'/><item id='2'/></items>", items(&["1", "2"], None, None)),
        ("<items node='n' max_items='2'/>", items(&[], Some(2), None)),
        (
            "<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'><max>3</max></set>",
            items(&[], None, Some(page)),
        ),
    ] {
        assert_eq!(read::<Get>(inside), Ok(expected), "{inside}");
    }
    for (inside, expected) in [
        ("<items/>".to_owned(), (Condition::BadRequest, Some("nodeid-required"))),
        ("<items node='n' max_items='0'/>".to_owned(), PLAIN),
        ("<items node='n' max_items='-1'/>".to_owned(), PLAIN),
        (
            "<items node='n'><item/></items>".to_owned(),
            (Condition::BadRequest, Some("item-required")),
        ),
        (
            format!("<items node='n'>{}</items>", "<item id='1'/>".repeat(NODE_IDS_MAX + 1)),
            (Condition::NotAcceptable, None),
        ),
        (
            format!(
                "<items node='n'><item id='{}'/></items>",
                "x".repeat(NODE_ITEM_ID_BYTES_MAX + 1)
            ),
            (Condition::NotAcceptable, None),
        ),
        (
            format!("<items node='{}'/>", "x".repeat(NODE_NAME_BYTES_MAX + 1)),
            (Condition::NotAcceptable, None),
        ),
    ] {
        assert_eq!(refused::<Get>(&inside), expected, "{inside:.100}");
    }
}

#[test]
fn s8_owners_name_a_node_but_for_what_is_usual() {
    assert_eq!(read("<default/>"), Ok(OwnerGet::Default));
    assert_eq!(read("<configure node='n'/>"), Ok(OwnerGet::Configure("n".into())));
    for inside in ["<configure/>", "<subscriptions/>", "<affiliations/>"] {
        let expected = (Condition::BadRequest, Some("nodeid-required"));
        assert_eq!(refused::<OwnerGet>(inside), expected, "{inside}");
    }
    for inside in ["<purge/>", "<delete/>"] {
        let expected = (Condition::BadRequest, Some("nodeid-required"));
        assert_eq!(refused::<OwnerSet>(inside), expected, "{inside}");
    }
    assert_eq!(refused::<OwnerSet>("<configure node='n'/>"), PLAIN);
    let deleted = read("<delete node='n'><redirect uri='xmpp:a.example?;node=m'/></delete>");
    let redirect = Some("xmpp:a.example?;node=m".into());
    assert_eq!(deleted, Ok(OwnerSet::Delete { node: "n".into(), redirect }));
}

#[test]
fn s8_9_2_nobody_is_changed_twice() {
    let party = |jid: &str| format!("<affiliation jid='{jid}' affiliation='member'/>");
    let list = |inside: &str| format!("<affiliations node='n'>{inside}</affiliations>");
    let changes = match read(&list(&(party("a.example") + "<affiliation jid='b.example'/>"))) {
        Ok(OwnerSet::Affiliations { changes, .. }) => changes,
        other => panic!("{other:?}"),
    };
    assert_eq!(changes[0].value.as_deref(), Some("member"));
    assert_eq!(changes[1].value, None);
    assert_eq!(refused::<OwnerSet>(&list(&(party("a.example") + &party("A.example")))), PLAIN);
    let many: String = (0..=NODE_PARTIES_MAX).map(|n| party(&format!("{n}.example"))).collect();
    assert_eq!(refused::<OwnerSet>(&list(&many)), (Condition::NotAcceptable, None));
}

#[test]
fn s11_errors_name_what_is_unsupported() {
    let error = unsupported("subscription-options");
    assert_eq!(error.kind, ErrorType::Cancel);
    let frame = Frame::build(|w| error.write(w));
    assert_eq!(
        frame.as_str(),
        "<error type='cancel'>\
         <feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <unsupported xmlns='http://jabber.org/protocol/pubsub#errors' \
         feature='subscription-options'/></error>"
    );
}
