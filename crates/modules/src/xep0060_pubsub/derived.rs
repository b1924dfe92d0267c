//! What else follows for an account from what it publishes on nodes that have a meaning of their
//! own: kept where messages are judged, in the same stage.

use std::sync::Arc;

use stentor_engine::{AccountState, Engine};
use stentor_jid::BareJid;
use stentor_store::{NodeItemRow, Stage};

use crate::{xep0430_inbox as inbox, xep0490_displayed as displayed, xep0492_notify as notify};

/// Items were published, and others went for them.
pub(crate) fn published(
    engine: &Arc<Engine>,
    owner: &BareJid,
    state: &mut AccountState,
    node: &str,
    rows: &[NodeItemRow],
    gone: &[String],
    stage: &mut Stage,
) {
    if node == notify::BOOKMARKS {
        notify::removed(owner, state, gone, stage);
    }
    // What others wrote there is not the owner's wish.
    for row in rows.iter().filter(|row| row.publisher.is_none()) {
        if node == notify::BOOKMARKS {
            notify::published(engine, owner, state, &row.id, &row.payload, stage);
        }
        if node == displayed::NODE {
            inbox::published(engine, owner, state, &row.id, &row.payload, stage);
        }
    }
}

/// Items were removed.
pub(crate) fn removed(
    owner: &BareJid,
    state: &mut AccountState,
    node: &str,
    ids: &[String],
    stage: &mut Stage,
) {
    if node == notify::BOOKMARKS {
        notify::removed(owner, state, ids, stage);
    }
}

/// All items of a node were removed, or the node itself was.
pub(crate) fn cleared(owner: &BareJid, state: &mut AccountState, node: &str, stage: &mut Stage) {
    if node == notify::BOOKMARKS {
        notify::cleared(owner, state, stage);
    }
}
