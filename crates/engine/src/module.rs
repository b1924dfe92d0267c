//! What a feature of the server is: data about it, and what it takes part in.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::registrar::Registrar;

/// What a module is, in data. Shown by the command line, printed into `docs/xeps.md` and
/// `doap.xml`.
#[derive(Debug)]
pub struct Spec {
    /// The configuration key and the label of its metrics.
    pub name: &'static str,
    /// The extensions it implements.
    pub xeps: &'static [Xep],
    /// Names of modules without which it makes no sense.
    pub requires: &'static [&'static str],
    /// Its options, in the order of the reference page.
    pub options: &'static [OptionDoc],
}

/// An extension and how much of it there is.
#[derive(Debug)]
pub struct Xep {
    /// Its number.
    pub number: u16,
    /// The version implemented.
    pub version: &'static str,
    /// Whether all of it that concerns a server is there.
    pub status: Status,
    /// What is left out, or anything else worth saying; may be empty.
    pub note: &'static str,
}

/// How much of an extension is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All that concerns a server.
    Complete,
    /// A part; the note says which.
    Partial,
}

/// One option of a module, for the configuration reference.
#[derive(Debug)]
pub struct OptionDoc {
    /// The key.
    pub key: &'static str,
    /// The default, as it would stand in the file.
    pub default: &'static str,
    /// What it does, its unit and its bounds.
    pub help: &'static str,
}

/// A feature of the server. Built once per host profile, never per domain.
pub trait Module: Send + Sync + Sized + 'static {
    /// What it is.
    const SPEC: &'static Spec;
    /// Its options.
    type Config: DeserializeOwned + Default;

    /// Makes it from its options.
    ///
    /// # Errors
    /// A sentence that names the option, what is wrong and what would be right.
    fn build(config: Self::Config) -> Result<Self, String>;

    /// Lists everything it takes part in. Runs once; decides nothing.
    fn register(self: Arc<Self>, r: &mut Registrar);
}

/// The configuration of a module without options.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A module whose type has been erased, for the list of all modules.
#[derive(Clone, Copy)]
pub struct Factory {
    /// What it is.
    pub spec: &'static Spec,
    install: fn(Option<toml::Value>, &mut Registrar) -> Result<(), String>,
}

impl Factory {
    /// The factory of a module.
    #[must_use]
    pub const fn of<M: Module>() -> Self {
        Self { spec: M::SPEC, install: install::<M> }
    }

    /// Builds the module from its table in the configuration, or from defaults, and registers it.
    ///
    /// # Errors
    /// A sentence that says which option is wrong and why.
    pub fn install(&self, config: Option<toml::Value>, r: &mut Registrar) -> Result<(), String> {
        (self.install)(config, r)
    }
}

fn install<M: Module>(config: Option<toml::Value>, r: &mut Registrar) -> Result<(), String> {
    let config = match config {
        None => M::Config::default(),
        Some(value) => value.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?,
    };
    Arc::new(M::build(config)?).register(r);
    Ok(())
}
