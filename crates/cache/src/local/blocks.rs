//! The sizes of an allocator's blocks.

/// Returns the bytes of the block of an allocation: glibc has a header of 8 bytes, multiples of 16, and at least 32.
#[cfg(not(feature = "jemalloc"))]
pub(super) const fn block(len: usize) -> usize {
    let len = (len + 8 + 15) & !15;
    if len < 32 { 32 } else { len }
}

/// Returns the bytes of the block of an allocation: jemalloc has no header, multiples of 16 up to 128, and above that
/// four sizes between two powers of two.
#[cfg(feature = "jemalloc")]
pub(super) const fn block(len: usize) -> usize {
    let step = if len <= 128 { 16 } else { len.next_power_of_two() / 8 };
    len.div_ceil(step) * step
}
