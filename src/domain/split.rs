//! The split of requests between the two colors while a release is watched.
//!
//! Each request draws a number below 2^64: at random, or as a hash of the user's key and the deployment's salt. The
//! candidate gets the draws below the weight. The split needs no memory: it is the same on every worker and after a
//! restart, and a growing weight only moves users from the stable color to the candidate.

use std::fmt;
use std::str::FromStr;

use crate::domain::color::Color;

/// A share of the requests, in hundredths of a percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    pub const NONE: Weight = Weight(0);
    pub const ALL: Weight = Weight(10_000);
    pub const HALF: Weight = Weight(5_000);

    /// `None` above 10,000.
    #[must_use]
    pub const fn new(basis_points: u16) -> Option<Weight> {
        if basis_points <= Weight::ALL.0 { Some(Weight(basis_points)) } else { None }
    }

    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// From 0 to 1.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Weight::ALL.0)
    }

    /// `None` if it is out of range or has more than two decimals.
    #[must_use]
    pub fn percent(number: f64) -> Option<Weight> {
        let basis_points = (number * 100.0).round();
        let exact = (basis_points / 100.0 - number).abs() < 1e-9;
        let within = (0.0..=f64::from(Weight::ALL.0)).contains(&basis_points);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 to 10,000")]
        (exact && within).then_some(Weight(basis_points as u16))
    }

    #[must_use]
    pub const fn rest(self) -> Weight {
        Weight(Weight::ALL.0 - self.0)
    }

    #[must_use]
    pub const fn takes(self, draw: u64) -> bool {
        // The upper half of the draw, scaled to 0..10,000; exact at both ends.
        ((draw >> 32) * (Weight::ALL.0 as u64)) >> 32 < self.0 as u64
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 100.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoShare;

impl fmt::Display for NoShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share goes from 0% to 100%, to hundredths of a percent, and is written as \"5%\"")
    }
}

impl std::error::Error for NoShare {}

/// `5%` or `0.25 %`; the sign is required.
impl FromStr for Weight {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Weight, NoShare> {
        let number = text.trim().strip_suffix('%').ok_or(NoShare)?.trim_end();
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        number.parse().ok().filter(|_| plain).and_then(Weight::percent).ok_or(NoShare)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    pub candidate: Color,
    pub weight: Weight,
    /// Mixed into the hashes of users, so that each deployment begins with other users.
    pub salt: u64,
}

impl Split {
    #[must_use]
    pub const fn color(&self, draw: u64) -> Color {
        if self.weight.takes(draw) { self.candidate } else { self.candidate.other() }
    }

    #[must_use]
    pub fn of(&self, color: Color) -> Weight {
        if color == self.candidate { self.weight } else { self.weight.rest() }
    }
}

/// The draw of a user: a function of key and salt, the same on every machine.
///
/// It is SipHash-2-4, which nobody can predict without the salt. Users choose their keys, and a request whose color
/// was known beforehand is weak evidence (docs/blame.md).
#[must_use]
pub(crate) fn draw(key: &[u8], salt: u64) -> u64 {
    sip_hash([salt, 0x6375_746f_7665_7221], key)
}

/// Aumasson, Bernstein: SipHash, a fast short-input PRF (2012), with 2 and 4 rounds.
fn sip_hash([k0, k1]: [u64; 2], data: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = data.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = data.len().to_le_bytes()[0];
    for word in words.iter().chain([&last]).map(|bytes| u64::from_le_bytes(*bytes)) {
        v[3] ^= word;
        sip_rounds(&mut v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    sip_rounds(&mut v, 4);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_rounds([a, b, c, d]: &mut [u64; 4], rounds: usize) {
    for _ in 0..rounds {
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(basis_points: u16) -> Weight {
        Weight::new(basis_points).expect("a share")
    }

    #[test]
    fn the_draw_is_sip_hash() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let data: Vec<u8> = (0..15).collect();
        for (length, hash) in [(0, 0x726f_db47_dd0e_0e31), (1, 0x74f8_39c5_93dc_67fd), (15, 0xa129_ca61_49be_45e5)] {
            assert_eq!(sip_hash(key, &data[..length]), hash, "{length} bytes");
        }
    }

    #[test]
    fn none_is_nobody_and_all_is_everybody() {
        for draw in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert!(!Weight::NONE.takes(draw) && Weight::ALL.takes(draw), "{draw}");
        }
        assert_eq!(Weight::new(10_001), None);
    }

    #[test]
    fn a_share_is_read_as_it_is_written() {
        for (text, basis_points) in [("5%", 500), ("0.25 %", 25), (" 100% ", 10_000), ("0%", 0), ("12.5%", 1_250)] {
            assert_eq!(text.parse(), Ok(weight(basis_points)), "{text}");
        }
        for share in [weight(0), weight(25), weight(500), Weight::ALL] {
            assert_eq!(share.to_string().parse(), Ok(share));
        }
        for text in ["", "5", "%", "-1%", "101%", "0.001%", "5%%", "1e1%", "NaN%", "inf%", "+5%"] {
            assert_eq!(text.parse::<Weight>(), Err(NoShare), "{text}");
        }
    }

    #[test]
    fn a_growing_weight_moves_users_to_the_candidate_only() {
        for user in 0..2_000_u32 {
            let draw = draw(&user.to_be_bytes(), 7);
            let took: Vec<bool> = (0..=100).map(|percent| weight(percent * 100).takes(draw)).collect();
            assert!(took.is_sorted(), "user {user}: {took:?}");
        }
    }

    #[test]
    fn users_are_shared_as_the_weight_says_and_otherwise_in_each_deployment() {
        let users = |salt| (0..40_000_u32).filter(|user| weight(500).takes(draw(&user.to_be_bytes(), salt))).collect();
        let (first, second): (Vec<u32>, Vec<u32>) = (users(1), users(2));
        // Within five standard deviations of 2,000.
        assert!(first.len().abs_diff(2_000) < 220 && second.len().abs_diff(2_000) < 220);
        let both = first.iter().filter(|user| second.contains(user)).count();
        assert!(both < 200, "{both} of {} are the same", first.len());
    }
}
