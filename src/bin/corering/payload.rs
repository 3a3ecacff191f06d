//! Bytes that tell where they belong: byte `i` of stream `c` is a function of both.
//!
//! A lost, doubled, moved or foreign byte is found wherever a piece is cut. Eight bytes are made at
//! a time, so that making and checking cost far less than sending.

/// The bytes of one stream: a connection, or a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    /// Sets the streams apart.
    key: u64,
}

/// The first byte that is not what the position calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) offset: u64,
    pub(crate) expected: u8,
    pub(crate) found: u8,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            offset,
            expected,
            found,
        } = self;
        write!(
            f,
            "byte {offset} is {found:#04x} instead of {expected:#04x}"
        )
    }
}

impl Payload {
    pub(crate) fn new(stream: u64) -> Self {
        Self { key: mix(!stream) }
    }

    /// Writes the bytes of the stream from `offset` on.
    pub(crate) fn fill(self, offset: u64, out: &mut [u8]) {
        let mut word = offset / 8;
        let head = (out.len() as u64).min((8 - offset % 8) % 8) as usize;
        let (head, rest) = out.split_at_mut(head);
        if !head.is_empty() {
            let skip = (offset % 8) as usize;
            head.copy_from_slice(&self.word(word)[skip..skip + head.len()]);
            word += 1;
        }
        let mut chunks = rest.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.word(word));
            word += 1;
        }
        let tail = chunks.into_remainder();
        tail.copy_from_slice(&self.word(word)[..tail.len()]);
    }

    /// Compares `bytes` with the stream from `offset` on.
    pub(crate) fn check(self, offset: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let head = (bytes.len() as u64).min((8 - offset % 8) % 8) as usize;
        let (head, rest) = bytes.split_at(head);
        let mut word = (offset + head.len() as u64) / 8;
        let mut equal = self.check_slowly(offset, head).is_ok();
        let (chunks, tail) = rest.split_at(rest.len() - rest.len() % 8);
        for chunk in chunks.chunks_exact(8) {
            equal &= chunk == self.word(word);
            word += 1;
        }
        equal &= self.word(word)[..tail.len()] == *tail;
        if equal {
            Ok(())
        } else {
            self.check_slowly(offset, bytes)
        }
    }

    /// One byte at a time; finds the place of the mismatch.
    fn check_slowly(self, offset: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        for (offset, &found) in (offset..).zip(bytes) {
            let expected = self.byte(offset);
            if found != expected {
                return Err(Mismatch {
                    offset,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    fn byte(self, offset: u64) -> u8 {
        self.word(offset / 8)[(offset % 8) as usize]
    }

    fn word(self, index: u64) -> [u8; 8] {
        mix(self.key.wrapping_add(index)).to_le_bytes()
    }
}

/// The output function of SplitMix64: every bit of the input changes half of the output.
fn mix(input: u64) -> u64 {
    let z = input.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(stream: u64, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        Payload::new(stream).fill(offset, &mut out);
        out
    }

    #[test]
    fn every_cut_is_the_same_stream() {
        let whole = bytes(3, 0, 100);
        for start in 0..40 {
            for len in 0..60 {
                let piece = bytes(3, start as u64, len);
                assert_eq!(piece, whole[start..start + len], "{start} {len}");
                assert_eq!(Payload::new(3).check(start as u64, &piece), Ok(()));
            }
        }
    }

    #[test]
    fn every_wrong_byte_is_found() {
        let good = bytes(9, 5, 50);
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            let mismatch = Payload::new(9).check(5, &bad).unwrap_err();
            assert_eq!(
                (mismatch.offset, mismatch.found),
                (5 + index as u64, bad[index])
            );
            assert_eq!(mismatch.expected, good[index]);
        }
    }

    #[test]
    fn moved_doubled_and_foreign_bytes_are_found() {
        let good = bytes(1, 0, 4096);
        assert!(Payload::new(1).check(64, &good[..64]).is_err());
        assert!(Payload::new(1).check(0, &good[1..]).is_err());
        assert!(Payload::new(2).check(0, &good[..8]).is_err());
        assert!(Payload::new(1).check(0, &[0; 16]).is_err());
        // No stream is another one shifted by a few words.
        for stream in 0..64 {
            let first = bytes(stream, 0, 8);
            assert!(!good.windows(8).any(|window| window == first) || stream == 1);
        }
    }

    #[test]
    fn far_offsets() {
        let payload = Payload::new(0);
        let offset = u64::MAX - 100;
        assert_eq!(payload.check(offset, &bytes(0, offset, 64)), Ok(()));
    }
}
