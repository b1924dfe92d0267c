//! Storage traits by domain, the ordered writer, contract suites.
