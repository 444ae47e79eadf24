//! The end of an OCSP response (RFC 6960). Clients check the rest.

use std::time::SystemTime;

use x509_cert::der::asn1::{AnyRef, GeneralizedTime};
use x509_cert::der::{self, Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

/// The end, if it has passed. A response without an end, or an unreadable one, has none.
pub(super) fn expired(staple: &[u8], now: SystemTime) -> Option<SystemTime> {
    let ends = next_updates(staple).ok()?;
    ends.into_iter().min().filter(|end| *end <= now)
}

fn next_updates(staple: &[u8]) -> der::Result<Vec<SystemTime>> {
    // OCSPResponse: the status, then [0] { type, octets of a BasicOCSPResponse }.
    let mut response = content(staple)?;
    any(&mut response)?;
    let mut bytes = content(any(&mut response)?.value())?;
    any(&mut bytes)?;
    let mut basic = content(any(&mut bytes)?.value())?;
    let mut data = SliceReader::new(any(&mut basic)?.value())?;
    // ResponseData: an optional version [0], the responder [1] or [2], the time, the certificates' responses.
    if any(&mut data)?.tag() == context(0) {
        any(&mut data)?;
    }
    any(&mut data)?;
    let mut singles = SliceReader::new(any(&mut data)?.value())?;
    let mut ends = Vec::new();
    while !singles.is_finished() {
        let mut single = SliceReader::new(any(&mut singles)?.value())?;
        // The certificate, its status, its time.
        for _ in 0..3 {
            any(&mut single)?;
        }
        while !single.is_finished() {
            let field = any(&mut single)?;
            if field.tag() == context(0) {
                let end = GeneralizedTime::from_der(field.value())?;
                ends.push(end.to_system_time());
            }
        }
    }
    Ok(ends)
}

fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

fn any<'a>(reader: &mut SliceReader<'a>) -> der::Result<AnyRef<'a>> {
    AnyRef::decode(reader)
}

fn content(bytes: &[u8]) -> der::Result<SliceReader<'_>> {
    SliceReader::new(AnyRef::from_der(bytes)?.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = content.len();
        let mut out = vec![tag];
        if length >= 128 {
            out.push(0x81);
        }
        out.push(u8::try_from(length).expect("small"));
        out.extend(content);
        out
    }

    fn single(end: Option<&str>) -> Vec<u8> {
        let id = tlv(0x30, &[&tlv(0x02, &[&[7]])]);
        let end = end.map(|end| tlv(0xa0, &[&tlv(0x18, &[end.as_bytes()])])).unwrap_or_default();
        tlv(0x30, &[&id, &[0x80, 0x00], &tlv(0x18, &[b"20260101000000Z"]), &end])
    }

    fn staple(singles: &[Vec<u8>], version: bool) -> Vec<u8> {
        let singles: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
        let version = if version { tlv(0xa0, &[&tlv(0x02, &[&[0]])]) } else { Vec::new() };
        let responder = tlv(0xa2, &[&tlv(0x04, &[&[9; 20]])]);
        let produced = tlv(0x18, &[b"20260101000000Z"]);
        let data = tlv(0x30, &[&version, &responder, &produced, &tlv(0x30, &singles)]);
        let basic = tlv(0x30, &[&data, &tlv(0x30, &[&tlv(0x06, &[&[42, 3]])]), &tlv(0x03, &[&[0, 1]])]);
        let kind = tlv(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]]);
        let bytes = tlv(0xa0, &[&tlv(0x30, &[&kind, &tlv(0x04, &[&basic])])]);
        tlv(0x30, &[&[0x0a, 0x01, 0x00], &bytes])
    }

    #[test]
    fn the_earliest_end_counts() {
        let end = UNIX_EPOCH + Duration::from_secs(1_767_312_000); // 2026-01-02
        let second = Duration::from_secs(1);
        for version in [false, true] {
            let staple = staple(&[single(Some("20260103000000Z")), single(Some("20260102000000Z"))], version);
            assert_eq!(expired(&staple, end - second), None);
            assert_eq!(expired(&staple, end), Some(end));
        }
    }

    #[test]
    fn an_answer_without_an_end_or_without_sense_has_none() {
        let late = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        assert_eq!(expired(&staple(&[single(None)], false), late), None);
        for nonsense in [&b""[..], b"0", &[0x30, 0x03, 0x0a, 0x01, 0x00], &[0xff; 40]] {
            assert_eq!(expired(nonsense, late), None);
        }
        let whole = staple(&[single(Some("20260102000000Z"))], true);
        for cut in 0..whole.len() {
            assert_eq!(expired(&whole[..cut], late), None, "{cut}");
        }
    }
}
