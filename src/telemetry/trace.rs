//! The context of a trace (W3C Trace Context): `traceparent`, read and written.

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
/// Flags that are passed on: sampled, and random trace id (level 2).
const KNOWN: u8 = 3;

/// A trace, and the span in it that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub trace: u128,
    pub span: u64,
    flags: u8,
}

impl TraceContext {
    /// `None`: malformed, which counts as absent.
    #[must_use]
    pub(crate) fn parse(value: &[u8]) -> Option<TraceContext> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = [(0, 2), (3, 35), (36, 52), (53, 55)].map(|(from, to)| &known[from..to]);
        let version = hex(version)?;
        let separated = [2, 35, 52].into_iter().all(|at| known[at] == b'-');
        // A later version may have more after a dash.
        let whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
        let (trace, span, flags) = (hex(trace)?, u64::try_from(hex(span)?).ok()?, u8::try_from(hex(flags)?).ok()?);
        let valid = separated && whole && version != 0xff && trace != 0 && span != 0;
        let flags = flags & if version == 0 { KNOWN } else { SAMPLED };
        valid.then_some(TraceContext { trace, span, flags })
    }

    #[must_use]
    pub(crate) fn begin(sampled: bool) -> TraceContext {
        TraceContext { trace: fastrand::u128(1..), span: new_span(), flags: u8::from(sampled) }
    }

    /// The same trace, with another span that calls.
    #[must_use]
    pub(crate) fn with_span(self, span: u64) -> TraceContext {
        TraceContext { span, ..self }
    }

    #[must_use]
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As version 00.
    #[must_use]
    pub(crate) fn text(&self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], self.trace);
        write_hex(&mut text[36..52], self.span.into());
        write_hex(&mut text[53..55], self.flags.into());
        text
    }
}

#[must_use]
pub(crate) fn new_span() -> u64 {
    fastrand::u64(1..)
}

/// Fills the place with the lower digits, in lower case.
pub(crate) fn write_hex(place: &mut [u8], number: u128) {
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
}

/// Lower case only.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_and_written_as_the_standard_says() {
        let context = TraceContext::parse(EXAMPLE.as_bytes()).expect("a context");
        assert_eq!(context.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((context.span, context.is_sampled()), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(context.text(), EXAMPLE.as_bytes());
        let random = EXAMPLE.replace("-01", "-ff");
        assert!(TraceContext::parse(random.as_bytes()).expect("a context").text().ends_with(b"-03"));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in [format!("01{}-more", &EXAMPLE[2..]), format!("cc{}", &EXAMPLE[2..])] {
            let context = TraceContext::parse(later.as_bytes()).expect("a context");
            assert_eq!(context.text(), EXAMPLE.as_bytes(), "{later}");
        }
    }

    #[test]
    fn a_malformed_context_is_none() {
        let zeros = "0".repeat(32);
        for wrong in [
            "".to_owned(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}0"),
            format!("{EXAMPLE}-more"),
            format!("01{}.more", &EXAMPLE[2..]),
            format!("ff{}", &EXAMPLE[2..]),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &zeros),
            EXAMPLE.replace("b7ad6b7169203331", &zeros[..16]),
            EXAMPLE.replace("-01", "-0x"),
        ] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_begun_trace_is_valid() {
        for sampled in [false, true] {
            let begun = TraceContext::begin(sampled);
            assert_eq!(TraceContext::parse(&begun.text()), Some(begun));
            assert_eq!(begun.is_sampled(), sampled);
        }
    }
}
