//! The features, one file per XEP.
