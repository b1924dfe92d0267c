//! Messages, presence and IQs: head, edits, stanza errors.
