//! Payloads: reading times never panics, and what is written can be read.

#![cfg_attr(fuzzing, no_main)]

use stentor_payload::xep0082_time;

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(ms) = xep0082_time::read(text)
    {
        let written = xep0082_time::write(ms);
        let again = xep0082_time::read(&written).expect("what we wrote can be read");
        assert_eq!(xep0082_time::write(again), written);
    }
    if let Ok(bytes) = <[u8; 8]>::try_from(data) {
        let written = xep0082_time::write(i64::from_le_bytes(bytes));
        assert!(xep0082_time::read(&written).is_some(), "{written}");
    }
}
