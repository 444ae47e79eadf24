use super::*;

const CLIENT: Frames = Frames { masked: true, at: BETWEEN };
const ENDPOINT: Frames = Frames { masked: false, at: BETWEEN };

fn frame(first: u8, length: usize, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match length {
        0..126 => frame.push(bit | length as u8),
        126..0x1_0000 => {
            frame.push(bit | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(bit | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend([1, 2, 3, 4]);
    }
    // Inside a payload it only looks like a close frame.
    frame.extend(std::iter::repeat_n([0x88, 0x00], length).flatten().take(length));
    frame
}

fn after(mut frames: Frames, pieces: &[&[u8]]) -> Frames {
    pieces.iter().for_each(|piece| frames.pass(piece));
    frames
}

#[test]
fn a_frame_of_every_length_ends_where_it_says_wherever_it_is_cut() {
    for masked in [false, true] {
        let begun = if masked { CLIENT } else { ENDPOINT };
        for length in [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537, 70000] {
            let frame = frame(0x82, length, masked);
            let header = frame.len() - length;
            let cuts = (1..frame.len()).filter(|cut| length < 300 || *cut < 32 || frame.len() - cut < 32);
            for cut in cuts {
                let (first, second) = frame.split_at(cut);
                let half = after(begun, &[first]);
                assert!(!half.is_between() && !half.is_lost() && !half.is_closed(), "{length} cut at {cut}");
                assert_eq!(half.rest(second), second.len(), "{length} cut at {cut}");
                assert_eq!(half.rest(&[second, &[0x81, 0x80, 0][..]].concat()), second.len(), "{length} cut at {cut}");
                assert!(after(half, &[second]).is_between(), "{length} cut at {cut}");
            }
            assert!(after(begun, &[&frame]).is_between());
            if length < 300 {
                let bytes: Vec<&[u8]> = frame.chunks(1).collect();
                assert!(after(begun, &bytes).is_between());
                assert!(after(begun, &bytes[..bytes.len() - 1]).rest(&[0]) == 1);
            }
            assert!(header >= 2);
        }
    }
}

#[test]
fn between_frames_nothing_belongs_to_one() {
    assert_eq!(CLIENT.rest(&frame(0x81, 5, true)), 0);
    let one = after(CLIENT, &[&frame(0x81, 5, true)]);
    assert_eq!(one.rest(&frame(0x81, 5, true)), 0);
}

#[test]
fn there_is_room_between_fragments_and_around_control_frames_in_between() {
    // Text without FIN, a ping, a continuation, a pong, the last fragment; the first two are compressed.
    let message = [(0x41, 300), (0x89, 125), (0x00, 70000), (0x8a, 0), (0x80, 1)];
    let mut frames = CLIENT;
    let mut rest: Vec<u8> = message.iter().flat_map(|(first, length)| frame(*first, *length, true)).collect();
    for (first, length) in message {
        assert!(frames.is_between());
        let whole = frame(first, length, true).len();
        frames.pass(&rest[..1]);
        assert_eq!(1 + frames.rest(&rest[1..]), whole, "{first:x}");
        frames.pass(&rest[1..whole]);
        rest.drain(..whole);
    }
    assert!(frames.is_between() && !frames.is_closed());
}

#[test]
fn a_close_frame_is_seen_when_it_is_there_as_a_whole() {
    for length in [0, 2, 17, 125] {
        let close = frame(0x88, length, false);
        for cut in 0..close.len() {
            assert!(!after(ENDPOINT, &[&frame(0x01, 3, false), &close[..cut]]).is_closed(), "{length} cut at {cut}");
        }
        let closed = after(ENDPOINT, &[&frame(0x01, 3, false), &close, &frame(0x81, 9, false)]);
        assert!(closed.is_closed() && !closed.is_between() && !closed.is_lost(), "what follows it is nothing");
    }
}

#[test]
fn a_violation_of_the_framing_is_not_forgotten() {
    let long = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
    for (begun, bytes, why) in [
        (CLIENT, frame(0x81, 5, false), "not masked"),
        (ENDPOINT, frame(0x81, 5, true), "masked"),
        (ENDPOINT, vec![0x82, 126, 0, 125], "longer than it has to be"),
        (ENDPOINT, long(0xffff), "longer than it has to be"),
        (ENDPOINT, long(1 << 63), "a negative number"),
        (ENDPOINT, long(u64::MAX), "a negative number"),
        (ENDPOINT, vec![0x89, 126, 0, 126], "a control frame that is too long"),
        (ENDPOINT, vec![0x08, 0], "a control frame in fragments"),
        (ENDPOINT, vec![0x09, 2], "a control frame in fragments"),
        (CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "no WebSocket at all"),
    ] {
        let lost = after(begun, &[&bytes]);
        assert!(lost.is_lost(), "{why}");
        let lost = after(lost, &[&frame(0x88, 0, false), &frame(0x81, 5, true)]);
        assert!(lost.is_lost() && !lost.is_between() && !lost.is_closed(), "{why}");
        assert_eq!(lost.rest(b"anything"), 8);
    }
    assert!(!after(ENDPOINT, &[&long(i64::MAX as u64)]).is_lost());
    assert!(after(ENDPOINT, &[&long(1 << 16)]).rest(&[0; 100]) == 100);
}

#[test]
fn a_close_frame_of_ours_is_one() {
    let plain = close_frame(1012, "service restart", None);
    assert_eq!(plain, b"\x88\x11\x03\xf4service restart");
    assert!(after(ENDPOINT, &[&plain]).is_closed());
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let masked = close_frame(1012, "service restart", Some(mask));
    assert!(after(CLIENT, &[&masked]).is_closed());
    assert_eq!(masked[..6], [&[0x88, 0x91][..], &mask].concat());
    let unmasked: Vec<u8> = masked[6..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(unmasked, plain[2..]);
}
