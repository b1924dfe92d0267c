//! XEP-0359: Unique and Stable Stanza IDs, version 0.7.0.
//!
//! Shows the id under which an account keeps a message, in that account's own view.
//! Implements: §3 `<stanza-id/>` (`by` is the account's bare address).
//! Left out: taking forged ids out of what comes in, which is a module's.

use std::borrow::Cow;

use stentor_jid::BareJid;
use stentor_stanza::Stanza;

use crate::phase::Cx;

/// The message as the account of the pass sees it.
pub(crate) fn view<'a>(cx: &Cx<'_>, stanza: &'a Stanza, id: Option<u64>) -> Cow<'a, Stanza> {
    let Some(id) = id else { return Cow::Borrowed(stanza) };
    let mut view = stanza.clone();
    view.append(|w| {
        w.open("stanza-id", NS_SID).attr("by", cx.account.jid.as_str());
        w.attr("id", &id.to_string()).close();
    });
    Cow::Owned(view)
}

/// The id under which `account` keeps this message. Only for what has passed its annotation, which
/// takes out what others claim in its name.
pub(crate) fn id_by(stanza: &Stanza, account: &BareJid) -> Option<u64> {
    let mut ids = stanza.children().filter(|c| c.is(NS_SID, "stanza-id"));
    let id = ids.find(|c| c.attr("by").is_some_and(|by| by == account.as_str()))?;
    id.attr("id")?.parse().ok()
}

/// Stanza ids.
const NS_SID: &str = "urn:xmpp:sid:0";
