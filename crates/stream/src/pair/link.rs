//! One direction of a connection: it splits what goes through, and it can go dead.

use std::collections::VecDeque;

/// Bytes on their way.
#[derive(Debug, Default)]
pub struct Link {
    queue: VecDeque<u8>,
    /// Everything that was written into it.
    pub written: Vec<u8>,
    /// Decides how the bytes are split; zero delivers all at once.
    seed: u64,
    is_dead: bool,
    /// Fails after so many more bytes.
    budget: Option<usize>,
    /// What somebody on the way does with each piece that is written.
    rewrite: Option<fn(&str) -> String>,
}

impl Link {
    /// Splits from now on, in pieces of 1 to 16 bytes that follow from the seed; zero stops that.
    pub const fn split_by(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// From now on everything written vanishes, and nobody is told.
    pub const fn die(&mut self) {
        self.is_dead = true;
    }

    /// Dies by itself after this many more bytes.
    pub const fn die_after(&mut self, bytes: usize) {
        self.budget = Some(bytes);
    }

    /// Lets somebody on the way change each piece that is written from now on.
    pub const fn rewrite_by(&mut self, rewrite: fn(&str) -> String) {
        self.rewrite = Some(rewrite);
    }

    /// Takes bytes; true if there were any.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.written.extend_from_slice(bytes);
        let rewritten = self.rewrite.map(|rewrite| rewrite(&String::from_utf8_lossy(bytes)));
        let mut passing = rewritten.as_deref().map_or(bytes, str::as_bytes);
        if let Some(budget) = &mut self.budget {
            passing = &passing[..passing.len().min(*budget)];
            *budget -= passing.len();
        }
        if !self.is_dead {
            self.queue.extend(passing);
        }
        !bytes.is_empty()
    }

    /// Hands the next piece to `f`, which takes away what it uses; true if it used any.
    pub fn deliver(&mut self, f: impl FnOnce(&mut &[u8])) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let bytes = self.queue.make_contiguous();
        let piece = match self.seed {
            0 => bytes.len(),
            seed => {
                // Xorshift: any spread of sizes will do.
                let mut x = seed;
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                self.seed = x.max(1);
                bytes.len().min(1 + usize::try_from(x % 16).unwrap_or(0))
            }
        };
        let mut rest = &bytes[..piece];
        f(&mut rest);
        let used = piece - rest.len();
        self.queue.drain(..used);
        used > 0
    }

    /// Forgets what is on its way.
    pub fn clear(&mut self) {
        self.queue.clear();
    }
}
