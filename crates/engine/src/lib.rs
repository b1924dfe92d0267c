//! The engine: who is online, whose an address is, what becomes of each stanza, and how features
//! take part in that.
//!
//! It knows neither sockets nor streams: a session is a [`Resource`] with an [`Outbox`] to it, and
//! a connection's task hands stanzas to its [`Session`]. Start reading at `pipeline.rs` for
//! messages, `presence/mod.rs` for presence and `iq.rs` for requests.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod account;
mod ask;
pub mod awaited;
pub mod backlog;
mod bind;
pub mod chores;
pub mod clients;
pub mod clock;
pub mod commands;
pub mod component;
mod copied;
pub mod credentials;
mod deliver;
mod detached;
pub mod directory;
pub mod disco;
pub mod domains;
pub mod engine;
pub mod guard;
pub mod host;
pub mod iq;
pub mod kept;
mod leftover;
pub mod limits;
mod locks;
mod lookup;
pub mod metrics;
pub mod module;
mod notices;
pub mod outbox;
pub mod pace;
mod pending;
pub mod phase;
mod pipeline;
pub mod presence;
pub mod refuse;
pub mod registrar;
pub mod registration;
pub mod remote;
mod replaced;
pub mod request;
pub mod resource;
mod resume;
pub mod roster;
mod sequel;
mod service;
pub mod session;
mod shown_ids;
pub mod sign_in;
pub mod slots;
pub mod tally;
pub mod underway;
mod upgrade;
pub mod watch;
pub mod worth;
mod xep0033_address;
mod xep0115_caps;
mod xep0203_delay;
mod xep0352_csi;
pub mod xep0377_reports;

pub use account::{Account, AccountState};
pub use bind::random_id;
pub use chores::Chore;
pub use clock::Clock;
pub use component::{
    Access, Component, Components, Delegated, Delegation, PresenceAccess, Privileges,
};
pub use disco::{DiscoNode, DiscoNodes, NodeInfo, NodeItem};
pub use domains::DomainError;
pub use engine::{Engine, Route};
pub use host::{Host, Hosts, Profile, Settings};
pub use iq::{BoxFuture, IqCx, OnAsk, OnGet, OnSet, Request, Scope};
pub use module::{Factory, Module, NoConfig, OptionDoc, Spec, Status, Xep};
pub use outbox::{Close, Fate, Item, Outbox, Pressure, Saved, Since, Stored, TooHigh};
pub use phase::{
    Admit, Annotate, Attend, AttendCx, Copy, Cx, Direction, Flow, Heed, Look, Lookup, Mirror, Miss,
    Observe, Observed, Passing, Record, Recorded, Screen, Serials, SharedBytes, SharedWorth, Taken,
    Verdict, Wish,
};
pub use registrar::Registrar;
pub use remote::{Inbound, Links};
pub use resource::{Available, Flag, Resource};
pub use resume::{NotResumed, Resumed};
pub use session::{Handling, Session};
pub use sign_in::{Binding, Inline, Wishes};
pub use slots::{Resident, Slot, Slots};
pub use underway::Kept;
pub use watch::Watch;
pub use xep0115_caps::{CapsKey, Interest};
