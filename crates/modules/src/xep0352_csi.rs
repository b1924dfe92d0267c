//! XEP-0352: Client State Indication, version 1.0.0.
//!
//! Offers clients to say that nobody looks at them; then presence, chat states and other news of the
//! moment wait for something important, or for somebody who looks.
//! Implements: §4.1 (the feature), and the indication within sign-in that XEP-0386 §3.2 speaks of.
//! Left out: nothing. Indications are the stream's, what waits is the engine's business.

use std::sync::Arc;

use stentor_engine::registrar::StreamFeature;
use stentor_engine::{
    Factory, Inline, Module, NoConfig, Registrar, Resource, Spec, Status, Wishes, Xep,
};
use stentor_payload::xep0352_csi as csi;
use stentor_xml::Frame;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Csi>();

struct Csi;

impl Module for Csi {
    const SPEC: &'static Spec = &Spec {
        name: "csi",
        xeps: &[Xep { number: 352, version: "1.0.0", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        let frame = Frame::build(|w| {
            w.leaf("csi", csi::NS);
        });
        r.stream_feature(StreamFeature { is_after_sign_in: true, frame });
        r.inline(self);
    }
}

impl Inline for Csi {
    fn feature(&self) -> Option<&'static str> {
        Some(csi::NS)
    }

    fn set(&self, resource: &Resource, wishes: &Wishes<'_>) {
        if wishes.has(csi::NS, "inactive") {
            resource.look_away(resource.bound_ms);
        }
    }
}
