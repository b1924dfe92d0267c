//! Commands about blocked addresses.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{Spec, input};

pub(crate) const BLOCKED: Spec =
    Spec::new("blocked-list", "List addresses blocked for failed sign-ins.", |cx, _| {
        Box::pin(async move {
            let now_ms = cx.engine.clock.unix_ms();
            let blocked = cx.engine.credentials.guard.blocked(now_ms).into_iter();
            let rows = blocked.map(|(source, until_ms)| {
                let left_secs = until_ms.saturating_sub(now_ms) / 1_000;
                json!({ "address": source.to_string(), "left_secs": left_secs })
            });
            Ok(Value::Array(rows.collect()))
        })
    });

pub(crate) const UNBLOCK: Spec =
    Spec::new("blocked-lift", "Lift the block of an address.", |cx, value| {
        Box::pin(async move {
            let Address { address } = input(value)?;
            let was_blocked = cx.engine.credentials.guard.forgive_source(address);
            Ok(json!({ "address": address.to_string(), "was_blocked": was_blocked }))
        })
    });

#[derive(Deserialize)]
struct Address {
    address: IpAddr,
}
