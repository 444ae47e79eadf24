//! Round trips of an upload over a long line, counted in a model with steps instead of time.

use std::collections::VecDeque;

use super::*;

const MIB: usize = 1 << 20;
const STEPS: usize = 32;

/// A line of `rate` bytes in each step, with all of its delay towards the proxy.
struct LongLine {
    connection: Connection,
    rate: usize,
    way: VecDeque<Vec<u8>>,
    of_connection: i64,
}

struct Upload {
    stream: ServerStream,
    id: u32,
    left: usize,
    window: i64,
    came: usize,
}

impl LongLine {
    fn new(rate: usize) -> LongLine {
        let mut way = VecDeque::new();
        way.resize(STEPS, Vec::new());
        LongLine { connection: Connection::begun(), rate, way, of_connection: FIRST_CONNECTION_WINDOW.into() }
    }

    fn upload(&mut self, id: u32, length: usize) -> Upload {
        let head = hpack_with_length(length);
        let stream = self.connection.begin(&frame(kind::HEADERS, flag::END_HEADERS, id, &head));
        Upload { stream, id, left: length, window: STREAM_WINDOW.into(), came: 0 }
    }

    /// Delivers what was sent a round trip ago, lets endpoints read, and sends what the windows allow.
    fn step(&mut self, uploads: &mut [&mut Upload]) {
        let arrived = self.way.pop_front().expect("a step");
        assert!(self.connection.read(&arrived).is_empty());
        for upload in &mut *uploads {
            while let Poll::Ready(Ok(Piece::Data(data))) = upload.stream.poll_body() {
                let n = data.len();
                upload.came += n;
                upload.stream.consume(n);
            }
        }
        let mut sent = Vec::new();
        for (head, payload) in self.connection.written() {
            match head.kind {
                kind::PING => sent.extend(frame(kind::PING, flag::ACK, 0, &payload)),
                kind::WINDOW_UPDATE => {
                    let more = i64::from(u32::from_be_bytes(*payload.last_chunk().expect("a number")));
                    match uploads.iter_mut().find(|upload| upload.id == head.stream) {
                        Some(upload) => upload.window += more,
                        None => self.of_connection += more,
                    }
                }
                _ => panic!("{head:?}"),
            }
        }
        let mut room = self.rate;
        for upload in uploads {
            loop {
                let may = upload.window.min(self.of_connection).max(0) as usize;
                let n = upload.left.min(may).min(room).min(PIECE);
                if n == 0 {
                    break;
                }
                let ends = if n == upload.left { flag::END_STREAM } else { 0 };
                sent.extend(frame(kind::DATA, ends, upload.id, &vec![0; n]));
                (upload.left, room) = (upload.left - n, room - n);
                upload.window -= n as i64;
                self.of_connection -= n as i64;
            }
        }
        self.way.push_back(sent);
    }
}

fn hpack_with_length(length: usize) -> Vec<u8> {
    let length = length.to_string();
    [POST, &[0x0f, 28 - 15, length.len() as u8], length.as_bytes()].concat()
}

/// Steps of a 64 MiB upload over a line with this bandwidth-delay product, in bytes.
fn steps(product: usize) -> usize {
    const LENGTH: usize = 64 * MIB;
    let mut line = LongLine::new(product / STEPS);
    let mut upload = line.upload(1, LENGTH);
    let mut steps = 0;
    while upload.came < LENGTH {
        line.step(&mut [&mut upload]);
        steps += 1;
        assert!(steps < 10_000, "it has stopped at {}", upload.came);
    }
    steps
}

#[test]
fn a_large_upload_fills_a_long_line() {
    for mib in 1..=12 {
        // Baseline: HTTP/1.1 over TCP, whose window ends at 6 MiB by default and is fully open from the start here.
        let least = 64 * MIB / (mib.min(6) * MIB / STEPS) + STEPS;
        let taken = steps(mib * MIB);
        assert!(taken <= least + 2 * STEPS, "{mib} MiB under way: {taken} steps, at least {least}");
    }
}

#[test]
fn two_large_uploads_share_what_there_is_and_a_third_goes_on() {
    let mut line = LongLine::new(6 * MIB / STEPS);
    let [mut first, mut second] = [1, 3].map(|id| line.upload(id, 64 * MIB));
    (0..8 * STEPS).for_each(|_| line.step(&mut [&mut first, &mut second]));
    assert!(first.came.min(second.came) > 4 * MIB, "{} and {}", first.came, second.came);
    let mut third = line.upload(5, MIB);
    let mut steps = 0;
    while third.came < MIB {
        line.step(&mut [&mut third, &mut first, &mut second]);
        steps += 1;
        assert!(steps < 20 * STEPS, "{} came", third.came);
    }
}
