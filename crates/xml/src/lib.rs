//! Restricted XML of XMPP streams: scanner, index, cursor, writer.
//!
//! [`Scanner`] takes the bytes of a stream as they come and gives [`Frame`]s: first-level elements
//! that are checked, indexed and mean the same wherever they are sent. [`ElementRef`] is a cursor
//! over a frame with the comfort of a tree. [`Writer`] makes XML of our own.
//!
//! What XML is here: XML 1.0 (fifth edition) with Namespaces in XML 1.0, UTF-8 only, without
//! comments, processing instructions, document type declarations and entities other than the five
//! predefined ones (RFC 6120 §11).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ns;

mod attr;
mod class;
mod declaration;
mod element;
mod error;
mod frame;
mod header;
mod index;
mod lanes;
mod limits;
mod machine;
mod marks;
mod normalise;
mod packed;
mod places;
mod pool;
mod resolve;
mod scan;
mod scope;
mod unescape;
mod write;

pub use attr::{Attribute, Attributes};
pub use element::{Children, ElementRef, Node, Nodes};
pub use error::{Malformed, MalformedKind, SyntaxError};
pub use frame::Frame;
pub use header::Header;
pub use limits::{FRAME_BYTES_CEILING, Limits};
pub use places::Common;
pub use scan::{Item, Scanner};
pub use scope::Content;
pub use write::{Writer, escape_attr, escape_text, is_verbatim};
