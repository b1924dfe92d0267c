//! The archive against a list that is searched from end to end.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use stentor_jid::{BareJid, Jid};
use stentor_store::{
    ArchiveDrop, ArchiveEntry, ArchiveFilter, ArchiveRange, ArchiveRow, ArchiveSlice, Edge, Stage,
    Stores, Write,
};
use stentor_store_sqlite::{Options, Sqlite};

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn owner(who: usize) -> BareJid {
    BareJid::new(["romeo@montague.example", "juliet@capulet.example"][who]).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// To one account or to both.
    Put {
        who: usize,
        both: bool,
        peer: usize,
        words: Vec<usize>,
        flags: u32,
        leap: u64,
        back: i64,
    },
    Retract {
        who: usize,
        which: Index,
    },
    Drop {
        who: usize,
        which: Vec<Index>,
    },
    DropBefore {
        who: usize,
        which: Index,
    },
    DropAll {
        who: usize,
    },
}

#[derive(Clone, Debug)]
struct Question {
    who: usize,
    with: Option<usize>,
    words: Option<Vec<usize>>,
    without_flags: u32,
    start: Option<Index>,
    end: Option<Index>,
    after: Option<Index>,
    before: Option<Index>,
    ids: Vec<Index>,
    limit: u32,
    edge: (u8, Index),
}

/// What is known of an entry.
#[derive(Clone, Debug)]
struct Known {
    row: ArchiveRow,
    words: Vec<usize>,
}

const PEERS: [&str; 5] = [
    "nurse@capulet.example",
    "nurse@capulet.example/kitchen",
    "nurse@capulet.example/garden",
    "tybalt@capulet.example/street",
    "capulet.example",
];
const WORDS: [&str; 4] = ["love", "Tod", "été", "東京"];

fn step() -> impl Strategy<Value = Step> {
    let words = || prop::collection::vec(0..WORDS.len(), 0..3);
    let put = (0..2_usize, any::<bool>(), 0..PEERS.len(), words(), 0..4_u32, 1..9_u64, 0..40_i64)
        .prop_map(|(who, both, peer, words, flags, leap, back)| {
            // Clocks are set back now and then.
            let back = if back > 3 { 0 } else { back * 7 };
            Step::Put { who, both, peer, words, flags, leap, back }
        });
    let which = || any::<Index>();
    prop_oneof![
        20 => put,
        2 => (0..2_usize, which()).prop_map(|(who, which)| Step::Retract { who, which }),
        2 => (0..2_usize, prop::collection::vec(which(), 0..3))
            .prop_map(|(who, which)| Step::Drop { who, which }),
        1 => (0..2_usize, which()).prop_map(|(who, which)| Step::DropBefore { who, which }),
        1 => (0..12_usize).prop_filter_map("rarely", |who| {
            (who < 2).then_some(Step::DropAll { who })
        }),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let maybe = || prop::option::weighted(0.3, any::<Index>());
    (
        (0..2_usize, prop::option::weighted(0.4, 0..PEERS.len()), 0..4_u32),
        prop::option::weighted(0.3, prop::collection::vec(0..WORDS.len(), 1..3)),
        (maybe(), maybe(), maybe(), maybe()),
        prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec(any::<Index>(), 1..5)],
        (0..8_u32, 0..5_u8, any::<Index>()),
    )
        .prop_map(
            |((who, with, without_flags), words, (start, end, after, before), ids, page)| {
                let (limit, edge, at) = page;
                let edge = (edge, at);
                Question {
                    who,
                    with,
                    words,
                    without_flags,
                    start,
                    end,
                    after,
                    before,
                    ids,
                    limit,
                    edge,
                }
            },
        )
}

struct World {
    stores: Stores,
    known: [Vec<Known>; 2],
    last_id: u64,
    last_ms: i64,
}

impl World {
    fn submit(&self, stage: impl Into<Stage>) {
        wait(self.stores.writer.submit(stage)).unwrap();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put { who, both, peer, words, flags, leap, back } => {
                self.last_ms += leap.cast_signed();
                let at_ms = self.last_ms - back;
                let text = words.iter().map(|word| WORDS[*word]).collect::<Vec<_>>().join(" ");
                let body: Arc<[u8]> = format!("<body>{text}</body>").into_bytes().into();
                let holders = if both { vec![who, 1 - who] } else { vec![who] };
                let mut stage = Stage::new();
                for (nth, holder) in holders.into_iter().enumerate() {
                    self.last_id += leap;
                    let entry = ArchiveEntry {
                        id: self.last_id,
                        at_ms,
                        peer: Jid::new(PEERS[(peer + nth) % PEERS.len()]).unwrap(),
                        is_sent: nth == 0,
                        flags,
                        body: body.clone(),
                        text: (!text.is_empty()).then(|| text.to_uppercase().into()),
                        origin_id: None,
                        stanza_id: None,
                    };
                    self.known[holder].push(Known {
                        row: ArchiveRow {
                            id: entry.id,
                            at_ms,
                            peer: entry.peer.clone(),
                            is_sent: entry.is_sent,
                            is_retracted: false,
                            flags,
                            body: body.to_vec(),
                        },
                        words: words.clone(),
                    });
                    stage.push(Write::PutArchive { owner: owner(holder), entry });
                }
                self.submit(stage);
            }
            Step::Retract { who, which } => {
                let Some(known) = pick_mut(&mut self.known[who], which) else { return };
                let tombstone = format!("<retracted id='{}'/>", known.row.id).into_bytes();
                known.row.is_retracted = true;
                known.row.body.clone_from(&tombstone);
                known.words.clear();
                let id = known.row.id;
                self.submit(Write::RetractArchive { owner: owner(who), id, tombstone });
            }
            Step::Drop { who, which } => {
                let ids: Vec<u64> =
                    which.into_iter().filter_map(|w| pick(&self.known[who], w)).collect();
                self.known[who].retain(|known| !ids.contains(&known.row.id));
                let what = ArchiveDrop::Ids(ids);
                self.submit(Write::DropArchive { owner: owner(who), what });
            }
            Step::DropBefore { who, which } => {
                let known = &mut self.known[who];
                let Some(id) = pick(known, which) else { return };
                let at_ms = known.iter().find(|known| known.row.id == id).unwrap().row.at_ms;
                let keep = known.iter().position(|k| k.row.at_ms >= at_ms).unwrap_or(known.len());
                known.drain(..keep);
                let what = ArchiveDrop::Before(at_ms);
                self.submit(Write::DropArchive { owner: owner(who), what });
            }
            Step::DropAll { who } => {
                self.known[who].clear();
                self.submit(Write::DropArchive { owner: owner(who), what: ArchiveDrop::All });
            }
        }
    }

    fn ask(&self, question: &Question) {
        let known = &self.known[question.who];
        let filter = self.filter(question);
        let limit = question.limit;
        let id = pick(known, question.edge.1).unwrap_or(1);
        let from = match question.edge.0 {
            0 => Edge::First,
            1 => Edge::After(id),
            2 => Edge::Before(id),
            3 => Edge::Last,
            _ => Edge::Index(question.edge.1.index(known.len() + 2) as u64),
        };
        let range = ArchiveRange { limit, from };
        let expected = expected(known, question, &filter, range);
        let found = wait(self.stores.archive.page(&owner(question.who), filter, range)).unwrap();
        assert_eq!(found, expected, "{question:?}");
    }

    fn filter(&self, question: &Question) -> ArchiveFilter {
        let known = &self.known[question.who];
        let id = |index: Option<Index>| index.map(|index| pick(known, index).unwrap_or(1));
        let time = |index: Option<Index>| {
            index.map(|index| known.get(index.index(known.len() + 1)).map_or(0, |k| k.row.at_ms))
        };
        ArchiveFilter {
            start_ms: time(question.start),
            end_ms: time(question.end),
            with: question.with.map(|with| Jid::new(PEERS[with]).unwrap()),
            before_id: id(question.before),
            after_id: id(question.after),
            ids: question.ids.iter().map(|index| pick(known, *index).unwrap_or(1)).collect(),
            text: question
                .words
                .as_ref()
                .map(|words| words.iter().map(|word| WORDS[*word]).collect::<Vec<_>>().join(" ")),
            without_flags: question.without_flags,
        }
    }
}

fn pick(known: &[Known], which: Index) -> Option<u64> {
    (!known.is_empty()).then(|| which.get(known).row.id)
}

fn pick_mut(known: &mut [Known], which: Index) -> Option<&mut Known> {
    (!known.is_empty()).then(|| which.get_mut(known))
}

fn expected(
    known: &[Known],
    question: &Question,
    filter: &ArchiveFilter,
    range: ArchiveRange,
) -> Option<ArchiveSlice> {
    let exists = |id: &u64| known.iter().any(|known| known.row.id == *id);
    let edge = match range.from {
        Edge::After(id) | Edge::Before(id) => Some(id),
        _ => None,
    };
    let named = [filter.after_id, filter.before_id, edge];
    if !named.iter().flatten().chain(&filter.ids).all(exists) {
        return None;
    }
    let matching: Vec<&ArchiveRow> =
        known.iter().filter(|known| is_match(known, question, filter)).map(|k| &k.row).collect();
    let (limit, all) = (range.limit as usize, matching.len());
    let below = |id: u64| matching.iter().filter(|row| row.id < id).count();
    let (first, last) = match range.from {
        Edge::First => (0, limit.min(all)),
        Edge::After(id) => {
            let first = matching.iter().filter(|row| row.id <= id).count();
            (first, (first + limit).min(all))
        }
        Edge::Before(id) => (below(id).saturating_sub(limit), below(id)),
        Edge::Last => (all.saturating_sub(limit), all),
        Edge::Index(0) => (0, limit.min(all)),
        Edge::Index(index) => {
            let index = usize::try_from(index).unwrap();
            if index >= all {
                return None;
            }
            (index, (index + limit).min(all))
        }
    };
    let is_down = matches!(range.from, Edge::Before(_) | Edge::Last);
    Some(ArchiveSlice {
        rows: matching[first..last].iter().map(|row| (*row).clone()).collect(),
        is_complete: if is_down { first == 0 } else { last == all },
        count: Some(all as u64),
        first_index: (first < last).then_some(first as u64),
        damaged: vec![],
    })
}

fn is_match(known: &Known, question: &Question, filter: &ArchiveFilter) -> bool {
    let row = &known.row;
    filter.start_ms.is_none_or(|start| row.at_ms >= start)
        && filter.end_ms.is_none_or(|end| row.at_ms <= end)
        && filter.after_id.is_none_or(|after| row.id > after)
        && filter.before_id.is_none_or(|before| row.id < before)
        && (filter.ids.is_empty() || filter.ids.contains(&row.id))
        && row.flags & filter.without_flags == 0
        && filter
            .with
            .as_ref()
            .is_none_or(|with| *with == row.peer || (with.is_bare() && row.peer.to_bare() == *with))
        && question
            .words
            .as_ref()
            .is_none_or(|words| words.iter().all(|word| known.words.contains(word)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn prop_pages_are_those_of_a_list(
        steps in prop::collection::vec(step(), 1..60),
        questions in prop::collection::vec(question(), 20..40),
        fold_entries in 1..25_usize,
    ) {
        let options = Options { fold_entries, ..Options::default() };
        let sqlite = Sqlite::in_memory_inline(&options).unwrap();
        let known = [vec![], vec![]];
        let mut world = World { stores: sqlite.stores(), known, last_id: 1, last_ms: 0 };
        for who in 0..2 {
            let create = Write::CreateAccount { owner: owner(who), created_ms: 0, keys: vec![] };
            world.submit(create);
        }
        let half = steps.len() / 2;
        for (nth, step) in steps.into_iter().enumerate() {
            world.take(step);
            if nth == half {
                questions.iter().for_each(|question| world.ask(question));
            }
        }
        questions.iter().for_each(|question| world.ask(question));
        for who in 0..2 {
            let usage = wait(world.stores.archive.usage(&owner(who))).unwrap();
            let bytes: usize = world.known[who].iter().map(|known| known.row.body.len()).sum();
            prop_assert_eq!((usage.count, usage.bytes), (world.known[who].len() as u64, bytes as u64));
        }
    }
}
