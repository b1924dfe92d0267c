//! XEP-0202: Entity Time, version 2.0.
//!
//! Tells the server's time, in UTC.
//! Implements: §3 (protocol).
//! Left out: a time zone of the server: it would tell where the machine stands and helps nobody.

use std::sync::Arc;

use stentor_engine::{Factory, IqCx, Module, NoConfig, OnGet, Registrar, Scope, Spec, Status, Xep};
use stentor_payload::{Decode, Encode, xep0082_time};
use stentor_stanza::StanzaError;
use stentor_xml::{ElementRef, Writer};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Time>();

struct Time;

impl Module for Time {
    const SPEC: &'static Spec = &Spec {
        name: "time",
        xeps: &[
            Xep { number: 202, version: "2.0", status: Status::Complete, note: "always in UTC" },
            Xep {
                number: 82,
                version: "1.1.1",
                status: Status::Partial,
                note: "the DateTime profile",
            },
        ],
        requires: &[],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Ask, _>(Scope::Host, &self);
        r.disco(Scope::Host, &[NS]);
    }
}

struct Ask;

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "time";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

struct Answer(i64);

impl Encode for Answer {
    fn encode(&self, w: &mut Writer) {
        w.open("time", NS);
        w.text_element("tzo", NS, "+00:00");
        w.text_element("utc", NS, &xep0082_time::write(self.0));
        w.close();
    }
}

impl OnGet<Ask> for Time {
    type Reply = Answer;

    async fn get(&self, cx: &IqCx<'_>, _: Ask) -> Result<Answer, StanzaError> {
        Ok(Answer(cx.engine.clock.unix_ms()))
    }
}

const NS: &str = "urn:xmpp:time";
