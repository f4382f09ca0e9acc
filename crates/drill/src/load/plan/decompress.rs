//! Transparent decompression of input files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// Returns a reader of the decompressed bytes of a file, which may be compressed with zstd or plain.
pub(super) fn decompressed(file: File) -> std::io::Result<Box<dyn Read>> {
    const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut reader = BufReader::with_capacity(1 << 16, file);
    if reader.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
    } else {
        Ok(Box::new(reader))
    }
}
