//! Test world: engine, store in memory, clients, virtual clock, scripts.
