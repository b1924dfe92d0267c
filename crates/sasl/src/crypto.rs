//! The functions that RFC 5802 §2.2 names: H(), HMAC() and Hi().

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use crate::Hash;

/// H(data).
pub(crate) fn digest(hash: Hash, data: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha1 => Sha1::digest(data).to_vec(),
        Hash::Sha256 => Sha256::digest(data).to_vec(),
        Hash::Sha512 => Sha512::digest(data).to_vec(),
    }
}

/// HMAC(key, data), the data in parts.
pub(crate) fn hmac(hash: Hash, key: &[u8], data: &[&[u8]]) -> Vec<u8> {
    match hash {
        Hash::Sha1 => mac::<Hmac<Sha1>>(key, data),
        Hash::Sha256 => mac::<Hmac<Sha256>>(key, data),
        Hash::Sha512 => mac::<Hmac<Sha512>>(key, data),
    }
}

/// Hi(password, salt, iterations).
pub(crate) fn hi(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
    let mut salted = Zeroizing::new(vec![0; hash.bytes()]);
    let password = password.as_bytes();
    match hash {
        Hash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
        Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
        Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted),
    }
    salted
}

/// `a XOR b`; of equal length, or the longer one is cut.
pub(crate) fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in data {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}
