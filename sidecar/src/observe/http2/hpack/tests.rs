//! The decoder against the standard's own examples, and against noise.

use proptest::prelude::*;

use super::super::super::http1::segments;
use super::*;

/// The fields that mean something here.
fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Name, u16)>, Odd> {
    let mut found = Vec::new();
    for byte in block {
        found.extend(decoder.byte(*byte)?.filter(|field| field.name != Name::Other).map(|field| (field.name, field.value)));
    }
    decoder.end()?;
    Ok(found)
}

/// From hexadecimal, with spaces.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter_map(|digit| char::from(digit).to_digit(16).map(|digit| digit as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn reads_requests_with_and_without_huffman() {
    // RFC 7541, C.3 and C.4: three requests each, on one connection.
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf", "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"],
    ] {
        let mut decoder = Decoder::default();
        for (block, segments) in blocks.iter().zip([0, 0, 1]) {
            assert_eq!(fields(&mut decoder, &hex(block)).unwrap(), [(Name::Method, 0), (Name::Path, segments)]);
        }
        assert!(fields(&mut decoder, &[0x80 | 62]).unwrap().is_empty() && fields(&mut decoder, &[0x80 | 65]).is_err(), "three entries");
    }
}

#[test]
fn evicts_as_the_standards_responses_do() {
    // RFC 7541, C.6: a table of 256 bytes.
    let mut decoder = Decoder::default();
    decoder.table.resize(256).unwrap();
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 \
         d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for (block, status) in blocks.iter().zip([302, 307, 200]) {
        assert_eq!(fields(&mut decoder, &hex(block)).unwrap(), [(Name::Status, status)]);
    }
    assert!(fields(&mut decoder, &[0x80 | 64]).is_ok() && fields(&mut decoder, &[0x80 | 65]).is_err(), "three entries");
}

#[test]
fn keeps_what_entries_mean() {
    let mut decoder = Decoder::default();
    // A literal with indexing: a new name and a value; then only its index, and its name with another value.
    assert_eq!(fields(&mut decoder, b"\x40\x0bgrpc-status\x0214").unwrap(), [(Name::GrpcStatus, 14)]);
    assert_eq!(fields(&mut decoder, b"\xbe").unwrap(), [(Name::GrpcStatus, 14)]);
    assert_eq!(fields(&mut decoder, b"\x0f\x2f\x015").unwrap(), [(Name::GrpcStatus, 5)]);
    assert_eq!(fields(&mut decoder, b"\x10\x0el5d-orig-proto\x08HTTP/1.1").unwrap(), [(Name::OriginalProtocol, 0)]);
}

#[test]
fn refuses_what_is_odd() {
    for odd in [
        &b"\x80"[..],                // index 0
        b"\xbe",                     // an entry that is not there
        b"\x3f\xe2\x1f",             // a table of 4,097 bytes
        b"\x82\x20",                 // a change of size behind a field
        b"\x41\x05ab",               // a block that ends within a value
        b"\xff\xff\xff\xff\xff\x7f", // a number without end
        b"\x7f\x80\x80\x80\x80\x80\x00",
    ] {
        assert!(fields(&mut Decoder::default(), odd).is_err(), "{odd:x?}");
    }
    assert!(fields(&mut Decoder::default(), b"\x3f\xe1\x1f\x82").is_ok(), "4,096 bytes are the default");
}

#[test]
fn a_table_holds_at_most_128_small_entries() {
    let mut decoder = Decoder::default();
    for _ in 0..1000 {
        fields(&mut decoder, b"\x40\x00\x00").unwrap();
    }
    assert!(fields(&mut decoder, b"\xff\x3e").is_ok() && fields(&mut decoder, b"\xff\x3f").is_err(), "index 189 is the last");
    fields(&mut decoder, &[&b"\x40\x00\x7f\xe1\x1f"[..], &[b'x'; 4192]].concat()).unwrap();
    assert!(fields(&mut decoder, b"\xbe").is_err(), "what is larger than the table empties it");
}

proptest! {
    #[test]
    fn counts_segments_as_http1_does(path in "(/[ab/]{0,6}){1,6}([?#][/a?]{0,4})?") {
        prop_assert_eq!(Text::from(path.as_str()).segments, u16::from(segments(&path)));
    }

    #[test]
    fn never_panics(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            drop(fields(&mut decoder, &block));
        }
    }
}
