//! Decoding of HPACK's Huffman code (RFC 7541, 5.2 and appendix B).
//!
//! The code is canonical: words are numbered in the order of their lengths, then of their symbols.

/// Length of the longest word, EOS, which is never sent.
const LONGEST: usize = 30;
const EOS: u16 = 256;

const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

struct Code {
    symbols: [u16; 257],
    /// For each length: first word, index of its symbol, count.
    of_length: [(u32, u16, u16); LONGEST + 1],
    /// For each eight bits: symbol and word length of their prefix; 0: the word is longer.
    short: [(u8, u8); 256],
}

static CODE: Code = {
    let mut code = Code { symbols: [0; 257], of_length: [(0, 0, 0); LONGEST + 1], short: [(0, 0); 256] };
    let (mut word, mut length, mut at) = (0_u32, 1, 0);
    while length <= LONGEST {
        word <<= 1;
        let (first, begin) = (word, at);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                code.symbols[at] = symbol as u16;
                if length <= 8 {
                    let mut rest = 0;
                    while rest < 1 << (8 - length) {
                        code.short[((word as usize) << (8 - length)) + rest] = (symbol as u8, length as u8);
                        rest += 1;
                    }
                }
                word += 1;
                at += 1;
            }
            symbol += 1;
        }
        code.of_length[length] = (first, begin as u16, (at - begin) as u16);
        length += 1;
    }
    code
};

/// Appends the decoded string. False: it is invalid.
pub(super) fn decode(coded: &[u8], plain: &mut Vec<u8>) -> bool {
    // Pending bits, left-aligned, followed by zeros.
    let (mut bits, mut held) = (0_u64, 0_u32);
    let mut coded = coded.iter();
    loop {
        while held <= 56 {
            let Some(byte) = coded.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        let (mut symbol, mut length) = CODE.short[(bits >> 56) as usize];
        if length == 0 {
            let Some((found, long)) = long(bits) else { return false };
            // EOS in a string is an error (RFC 7541, 5.2).
            if found == EOS {
                return false;
            }
            (symbol, length) = (found as u8, long);
        }
        if u32::from(length) > held {
            // Padding is a prefix of EOS, shorter than a byte.
            return held < 8
                && bits >> (64 - LONGEST) | u64::MAX >> (64 - LONGEST + held as usize) == (1 << LONGEST) - 1;
        }
        plain.push(symbol);
        bits <<= length;
        held -= u32::from(length);
    }
}

fn long(bits: u64) -> Option<(u16, u8)> {
    for length in 9..=LONGEST {
        let (first, at, count) = CODE.of_length[length];
        let word = (bits >> (64 - length)) as u32;
        if let Some(nth) = word.checked_sub(first)
            && nth < u32::from(count)
        {
            return Some((CODE.symbols[usize::from(at) + nth as usize], length as u8));
        }
    }
    None
}
