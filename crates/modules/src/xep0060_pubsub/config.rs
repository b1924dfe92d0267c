//! The configuration of a node (§8.2, §16.4.4), as a form and as what is decided by.

use stentor_jid::Jid;
use stentor_payload::xep0004_forms::FieldKind::{
    Boolean, JidMulti, ListSingle, TextMulti, TextSingle,
};
use stentor_payload::xep0004_forms::{FORM_TYPE, Field, FieldKind, Form, FormKind};
use stentor_payload::xep0060_pubsub::{NODE_CONFIG, error};
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::Frame;

/// How a node behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeConfig {
    pub(crate) title: String,
    pub(crate) description: String,
    /// What its payloads mean, usually their namespace.
    pub(crate) kind: String,
    /// The language of what is published.
    pub(crate) language: String,
    /// Whom to ask about the node.
    pub(crate) contacts: Vec<String>,
    pub(crate) access: Access,
    /// Groups of the owner's roster, for [`Access::Roster`].
    pub(crate) groups: Vec<String>,
    pub(crate) publishers: Publishers,
    pub(crate) persists: bool,
    pub(crate) max_items: Bound,
    /// Seconds after which items are gone.
    pub(crate) expire_secs: Bound,
    pub(crate) when_full: WhenFull,
    pub(crate) payload_bytes_max: Bound,
    pub(crate) takes_subscriptions: bool,
    pub(crate) notifies: bool,
    pub(crate) notifies_payloads: bool,
    pub(crate) notifies_retraction: bool,
    pub(crate) notifies_deletion: bool,
    pub(crate) notifies_config: bool,
    pub(crate) last_item: LastItem,
    pub(crate) is_headline: bool,
}

/// Who may subscribe and read (§4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Authorize,
    Open,
    Presence,
    Roster,
    Whitelist,
}

/// Who may publish beside the owner and those whom it made publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publishers {
    Nobody,
    Subscribers,
    Anybody,
}

/// A number, or as much as the service allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Max,
    Of(u32),
}

/// What happens to a publication on a node that is full (§7.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// The oldest item goes, and whoever wants to know of retractions hears of it.
    Retract,
    /// The oldest item goes.
    Discard,
    /// It is refused.
    Reject,
}

/// When the last item is sent to somebody who did not hear of its publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastItem {
    Never,
    OnSubscription,
    OnSubscriptionAndPresence,
}

/// The largest numbers that may be configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) items: u32,
    pub(crate) payload_bytes: u32,
}

/// Why a field cannot be as it is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Nobody knows the field.
    Unknown,
    /// There is no such access model (§8.1.2).
    AccessModel,
    /// The value is of another type, or beyond what the service allows.
    Value,
}

impl From<Misfit> for StanzaError {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::AccessModel => error(Condition::NotAcceptable, "unsupported-access-model"),
            Misfit::Unknown | Misfit::Value => Self::new(Condition::NotAcceptable),
        }
    }
}

impl Default for NodeConfig {
    /// XEP-0163 §5.
    fn default() -> Self {
        Self {
            title: String::new(),
            description: String::new(),
            kind: String::new(),
            language: String::new(),
            contacts: Vec::new(),
            access: Access::Presence,
            groups: Vec::new(),
            publishers: Publishers::Nobody,
            persists: true,
            max_items: Bound::Of(1),
            expire_secs: Bound::Max,
            when_full: WhenFull::Retract,
            payload_bytes_max: Bound::Max,
            takes_subscriptions: true,
            notifies: true,
            notifies_payloads: true,
            notifies_retraction: false,
            notifies_deletion: true,
            notifies_config: false,
            last_item: LastItem::OnSubscriptionAndPresence,
            is_headline: true,
        }
    }
}

impl NodeConfig {
    /// Makes what a submitted form says of it. Fields that nobody knows are passed over (XEP-0004
    /// §3.1).
    ///
    /// # Errors
    /// `bad-request` for another form, `not-acceptable` for a value that cannot be.
    pub(crate) fn submit(mut self, form: &Form, bounds: Bounds) -> Result<Self, StanzaError> {
        check(form, NODE_CONFIG)?;
        for field in fields(form) {
            match self.set(field, bounds) {
                Ok(()) | Err(Misfit::Unknown) => {}
                Err(misfit) => return Err(misfit.into()),
            }
        }
        Ok(self)
    }

    /// The form, filled in.
    pub(crate) fn form(&self, kind: FormKind) -> Form {
        FIELDS.iter().fold(Form::new(kind).of_type(NODE_CONFIG), |form, spec| {
            let mut field = Field::new(spec.kind, spec.var);
            field.values = self.values(spec.var).unwrap_or_default();
            if kind == FormKind::Form {
                field.label = Some(spec.label.to_owned());
                field = spec.choices.iter().fold(field, |f, choice| f.option(None, *choice));
            }
            form.with(field)
        })
    }

    /// As it is stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        Frame::build(|w| self.form(FormKind::Submit).encode(w)).bytes().to_vec()
    }

    /// As it was stored. What cannot be read is as usual; a node whose access model cannot be read
    /// is for its owner alone.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let form = Frame::parse_own(bytes).ok().and_then(|f| Form::decode(f.root()).ok());
        let Some(form) = form else {
            tracing::error!(
                event = "damaged",
                "The configuration of a node is damaged; nobody else sees the node."
            );
            return Self { access: Access::Whitelist, ..Self::default() };
        };
        let mut config = Self::default();
        let unbounded = Bounds { items: u32::MAX, payload_bytes: u32::MAX };
        for field in fields(&form) {
            if config.set(field, unbounded) == Err(Misfit::AccessModel) {
                config.access = Access::Whitelist;
            }
        }
        config
    }

    /// The namespace that payloads must have (§7.1.3.6), if one is configured.
    pub(crate) fn payload_ns(&self) -> Option<&str> {
        let is_namespace = self.kind.contains(':')
            && !MEANINGS.iter().any(|meaning| self.kind.starts_with(meaning));
        is_namespace.then_some(&*self.kind)
    }

    /// Whether the node is as the field says (§7.1.5).
    pub(crate) fn is_so(&self, field: &Field, bounds: Bounds) -> bool {
        let mut wished = self.clone();
        wished.set(field, bounds).is_ok()
            && wished.resolved(bounds) == self.clone().resolved(bounds)
    }

    /// The same, as much as the service allows being a number as well.
    fn resolved(mut self, bounds: Bounds) -> Self {
        self.max_items = Bound::Of(self.max_items.up_to(bounds.items));
        self.payload_bytes_max = Bound::Of(self.payload_bytes_max.up_to(bounds.payload_bytes));
        self.groups.sort_unstable();
        self.contacts.sort_unstable();
        self
    }

    /// Sets one field.
    ///
    /// # Errors
    /// [`Misfit`]; nothing is changed then.
    pub(crate) fn set(&mut self, field: &Field, bounds: Bounds) -> Result<(), Misfit> {
        let var = field.var.as_deref().and_then(|var| var.strip_prefix(PREFIX));
        let text = || field.first().unwrap_or_default().to_owned();
        let yes = || field.as_bool().ok_or(Misfit::Value);
        match var.ok_or(Misfit::Unknown)? {
            "title" => self.title = text(),
            "description" => self.description = text(),
            "type" => self.kind = text(),
            "language" => self.language = text(),
            "contact" => self.contacts = addresses(field)?,
            "access_model" => self.access = choice(field, ACCESS, Misfit::AccessModel)?,
            "roster_groups_allowed" => self.groups.clone_from(&field.values),
            "publish_model" => self.publishers = choice(field, PUBLISHERS, Misfit::Value)?,
            "persist_items" => self.persists = yes()?,
            "max_items" => self.max_items = bound(field, bounds.items)?,
            "item_expire" => self.expire_secs = bound(field, u32::MAX)?,
            "publish_node_full" => self.when_full = choice(field, WHEN_FULL, Misfit::Value)?,
            "max_payload_size" => self.payload_bytes_max = bound(field, bounds.payload_bytes)?,
            "subscribe" => self.takes_subscriptions = yes()?,
            "deliver_notifications" => self.notifies = yes()?,
            "deliver_payloads" => self.notifies_payloads = yes()?,
            "notify_retract" => self.notifies_retraction = yes()?,
            "notify_delete" => self.notifies_deletion = yes()?,
            "notify_config" => self.notifies_config = yes()?,
            "send_last_published_item" => self.last_item = choice(field, LAST_ITEM, Misfit::Value)?,
            "notification_type" => self.is_headline = choice(field, MESSAGES, Misfit::Value)?,
            // What there is no choice about.
            "node_type" if field.first() == Some("leaf") => {}
            "purge_offline" | "presence_based_delivery" if field.as_bool() == Some(false) => {}
            "node_type" | "purge_offline" | "presence_based_delivery" => return Err(Misfit::Value),
            // §8.2, §12.5, §12.17: as every node is, and no other way is known.
            "notify_sub" | "tempsub" if field.as_bool() == Some(false) => {}
            "itemreply" if field.first() == Some("publisher") => {}
            _ => return Err(Misfit::Unknown),
        }
        Ok(())
    }

    /// The values of one field; none if nobody knows it.
    fn values(&self, var: &str) -> Option<Vec<String>> {
        let yes = |is: bool| u8::from(is).to_string();
        Some(vec![match var.strip_prefix(PREFIX)? {
            "title" => self.title.clone(),
            "description" => self.description.clone(),
            "type" => self.kind.clone(),
            "language" => self.language.clone(),
            "contact" => return Some(self.contacts.clone()),
            "access_model" => name(self.access, ACCESS),
            "roster_groups_allowed" => return Some(self.groups.clone()),
            "publish_model" => name(self.publishers, PUBLISHERS),
            "persist_items" => yes(self.persists),
            "max_items" => self.max_items.show(),
            "item_expire" => self.expire_secs.show(),
            "publish_node_full" => name(self.when_full, WHEN_FULL),
            "max_payload_size" => self.payload_bytes_max.show(),
            "subscribe" => yes(self.takes_subscriptions),
            "deliver_notifications" => yes(self.notifies),
            "deliver_payloads" => yes(self.notifies_payloads),
            "notify_retract" => yes(self.notifies_retraction),
            "notify_delete" => yes(self.notifies_deletion),
            "notify_config" => yes(self.notifies_config),
            "send_last_published_item" => name(self.last_item, LAST_ITEM),
            "notification_type" => name(self.is_headline, MESSAGES),
            _ => return None,
        }])
    }
}

impl Bound {
    /// As a number that is not above what the service allows.
    pub(crate) fn up_to(self, max: u32) -> u32 {
        match self {
            Self::Max => max,
            Self::Of(n) => n.min(max),
        }
    }

    /// As a form shows it.
    pub(crate) fn show(self) -> String {
        match self {
            Self::Max => "max".to_owned(),
            Self::Of(n) => n.to_string(),
        }
    }
}

impl Access {
    /// Its name on the wire.
    pub(crate) fn name(self) -> String {
        name(self, ACCESS)
    }
}

impl Publishers {
    /// Its name on the wire.
    pub(crate) fn name(self) -> String {
        name(self, PUBLISHERS)
    }
}

/// Checks that a form is a submitted one of this type.
///
/// # Errors
/// `bad-request`.
pub(crate) fn check(form: &Form, form_type: &str) -> Result<(), StanzaError> {
    if form.kind == FormKind::Submit && form.form_type() == Some(form_type) {
        Ok(())
    } else {
        Err(StanzaError::new(Condition::BadRequest))
    }
}

/// The fields of a submitted form that say something.
pub(crate) fn fields(form: &Form) -> impl Iterator<Item = &Field> {
    let says = |f: &&Field| f.var.as_deref() != Some(FORM_TYPE) && f.kind != Some(FieldKind::Fixed);
    form.fields.iter().filter(says)
}

type Choices<T> = &'static [(&'static str, T)];

fn choice<T: Copy>(field: &Field, among: Choices<T>, misfit: Misfit) -> Result<T, Misfit> {
    let name = field.first().ok_or(misfit)?;
    among.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or(misfit)
}

fn name<T: Copy + PartialEq>(value: T, among: Choices<T>) -> String {
    let found = among.iter().find(|(_, known)| *known == value);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn addresses(field: &Field) -> Result<Vec<String>, Misfit> {
    let read = |text: &String| Jid::new(text).map(|jid| jid.to_string());
    field.values.iter().map(read).collect::<Result<_, _>>().map_err(|_| Misfit::Value)
}

fn bound(field: &Field, max: u32) -> Result<Bound, Misfit> {
    match field.first().ok_or(Misfit::Value)? {
        "max" => Ok(Bound::Max),
        text => {
            let number: u32 = text.parse().map_err(|_| Misfit::Value)?;
            if (1..=max).contains(&number) { Ok(Bound::Of(number)) } else { Err(Misfit::Value) }
        }
    }
}

/// One field of the form.
struct Spec {
    var: &'static str,
    kind: FieldKind,
    label: &'static str,
    choices: &'static [&'static str],
}

const fn spec(
    kind: FieldKind,
    var: &'static str,
    label: &'static str,
    choices: &'static [&'static str],
) -> Spec {
    Spec { var, kind, label, choices }
}

const PREFIX: &str = "pubsub#";
/// Types that say what a node is for, while its payloads have namespaces of their own: XEP-0277,
/// XEP-0472 and its profiles, XEP-0503, XEP-0508.
const MEANINGS: &[&str] = &[
    "urn:xmpp:microblog:",
    "urn:xmpp:pubsub-social-feed:",
    "urn:xmpp:spaces:",
    "urn:xmpp:forums:",
];
const ACCESS: Choices<Access> = &[
    ("authorize", Access::Authorize),
    ("open", Access::Open),
    ("presence", Access::Presence),
    ("roster", Access::Roster),
    ("whitelist", Access::Whitelist),
];
const PUBLISHERS: Choices<Publishers> = &[
    ("publishers", Publishers::Nobody),
    ("subscribers", Publishers::Subscribers),
    ("open", Publishers::Anybody),
];
const WHEN_FULL: Choices<WhenFull> = &[
    ("retract-oldest", WhenFull::Retract),
    ("discard-oldest", WhenFull::Discard),
    ("reject", WhenFull::Reject),
];
const LAST_ITEM: Choices<LastItem> = &[
    ("never", LastItem::Never),
    ("on_sub", LastItem::OnSubscription),
    ("on_sub_and_presence", LastItem::OnSubscriptionAndPresence),
];
const MESSAGES: Choices<bool> = &[("normal", false), ("headline", true)];

const FIELDS: &[Spec] = &[
    spec(TextSingle, "pubsub#title", "A friendly name for the node", &[]),
    spec(TextSingle, "pubsub#description", "A description of the node", &[]),
    spec(TextSingle, "pubsub#type", "What the payloads mean, usually their namespace", &[]),
    spec(TextSingle, "pubsub#language", "The language of what is published", &[]),
    spec(JidMulti, "pubsub#contact", "Whom to ask about the node", &[]),
    spec(
        ListSingle,
        "pubsub#access_model",
        "Who may subscribe and retrieve items",
        &["authorize", "open", "presence", "roster", "whitelist"],
    ),
    spec(
        TextMulti,
        "pubsub#roster_groups_allowed",
        "The roster groups allowed to subscribe and retrieve items",
        &[],
    ),
    spec(
        ListSingle,
        "pubsub#publish_model",
        "Who may publish",
        &["publishers", "subscribers", "open"],
    ),
    spec(Boolean, "pubsub#persist_items", "Whether to keep items", &[]),
    spec(TextSingle, "pubsub#max_items", "How many items to keep, or `max`", &[]),
    spec(TextSingle, "pubsub#item_expire", "Seconds after which items are removed, or `max`", &[]),
    spec(
        ListSingle,
        "pubsub#publish_node_full",
        "What to do when publishing on a full node",
        &["retract-oldest", "discard-oldest", "reject"],
    ),
    spec(TextSingle, "pubsub#max_payload_size", "The largest payload in bytes, or `max`", &[]),
    spec(Boolean, "pubsub#subscribe", "Whether to allow subscriptions", &[]),
    spec(Boolean, "pubsub#deliver_notifications", "Whether to notify subscribers", &[]),
    spec(Boolean, "pubsub#deliver_payloads", "Whether notifications hold payloads", &[]),
    spec(Boolean, "pubsub#notify_retract", "Whether to notify of removed items", &[]),
    spec(Boolean, "pubsub#notify_delete", "Whether to notify of the node's deletion", &[]),
    spec(Boolean, "pubsub#notify_config", "Whether to notify of changed configuration", &[]),
    spec(
        ListSingle,
        "pubsub#send_last_published_item",
        "When to send the last item",
        &["never", "on_sub", "on_sub_and_presence"],
    ),
    spec(
        ListSingle,
        "pubsub#notification_type",
        "The type of notifications",
        &["normal", "headline"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { items: 1_000, payload_bytes: 10_000 };

    fn field(var: &str, value: &str) -> Field {
        Field { kind: None, ..Field::new(FieldKind::TextSingle, var).value(value) }
    }

    fn form(fields: &[(&str, &str)]) -> Form {
        let form = Form::new(FormKind::Submit).of_type(NODE_CONFIG);
        fields.iter().fold(form, |form, (var, value)| form.with(field(var, value)))
    }

    fn submitted(fields: &[(&str, &str)]) -> Result<NodeConfig, StanzaError> {
        NodeConfig::default().submit(&form(fields), BOUNDS)
    }

    #[test]
    fn what_is_stored_is_read_as_the_same() {
        let config = submitted(&[
            ("pubsub#title", "<Musings>"),
            ("pubsub#language", "it"),
            ("pubsub#contact", "Nurse@capulet.example"),
            ("pubsub#access_model", "roster"),
            ("pubsub#publish_model", "open"),
            ("pubsub#persist_items", "0"),
            ("pubsub#max_items", "max"),
            ("pubsub#item_expire", "604800"),
            ("pubsub#publish_node_full", "reject"),
            ("pubsub#deliver_payloads", "false"),
            ("pubsub#send_last_published_item", "never"),
            ("pubsub#notification_type", "normal"),
        ])
        .unwrap();
        let config = NodeConfig { groups: vec!["a".into(), "b".into()], ..config };
        assert_eq!(NodeConfig::from_bytes(&config.to_bytes()), config);
        assert_ne!(config, NodeConfig::default());
        for spec in FIELDS {
            assert!(config.values(spec.var).is_some(), "{}", spec.var);
        }
    }

    #[test]
    fn a_damaged_configuration_opens_nothing() {
        for bytes in [&b"<x"[..], b"<x xmlns='jabber:x:data'/>"] {
            assert_eq!(NodeConfig::from_bytes(bytes).access, Access::Whitelist);
        }
        let form = form(&[("pubsub#access_model", "secret")]);
        let bytes = Frame::build(|w| form.encode(w)).bytes().to_vec();
        assert_eq!(NodeConfig::from_bytes(&bytes).access, Access::Whitelist);
    }

    #[test]
    fn values_that_cannot_be_are_not_acceptable() {
        for (var, value) in [
            ("pubsub#max_items", "1001"),
            ("pubsub#max_items", "0"),
            ("pubsub#max_items", "many"),
            ("pubsub#max_payload_size", "10001"),
            ("pubsub#persist_items", "maybe"),
            ("pubsub#send_last_published_item", "on_presence"),
            ("pubsub#node_type", "collection"),
            ("pubsub#purge_offline", "1"),
        ] {
            let refused = submitted(&[(var, value)]).unwrap_err();
            assert_eq!(refused, StanzaError::new(Condition::NotAcceptable), "{var} {value}");
        }
        let refused = submitted(&[("pubsub#access_model", "secret")]).unwrap_err();
        assert_eq!(refused.app.unwrap().0, "unsupported-access-model");
        assert_eq!(submitted(&[("pubsub#weather", "fair")]), Ok(NodeConfig::default()));
        let other = Form::new(FormKind::Submit).of_type("urn:example:other");
        let refused = NodeConfig::default().submit(&other, BOUNDS).unwrap_err();
        assert_eq!(refused.condition, Condition::BadRequest);
    }

    #[test]
    fn preconditions_are_compared_by_what_they_mean() {
        let config = NodeConfig { max_items: Bound::Max, ..NodeConfig::default() };
        let is_so = |var, value| config.is_so(&field(var, value), BOUNDS);
        assert!(is_so("pubsub#max_items", "max") && is_so("pubsub#max_items", "1000"));
        assert!(!is_so("pubsub#max_items", "10"));
        assert!(is_so("pubsub#persist_items", "true") && is_so("pubsub#persist_items", "1"));
        assert!(is_so("pubsub#access_model", "presence"));
        assert!(!is_so("pubsub#access_model", "open") && !is_so("pubsub#access_model", "secret"));
        assert!(!is_so("pubsub#weather", "fair"));
        assert!(is_so("pubsub#purge_offline", "0"));
        assert!(is_so("pubsub#notify_sub", "0") && !is_so("pubsub#notify_sub", "1"));
        assert!(is_so("pubsub#tempsub", "false") && !is_so("pubsub#tempsub", "true"));
        assert!(is_so("pubsub#itemreply", "publisher") && !is_so("pubsub#itemreply", "owner"));
        assert!(is_so("pubsub#language", "") && !is_so("pubsub#language", "it"));
        assert!(!is_so("pubsub#contact", "nurse@capulet.example"));
    }

    #[test]
    fn s7_1_3_6_a_type_is_a_namespace_unless_it_says_what_the_node_is_for() {
        for (kind, expected) in [
            ("urn:example:e2ee:bundle", Some("urn:example:e2ee:bundle")),
            ("http://www.w3.org/2005/Atom", Some("http://www.w3.org/2005/Atom")),
            ("urn:xmpp:pubsub-social-feed:1", None),
            ("poetry", None),
            ("", None),
        ] {
            let config = NodeConfig { kind: kind.to_owned(), ..NodeConfig::default() };
            assert_eq!(config.payload_ns(), expected, "{kind}");
        }
    }
}
