//! The words that stand for choices.

use stentor_edge::OnConflict;
use stentor_engine::host::{Delivery, ResourceConflict};
use stentor_engine::{Access, PresenceAccess};
use stentor_transport::{UnknownName, VersionMin};

use super::{Asked, LogFormat, PortKind, TlsUse};

/// The words of a choice, in the order of the reference page.
pub(crate) type Words = fn() -> Vec<&'static str>;

/// Something that is chosen by a word.
pub(crate) trait Word: Copy + 'static {
    /// Each with its word.
    const ALL: &'static [(&'static str, Self)];

    /// The choice of this word.
    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }
}

/// The words of a choice.
pub(super) fn words<T: Word>() -> Vec<&'static str> {
    T::ALL.iter().map(|(word, _)| *word).collect()
}

impl Word for PortKind {
    const ALL: &'static [(&'static str, Self)] = &[
        ("c2s", Self::C2s),
        ("c2s-tls", Self::C2sTls),
        ("s2s", Self::S2s),
        ("s2s-tls", Self::S2sTls),
        ("component", Self::Component),
        ("component-tls", Self::ComponentTls),
    ];
}

impl Word for TlsUse {
    const ALL: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("optional", Self::Optional), ("off", Self::Off)];
}

impl Word for Asked {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Word for Delivery {
    const ALL: &'static [(&'static str, Self)] =
        &[("most-available", Self::MostAvailable), ("all", Self::All)];
}

impl Word for ResourceConflict {
    const ALL: &'static [(&'static str, Self)] =
        &[("rename", Self::Rename), ("replace", Self::Replace), ("refuse", Self::Refuse)];
}

impl Word for Access {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("get", Self::Get), ("set", Self::Set), ("both", Self::Both)];
}

impl Word for PresenceAccess {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("managed_entity", Self::ManagedEntity), ("roster", Self::Roster)];
}

impl Word for OnConflict {
    const ALL: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("replace", Self::Replace)];
}

impl Word for VersionMin {
    const ALL: &'static [(&'static str, Self)] = &[("1.2", Self::Tls12), ("1.3", Self::Tls13)];
}

impl Word for UnknownName {
    const ALL: &'static [(&'static str, Self)] =
        &[("default", Self::Default), ("refuse", Self::Refuse)];
}

impl Word for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
