//! XEP-0386: Bind 2, version 1.1.0.
//!
//! Binds a resource within sign-in: `tag/id`, where the id stays the same for a client that tells
//! its own. Earlier sessions of the client end. What can be wished for with the resource, the
//! modules of those features say.
//! Implements: §3.1, §3.2.
//! Status: complete

use std::sync::Arc;

use stentor_engine::{Factory, Module, NoConfig, Registrar, Spec, Status, Xep};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Bind2>();

struct Bind2;

impl Module for Bind2 {
    const SPEC: &'static Spec = &Spec {
        name: "bind2",
        xeps: &[Xep { number: 386, version: "1.1.0", status: Status::Complete, note: "" }],
        requires: &["sasl2"],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.sign_in().binds = true;
    }
}
