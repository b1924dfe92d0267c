//! Scanning one typical chat message, compared with other parsers; read the ratios.

fn main() {
    divan::main();
}
