//! XMPP addresses (RFC 7622) and JID escaping (XEP-0106).
//!
//! An address that exists as a [`Jid`], [`BareJid`] or [`FullJid`] is canonical: both sides of a
//! comparison went through the same preparation, so that equality of addresses is equality of
//! strings (RFC 7622 §3.2.3, RFC 8265 §3.3.4 and §4.2.3).
//!
//! Only the rules of RFC 7622 are applied. Software that still prepares addresses by stringprep
//! (RFC 6122) agrees with it on nearly all addresses in use; where it does not, the address is
//! refused with a [`JidError`] that a server answers with `<jid-malformed/>` (RFC 7622 §4).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bare;
mod by_string;
mod error;
mod full;
mod jid;
pub mod limits;
mod prep;
mod recent;
pub mod xep0106_escaping;

pub use bare::BareJid;
pub use error::{JidError, Part};
pub use full::FullJid;
pub use jid::Jid;
pub use prep::{domain_to_ascii, prep_domain, prep_local, prep_resource};
