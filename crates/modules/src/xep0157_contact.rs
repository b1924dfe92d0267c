//! XEP-0157: Contact Addresses for XMPP Services, version 1.1.1.
//!
//! Tells whom to write to about the server, in its service discovery.
//! Implements: §2 (the form of XEP-0128 and its fields).
//! Left out: nothing.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::registrar::DiscoForm;
use stentor_engine::{Factory, Module, OptionDoc, Registrar, Spec, Status, Xep};
use stentor_jid::BareJid;
use stentor_payload::xep0004_forms::FieldKind;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Contact>();

struct Contact {
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    abuse: Vec<String>,
    admin: Vec<String>,
    feedback: Vec<String>,
    sales: Vec<String>,
    security: Vec<String>,
    status: Vec<String>,
    support: Vec<String>,
}

impl Module for Contact {
    const SPEC: &'static Spec = &Spec {
        name: "contact",
        xeps: &[Xep { number: 157, version: "1.1.1", status: Status::Complete, note: "" }],
        requires: &["disco"],
        options: &[
            OptionDoc { key: "abuse", default: "[]", help: "URIs to report abuse to." },
            OptionDoc {
                key: "admin",
                default: "[]",
                help: "URIs of the administrators; those at `xmpp:` are told of accounts that are locked or full.",
            },
            OptionDoc { key: "feedback", default: "[]", help: "URIs for feedback." },
            OptionDoc { key: "sales", default: "[]", help: "URIs of the sales department." },
            OptionDoc { key: "security", default: "[]", help: "URIs to report weaknesses to." },
            OptionDoc { key: "status", default: "[]", help: "URIs that tell how the service is." },
            OptionDoc { key: "support", default: "[]", help: "URIs of those who help users." },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        let all = [
            &config.abuse,
            &config.admin,
            &config.feedback,
            &config.sales,
            &config.security,
            &config.status,
            &config.support,
        ];
        if let Some(bad) = all.into_iter().flatten().find(|uri| !uri.contains(':')) {
            return Err(format!(
                "`{bad}` is no URI: write `mailto:name@host`, `xmpp:name@host` or `https://…`"
            ));
        }
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        let c = &self.config;
        // RFC 5122: what stands behind the address is a query.
        let addresses =
            c.admin.iter().filter_map(|uri| uri.strip_prefix("xmpp:")?.split('?').next());
        addresses.filter_map(|a| BareJid::new(a).ok()).for_each(|who| r.administrator(who));
        let fields = [
            ("abuse-addresses", &c.abuse),
            ("admin-addresses", &c.admin),
            ("feedback-addresses", &c.feedback),
            ("sales-addresses", &c.sales),
            ("security-addresses", &c.security),
            ("status-addresses", &c.status),
            ("support-addresses", &c.support),
        ];
        let fields: Vec<_> = fields
            .into_iter()
            .filter(|(_, uris)| !uris.is_empty())
            .map(|(name, uris)| (name, uris.clone()))
            .collect();
        if !fields.is_empty() {
            r.disco_form(DiscoForm { form_type: FORM_TYPE, kind: FieldKind::ListMulti, fields });
        }
    }
}

const FORM_TYPE: &str = "http://jabber.org/network/serverinfo";
