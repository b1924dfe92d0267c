//! XEP-0092: Software Version, version 1.1.
//!
//! Tells the name and version of the server, and the operating system if the operator wants that.
//! Implements: §3 (protocol).
//! Left out: asking others.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::{
    Factory, IqCx, Module, OnGet, OptionDoc, Registrar, Scope, Spec, Status, Xep,
};
use stentor_payload::Encode;
use stentor_payload::xep0092_version::{Ask, NS};
use stentor_stanza::StanzaError;
use stentor_xml::Writer;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Version>();

struct Version {
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    hide: bool,
    os: bool,
}

impl Module for Version {
    const SPEC: &'static Spec = &Spec {
        name: "version",
        xeps: &[Xep { number: 92, version: "1.1", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[
            OptionDoc {
                key: "hide",
                default: "false",
                help: "Tell only the name, with the version `unknown`.",
            },
            OptionDoc { key: "os", default: "false", help: "Tell the operating system's name." },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Ask, _>(Scope::Host, &self);
        r.disco(Scope::Host, &[NS]);
    }
}

struct Answer {
    version: &'static str,
    os: Option<&'static str>,
}

impl Encode for Answer {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS);
        w.text_element("name", NS, "Stentor").text_element("version", NS, self.version);
        if let Some(os) = self.os {
            w.text_element("os", NS, os);
        }
        w.close();
    }
}

impl OnGet<Ask> for Version {
    type Reply = Answer;

    async fn get(&self, _: &IqCx<'_>, _: Ask) -> Result<Answer, StanzaError> {
        let version = if self.config.hide { "unknown" } else { env!("CARGO_PKG_VERSION") };
        Ok(Answer { version, os: self.config.os.then_some(std::env::consts::OS) })
    }
}
