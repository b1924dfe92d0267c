//! SASL mechanisms as pure steps.
