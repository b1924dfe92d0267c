//! The maxima of what is read from payloads.

/// Fields in one form that is read; beyond, `bad-request`.
pub const FORM_FIELDS_MAX: usize = 256;

/// Values, options and lines of instructions in one form that is read; beyond, `bad-request`.
pub const FORM_VALUES_MAX: usize = 4_096;

/// Bytes of an id that names an item in result set management; beyond, it names no item of ours.
pub const RSM_UID_BYTES_MAX: usize = 1_024;

/// Bytes of a stanza id or origin id that is read; a longer one is passed on and not looked at.
pub const STANZA_ID_BYTES_MAX: usize = 1_024;
