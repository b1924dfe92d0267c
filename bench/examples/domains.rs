//! What many domains cost: looking one up, and adding one more.
//!
//! `cargo run --release -p stentor-bench --example domains`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use stentor_jid::Jid;
use stentor_testkit::World;

const LOOKUPS: u32 = 5_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for domains in [2, 1_000, 10_000] {
        let world = World::new();
        for n in 2..domains {
            world.engine.add_domain(&format!("d{n}.example"), "default").await.unwrap();
        }
        let begin = Instant::now();
        world.engine.add_domain("last.example", "default").await.unwrap();
        let added = begin.elapsed();
        let addresses = ["juliet@capulet.example", "romeo@last.example", "x@far.example"];
        let addresses = addresses.map(|address| Jid::new(address).unwrap());
        let begin = Instant::now();
        for n in 0..LOOKUPS {
            black_box(world.engine.route(&addresses[n as usize % addresses.len()]));
        }
        let lookup = begin.elapsed() / LOOKUPS;
        println!("{domains:>6} domains: an address {lookup:?}, one domain more {added:?}");
    }
}
