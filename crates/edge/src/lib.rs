//! Adapters that join transports, streams and the engine.
