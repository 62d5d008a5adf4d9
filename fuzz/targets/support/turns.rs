//! A conversation out of arbitrary bytes: each turn has two bytes before it, its sender in the top bit and its length.

/// Who speaks, and what.
pub type Turn<'a> = (bool, &'a [u8]);

/// The turns in `data`, `true` for the client's; the last may be cut short.
pub fn turns(mut data: &[u8]) -> Vec<Turn<'_>> {
    let mut turns = Vec::new();
    while let Some(([low, high], rest)) = data.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, high & 0x7f])).min(rest.len());
        let (turn, rest) = rest.split_at(length);
        turns.push((high & 0x80 == 0, turn));
        data = rest;
    }
    turns
}
