//! The maxima of what is read from payloads.

/// Fields in one form that is read; beyond, `bad-request`.
pub const FORM_FIELDS_MAX: usize = 256;

/// Values, options and lines of instructions in one form that is read; beyond, `bad-request`.
pub const FORM_VALUES_MAX: usize = 4_096;

/// Bytes of an id that names an item in result set management; beyond, it names no item of ours.
pub const RSM_UID_BYTES_MAX: usize = 1_024;

/// Features in one answer of service discovery that is read; beyond, `bad-request`.
pub const DISCO_FEATURES_MAX: usize = 1_000;

/// Identities in one answer of service discovery that is read; beyond, `bad-request`.
pub const DISCO_IDENTITIES_MAX: usize = 64;

/// Forms in one answer of service discovery that is read; beyond, `bad-request`.
pub const DISCO_FORMS_MAX: usize = 16;

/// Bytes of each attribute of the mark that stands for capabilities; a longer one is not looked at.
pub const CAPS_ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// Bytes of the name of a node; beyond, `not-acceptable`.
pub const NODE_NAME_BYTES_MAX: usize = 1_024;

/// Bytes of the id of an item of a node; beyond, `not-acceptable`.
pub const NODE_ITEM_ID_BYTES_MAX: usize = 1_024;

/// Items that one request asks for or retracts by their ids; beyond, `not-acceptable`. Items that one
/// publishes; beyond, `not-allowed` (XEP-0060 §12.11).
pub const NODE_IDS_MAX: usize = 1_000;

/// Affiliations or subscriptions that one request changes; beyond, `not-acceptable`.
pub const NODE_PARTIES_MAX: usize = 1_000;

/// Bytes of a stanza id or origin id that is read; a longer one is passed on and not looked at.
pub const STANZA_ID_BYTES_MAX: usize = 1_024;

/// Bytes of the name of a privacy list; beyond, `bad-request`.
pub const PRIVACY_NAME_BYTES_MAX: usize = 256;

/// Bytes of the reason of a report; beyond, `not-acceptable`.
pub const REPORT_REASON_BYTES_MAX: usize = 256;

/// Messages that one report names; beyond, `not-acceptable`.
pub const REPORT_STANZAS_MAX: usize = 64;

/// Bytes of the text of a report; beyond, `not-acceptable`.
pub const REPORT_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Bytes of the node of a push service; beyond, `bad-request`.
pub const PUSH_NODE_BYTES_MAX: usize = 1_024;

/// Bytes of an enabled push service with its options (XEP-0357); beyond, `not-acceptable`.
pub const PUSH_ENABLE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of the node of a command (XEP-0050).
pub const COMMAND_NODE_BYTES_MAX: usize = 1_024;

/// Bytes of the id of a command's session; ours are shorter.
pub const COMMAND_SESSION_BYTES_MAX: usize = 256;
