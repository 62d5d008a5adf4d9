//! The Huffman code of header strings (RFC 7541, appendix B), bits in and bytes out.
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, so a row per length is the
//! whole table.

use super::Odd;

/// The codes of one length.
struct Row {
    length: u32,
    first: u32,
    symbols: &'static [u8],
}

/// Bits not decoded yet, fewer than the longest code has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Huffman {
    bits: u64,
    have: u32,
}

// === impl Huffman ===

impl Huffman {
    /// Takes one byte and gives `each` what it completes.
    pub(super) fn byte(&mut self, byte: u8, mut each: impl FnMut(u8)) -> Result<(), Odd> {
        self.bits = self.bits << 8 | u64::from(byte);
        self.have += 8;
        loop {
            // What comes next, as the upper bits of a word; those that are still to come are zeros and decide nothing.
            let next = if self.have >= 32 { self.bits >> (self.have - 32) } else { self.bits << (32 - self.have) } as u32;
            // No row has the code of 30 ones that ends every string and may stand in none.
            let found = ROWS.iter().find_map(|row| {
                let place = (next >> (32 - row.length)).checked_sub(row.first)?;
                (place < row.symbols.len() as u32).then_some((row, place))
            });
            let (row, place) = found.ok_or(Odd)?;
            if row.length > self.have {
                return Ok(());
            }
            each(*row.symbols.get(place as usize).ok_or(Odd)?);
            self.have -= row.length;
            self.bits &= (1 << self.have) - 1;
        }
    }

    /// The string is over: what is left must be less than a byte of ones.
    pub(super) fn end(self) -> Result<(), Odd> {
        if self.have < 8 && self.bits == (1 << self.have) - 1 { Ok(()) } else { Err(Odd) }
    }
}

const ROWS: [Row; 21] = [
    Row { length: 5, first: 0x0, symbols: b"012aceiost" },
    Row { length: 6, first: 0x14, symbols: b" %-./3456789=A_bdfghlmnpru" },
    Row { length: 7, first: 0x5c, symbols: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz" },
    Row { length: 8, first: 0xf8, symbols: b"&*,;XZ" },
    Row { length: 10, first: 0x3f8, symbols: b"!\"()?" },
    Row { length: 11, first: 0x7fa, symbols: b"'+|" },
    Row { length: 12, first: 0xffa, symbols: b"#>" },
    Row { length: 13, first: 0x1ff8, symbols: b"\0$@[]~" },
    Row { length: 14, first: 0x3ffc, symbols: b"^}" },
    Row { length: 15, first: 0x7ffc, symbols: b"<`{" },
    Row { length: 19, first: 0x7fff0, symbols: b"\\\xc3\xd0" },
    Row { length: 20, first: 0xfffe6, symbols: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2" },
    Row { length: 21, first: 0x1fffdc, symbols: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6" },
    Row { length: 22, first: 0x3fffd2, symbols: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9" },
    Row {
        length: 23,
        first: 0x7fffd8,
        symbols: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    },
    Row { length: 24, first: 0xffffea, symbols: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed" },
    Row { length: 25, first: 0x1ffffec, symbols: b"\xc7\xcf\xea\xeb" },
    Row { length: 26, first: 0x3ffffe0, symbols: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff" },
    Row { length: 27, first: 0x7ffffde, symbols: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe" },
    Row {
        length: 28,
        first: 0xfffffe2,
        symbols: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    },
    Row { length: 30, first: 0x3ffffffc, symbols: b"\n\r\x16" },
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let (row, place) = ROWS.iter().find_map(|row| row.symbols.iter().position(|symbol| symbol == byte).map(|place| (row, place))).unwrap();
            let code = row.first + u32::try_from(place).unwrap();
            bits.extend((0..row.length).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, Odd> {
        let (mut huffman, mut out) = (Huffman::default(), Vec::new());
        bytes.iter().try_for_each(|byte| huffman.byte(*byte, |byte| out.push(byte)))?;
        huffman.end().map(|()| out)
    }

    #[test]
    fn the_table_is_a_complete_prefix_code_of_all_bytes() {
        let mut symbols: Vec<u8> = ROWS.iter().flat_map(|row| row.symbols).copied().collect();
        symbols.sort_unstable();
        assert_eq!(symbols, (0..=255).collect::<Vec<u8>>());
        // With the end of string, the code words leave no room.
        let room: u64 = ROWS.iter().map(|row| (row.symbols.len() as u64) << (30 - row.length)).sum();
        assert_eq!(room + 1, 1 << 30);
    }

    #[test]
    fn decodes_the_standards_examples() {
        // RFC 7541, C.4.1 and C.6.1.
        assert_eq!(decode(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff").unwrap(), b"www.example.com");
        assert_eq!(decode(b"\x64\x02").unwrap(), b"302");
        assert_eq!(decode(b"").unwrap(), b"");
    }

    #[test]
    fn refuses_wrong_padding_and_the_end_of_string() {
        for odd in [&b"\x00"[..], b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\xff", b"\xff\xff\xff\xff"] {
            assert!(decode(odd).is_err(), "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode(&encode(&text)).ok(), Some(text));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(decode(&bytes));
        }
    }
}
