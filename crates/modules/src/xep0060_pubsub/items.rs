//! Reading items (§6.5): by id, the newest, or page by page.

use stentor_engine::{Account, IqCx, refuse};
use stentor_payload::xep0059_rsm::{Ask, Before, Page, Uid};
use stentor_payload::xep0060_pubsub::unsupported;
use stentor_stanza::{Condition, StanzaError};
use stentor_store::{NodeItemMark, NodeItemRow};

use super::access::Asker;
use super::nodes::{Node, Nodes};
use super::{asker_of, not_ready};
use crate::limits::{PUBSUB_PAGE_BYTES_MAX, PUBSUB_PAGE_ITEMS_MAX};

/// Which items are wanted.
pub(crate) struct Wanted {
    pub(crate) node: String,
    pub(crate) ids: Vec<String>,
    pub(crate) max_items: Option<u32>,
    pub(crate) page: Option<Ask>,
}

/// The items, oldest first, and where they stand in the whole if that is not all of them.
pub(crate) struct Found {
    pub(crate) node: String,
    pub(crate) items: Vec<NodeItemRow>,
    pub(crate) page: Option<Page>,
}

/// Reads them.
///
/// # Errors
/// Those of §6.5.9.
pub(crate) async fn read(
    cx: &IqCx<'_>,
    account: &Account,
    wanted: Wanted,
) -> Result<Found, StanzaError> {
    let who = asker_of(cx)?;
    let (ids, page) = {
        let state = account.lock();
        let nodes = Nodes::of(&state).ok_or(not_ready())?;
        let node = nodes.find(&wanted.node).ok_or(StanzaError::new(Condition::ItemNotFound))?;
        let asker = Asker { owner: &account.jid, roster: &state.roster, who: &who };
        asker.may_read(node)?;
        // §6.5.9.4.
        if !node.config.persists {
            return Err(unsupported("persistent-items"));
        }
        select(node, &wanted, cx.engine.clock.unix_ms())?
    };
    let failed = |e| refuse::store_error(&e);
    // What was published just before must be found.
    cx.engine.stores.writer.barrier().await.map_err(failed)?;
    let wished: Vec<&str> = ids.iter().map(String::as_str).collect();
    let items = cx.engine.stores.pubsub.items(&account.jid, &wanted.node, &wished).await;
    Ok(Found { node: wanted.node, items: items.map_err(failed)?, page })
}

fn select(
    node: &Node,
    wanted: &Wanted,
    now_ms: i64,
) -> Result<(Vec<String>, Option<Page>), StanzaError> {
    let live = node.items(now_ms);
    if !wanted.ids.is_empty() {
        // §6.5.9.12: none of them is no error.
        let found: Vec<_> = live.iter().filter(|item| wanted.ids.contains(&item.id)).collect();
        let fitting = fitting(found.iter().copied());
        return Ok((ids(&found[..fitting]), None));
    }
    let newest = wanted.max_items.map_or(live.len(), |max| live.len().min(max as usize));
    let whole = &live[live.len() - newest..];
    match &wanted.page {
        None => {
            let fitting = fitting(whole.iter());
            let page = &whole[..fitting];
            // §6.5.4: what is left out is told of.
            let is_cut = fitting < whole.len();
            Ok((ids(page), is_cut.then(|| place(whole, 0, fitting))))
        }
        Some(ask) => {
            let (begin, end) = bounds(whole, ask)?;
            Ok((ids(&whole[begin..end]), Some(place(whole, begin, end))))
        }
    }
}

/// Where a page begins and ends (XEP-0059).
fn bounds(whole: &[NodeItemMark], ask: &Ask) -> Result<(usize, usize), StanzaError> {
    let find = |Uid(id): &Uid| {
        let at = whole.iter().position(|item| item.id == *id);
        at.ok_or(StanzaError::new(Condition::ItemNotFound))
    };
    let max = ask.max.unwrap_or(PUBSUB_PAGE_ITEMS_MAX).min(PUBSUB_PAGE_ITEMS_MAX) as usize;
    let after = ask.after.as_ref().map(find).transpose()?.map_or(0, |at| at + 1);
    if let Some(before) = &ask.before {
        let end = match before {
            Before::End => whole.len(),
            Before::Item(uid) => find(uid)?.max(after),
        };
        let fitting = fitting(whole[after..end].iter().rev()).min(max);
        return Ok((end - fitting, end));
    }
    let begin = match ask.index {
        Some(index) => usize::try_from(index).unwrap_or(usize::MAX).min(whole.len()),
        None => after,
    };
    let fitting = fitting(whole[begin..].iter()).min(max);
    Ok((begin, begin + fitting))
}

/// How many of them go into one answer; at least one.
fn fitting<'a>(items: impl Iterator<Item = &'a NodeItemMark>) -> usize {
    let mut bytes = 0_u64;
    let fits = |item: &&NodeItemMark| {
        bytes = bytes.saturating_add(item.bytes + item.id.len() as u64);
        bytes <= PUBSUB_PAGE_BYTES_MAX
    };
    let mut items = items.take(PUBSUB_PAGE_ITEMS_MAX as usize).peekable();
    let is_any = usize::from(items.peek().is_some());
    items.take_while(fits).count().max(is_any)
}

fn ids<'a, T: std::borrow::Borrow<NodeItemMark> + 'a>(
    items: impl IntoIterator<Item = &'a T>,
) -> Vec<String> {
    items.into_iter().map(|item| item.borrow().id.clone()).collect()
}

fn place(whole: &[NodeItemMark], begin: usize, end: usize) -> Page {
    let page = &whole[begin..end];
    let ends = page.first().zip(page.last()).map(|(f, l)| (f.id.clone(), l.id.clone()));
    let first_index = ends.as_ref().map(|_| begin as u64);
    Page { ends, first_index, count: Some(whole.len() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(items: &[(&str, u64)]) -> Node {
        let mark = |(seq, (id, bytes)): (usize, &(&str, u64))| NodeItemMark {
            id: (*id).into(),
            seq: seq as u64,
            at_ms: 0,
            publisher: None,
            bytes: *bytes,
        };
        Node { items: items.iter().enumerate().map(mark).collect(), ..Node::default() }
    }

    fn all() -> Wanted {
        Wanted { node: "n".into(), ids: Vec::new(), max_items: None, page: None }
    }

    fn selected(node: &Node, wanted: &Wanted) -> (String, Option<(u64, u64)>) {
        let (ids, page) = select(node, wanted, 0).unwrap();
        (ids.concat(), page.map(|p| (p.first_index.unwrap_or(99), p.count.unwrap())))
    }

    fn page(ask: Ask) -> Wanted {
        Wanted { page: Some(ask), ..all() }
    }

    const ABCD: &[(&str, u64)] = &[("a", 1), ("b", 1), ("c", 1), ("d", 1)];

    #[test]
    fn s6_5_all_the_newest_or_those_named() {
        let node = node(ABCD);
        assert_eq!(selected(&node, &all()), ("abcd".into(), None));
        let newest = |n| Wanted { max_items: Some(n), ..all() };
        assert_eq!(selected(&node, &newest(2)), ("cd".into(), None));
        assert_eq!(selected(&node, &newest(9)), ("abcd".into(), None));
        let these =
            |ids: &[&str]| Wanted { ids: ids.iter().map(|i| (*i).into()).collect(), ..all() };
        assert_eq!(selected(&node, &these(&["d", "x", "a"])), ("ad".into(), None));
        assert_eq!(selected(&node, &these(&["x"])), (String::new(), None));
    }

    #[test]
    fn s6_5_4_pages_go_both_ways() {
        let node = node(ABCD);
        let uid = |id: &str| Uid(id.into());
        let two = Ask { max: Some(2), ..Ask::default() };
        for (ask, expected) in [
            (two.clone(), ("ab", 0)),
            (Ask { after: Some(uid("b")), ..two.clone() }, ("cd", 2)),
            (Ask { before: Some(Before::End), ..two.clone() }, ("cd", 2)),
            (Ask { before: Some(Before::Item(uid("c"))), ..two.clone() }, ("ab", 0)),
            (Ask { index: Some(1), ..two.clone() }, ("bc", 1)),
            (Ask { index: Some(9), ..two.clone() }, ("", 99)),
            (Ask { max: Some(0), ..Ask::default() }, ("", 99)),
            (Ask::default(), ("abcd", 0)),
        ] {
            let (items, first) = expected;
            assert_eq!(selected(&node, &page(ask)), (items.to_owned(), Some((first, 4))));
        }
        let unknown = Ask { after: Some(uid("x")), ..two };
        let refused = select(&node, &page(unknown), 0).unwrap_err();
        assert_eq!(refused.condition, Condition::ItemNotFound);
    }

    #[test]
    fn an_answer_has_a_size() {
        let big = PUBSUB_PAGE_BYTES_MAX;
        let node = node(&[("a", big / 2), ("b", big / 2), ("c", big * 2), ("d", 1)]);
        assert_eq!(selected(&node, &all()), ("a".into(), Some((0, 4))));
        let after = |id: &str| page(Ask { after: Some(Uid(id.into())), ..Ask::default() });
        assert_eq!(selected(&node, &after("b")), ("c".into(), Some((2, 4))));
        let last = page(Ask { before: Some(Before::End), ..Ask::default() });
        assert_eq!(selected(&node, &last), ("d".into(), Some((3, 4))));
    }
}
