//! Commands about addresses that are blocked for failed sign-ins.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::command::{AdminError, Command};
use crate::limits::BLOCKED_ROWS;
use crate::{Cx, Nothing};

/// Lists blocked addresses.
#[derive(Debug)]
pub struct ListBlocked;

/// Lifts the block of an address.
#[derive(Debug)]
pub struct LiftBlock;

/// Blocked addresses, those first whose block lasts longest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// At most [`BLOCKED_ROWS`].
    pub blocked: Vec<Row>,
    /// How many more there are.
    pub left_out: usize,
}

/// One blocked address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The address; of IPv6 the network of 64 bits.
    pub address: IpAddr,
    /// Seconds until the block ends by itself.
    pub left_secs: i64,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// IPv4 or IPv6.
    pub address: IpAddr,
}

/// What came of lifting a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// The address.
    pub address: IpAddr,
    /// Whether anything was held against it.
    pub had_failures: bool,
}

impl Command for ListBlocked {
    const NAME: &'static str = "blocked-list";
    const SUMMARY: &'static str = "List addresses blocked for failed sign-ins.";
    type Input = Nothing;
    type Output = Blocked;

    async fn run(cx: Cx, _: Nothing) -> Result<Blocked, AdminError> {
        cx.running()?;
        let now_ms = cx.engine.clock.unix_ms();
        let mut all = cx.engine.credentials.guard.blocked(now_ms);
        all.sort_unstable_by_key(|(source, until_ms)| (std::cmp::Reverse(*until_ms), *source));
        let left_out = all.len().saturating_sub(BLOCKED_ROWS);
        all.truncate(BLOCKED_ROWS);
        let row = |(address, until_ms): (IpAddr, i64)| Row {
            address,
            left_secs: until_ms.saturating_sub(now_ms) / 1_000,
        };
        Ok(Blocked { blocked: all.into_iter().map(row).collect(), left_out })
    }
}

impl Command for LiftBlock {
    const NAME: &'static str = "blocked-lift";
    const SUMMARY: &'static str = "Lift the block of an address.";
    type Input = Address;
    type Output = Lifted;

    async fn run(cx: Cx, input: Address) -> Result<Lifted, AdminError> {
        cx.running()?;
        let had_failures = cx.engine.credentials.guard.forgive_source(input.address);
        tracing::info!(event = "source_unblocked", source = %input.address, had_failures, "A block was lifted.");
        Ok(Lifted { address: input.address, had_failures })
    }
}

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    #[tokio::test]
    async fn blocked_addresses_are_listed_until_the_block_is_lifted() {
        let world = World::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let fail = || {
            let now_ms = world.engine.clock.unix_ms();
            world.engine.credentials.guard.failed(Some(address), None, now_ms)
        };
        let list = async || ListBlocked::run(cx(&world), Nothing {}).await.unwrap();
        fail();
        assert_eq!(list().await, Blocked { blocked: Vec::new(), left_out: 0 });
        while !fail().0 {}
        let blocked = list().await.blocked;
        assert_eq!(blocked.iter().map(|row| row.address).collect::<Vec<_>>(), [address]);
        assert!(blocked[0].left_secs > 0);
        world.advance(1);
        assert_eq!(list().await.blocked[0].left_secs, blocked[0].left_secs - 1);
        let lifted = LiftBlock::run(cx(&world), Address { address }).await.unwrap();
        assert_eq!(lifted, Lifted { address, had_failures: true });
        assert_eq!(list().await.blocked, []);
    }
}
