//! Names and times that the world gives out.

use std::fs;

use k8s_openapi::jiff::Timestamp;

/// A random UUID, of the kernel's making.
pub fn uuid() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid");
    uuid.unwrap_or_default().trim().to_owned()
}

/// Characters of generated names (apimachinery's `rand.SafeEncodeString`): 14 million names of
/// five, where hexadecimal digits make one.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five random characters, as `generateName` appends them.
pub fn suffix() -> String {
    let random = u128::from_str_radix(&uuid().replace('-', ""), 16).unwrap_or_default();
    // The first bits of a UUID are all random.
    let mut left = usize::try_from(random >> 96).unwrap_or_default();
    let mut character = || {
        let index = left % ALPHABET.len();
        left /= ALPHABET.len();
        char::from(ALPHABET[index])
    };
    std::iter::repeat_with(&mut character).take(5).collect()
}

/// The time, as Kubernetes writes it.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
