//! Hash slots of a cluster, and the buckets of a user's keys.

/// The number of hash slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// A group of keys with one hash tag. On a cluster all of them are in one slot, and a script can use them
/// together.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The slot of the hash tag ([`hash_slot`]).
    pub slot: u16,
    /// A key in that slot that nothing is stored under: the rights of the user are tried on it.
    pub probe_key: String,
}

/// Returns the slot of a key with this hash tag.
#[must_use]
pub fn hash_slot(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS
}

/// Returns the CRC-16/XMODEM of some bytes, as in the cluster's specification.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }
}
