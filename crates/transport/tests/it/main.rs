//! Connections over real loopback sockets; nothing here depends on time.

#![allow(clippy::unwrap_used, missing_docs)]

mod client_certs;
mod data;
mod files;
mod handshake;
mod hello;
mod peer;
mod records;
mod selection;
mod support;
