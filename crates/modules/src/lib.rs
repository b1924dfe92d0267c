//! The features of the server, one file each. `registry.rs` is the list.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod floods;
pub mod limits;
pub mod registry;
mod rfc4505_anonymous;
mod rfc6121_roster;
mod strangers;
mod xep0012_last;
mod xep0013_offline;
mod xep0016_privacy;
mod xep0030_disco;
mod xep0033_address;
mod xep0049_private;
mod xep0050_commands;
mod xep0054_vcard;
mod xep0060_pubsub;
mod xep0077_register;
mod xep0092_version;
mod xep0115_caps;
mod xep0157_contact;
mod xep0160_offline;
mod xep0163_pep;
mod xep0191_blocking;
mod xep0199_ping;
mod xep0202_time;
mod xep0280_carbons;
mod xep0313_mam;
mod xep0352_csi;
mod xep0357_push;
mod xep0359_sid;
mod xep0377_reports;
mod xep0386_bind2;
mod xep0388_sasl2;
mod xep0424_retract;
mod xep0430_inbox;
mod xep0431_full_text;
mod xep0441_mam_prefs;
mod xep0484_fast;
mod xep0490_displayed;
mod xep0492_notify;
mod xep0494_access;
