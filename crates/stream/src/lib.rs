//! Stream machines without I/O, both sides.
