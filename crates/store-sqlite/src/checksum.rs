//! CRC-32 (the polynomial of ISO 3309), to tell a damaged record from a good one.

/// The checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    // Eight bytes at a time: each goes through the table of its distance from the end of them.
    let sum = words.iter().fold(!0_u32, |sum, word| {
        let [a, b, c, d, e, f, g, h] = *word;
        let [i, j, k, l] = sum.to_le_bytes();
        let bytes = [h, g, f, e, d ^ l, c ^ k, b ^ j, a ^ i];
        TABLES.iter().zip(bytes).fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)])
    });
    !rest.iter().fold(sum, |sum, &byte| {
        let [low, ..] = sum.to_le_bytes();
        TABLES[0][usize::from(low ^ byte)] ^ (sum >> 8)
    })
}

/// The sums of single bytes, and of single bytes with one to seven zeros behind them.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut index = 0;
    let mut value = 0_u32;
    while index < 256 {
        let mut sum = value;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
            bit += 1;
        }
        tables[0][index] = sum;
        index += 1;
        value += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut index = 0;
        while index < 256 {
            let sum = tables[distance - 1][index];
            tables[distance][index] = tables[0][(sum & 0xFF) as usize] ^ (sum >> 8);
            index += 1;
        }
        distance += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_known_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        // Eight bytes at a time or one by one: the sum of bytes and of their sum is always the same.
        for len in 0..40 {
            let mut bytes = b"O Romeo, Romeo! wherefore art thou Romeo?"[..len].to_vec();
            bytes.extend(crc32(&bytes).to_le_bytes());
            assert_eq!(crc32(&bytes), 0x2144_DF1C, "{len}");
        }
    }
}
