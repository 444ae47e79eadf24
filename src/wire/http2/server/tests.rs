use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::*;
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::Piece;
use crate::wire::http2::frame::FrameHead;
use crate::wire::http2::server::stream::ServerStream;

/// `GET /`, authority `a`.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, GET)
}

fn post(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream, POST)
}

const SETTINGS: Settings = Settings { max_head: 64 << 10, max_streams: PLACES };

struct Connection {
    core: Rc<RefCell<Core>>,
    head: Head,
}

impl Connection {
    fn begun() -> Connection {
        Connection::with(SETTINGS)
    }

    fn with(settings: Settings) -> Connection {
        let core = Core::new(settings, Instant::now());
        let mut connection = Connection { core: Rc::new(RefCell::new(core)), head: Head::default() };
        assert!(connection.read(PREFACE).is_empty());
        assert!(connection.read(&frame(kind::SETTINGS, 0, 0, &[])).is_empty());
        let kinds: Vec<u8> = connection.written().iter().map(|(frame, _)| frame.kind).collect();
        assert_eq!(kinds, [kind::SETTINGS, kind::WINDOW_UPDATE, kind::SETTINGS]);
        connection
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<usize> {
        let (mut began, mut at) = (Vec::new(), 0);
        loop {
            let (used, event) = self.core.borrow_mut().read(&bytes[at..], &mut self.head);
            at += used;
            match event {
                Received::Request(place) => began.push(place),
                Received::More | Received::Over => return began,
            }
        }
    }

    fn begin(&mut self, bytes: &[u8]) -> ServerStream {
        let began = self.read(bytes);
        assert_eq!(began.len(), 1, "{:?}", self.written());
        ServerStream::new(Rc::clone(&self.core), began[0])
    }

    fn written(&mut self) -> Vec<(FrameHead, Vec<u8>)> {
        let mut core = self.core.borrow_mut();
        let bytes = core.output.bytes().to_vec();
        if !bytes.is_empty() {
            core.output.written(bytes.len());
        }
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some(frame) = FrameHead::read(&bytes[at..]) {
            at += frame::HEAD;
            frames.push((frame, bytes[at..at + frame.length].to_vec()));
            at += frame.length;
        }
        assert_eq!(at, bytes.len());
        frames
    }

    /// Written since the last call, without SETTINGS and WINDOW_UPDATE: kind, flags, stream, last four bytes as a
    /// number.
    fn said(&mut self) -> Vec<(u8, u8, u32, u32)> {
        let number = |payload: &[u8]| payload.last_chunk().map_or(0, |last| u32::from_be_bytes(*last));
        self.written().iter().map(|(frame, payload)| (frame.kind, frame.flags, frame.stream, number(payload))).collect()
    }
}

fn ok() -> Head {
    let mut head = Head::default();
    head.set_status_line(200, b"OK");
    head
}

fn taken(stream: &mut ServerStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Poll::Ready(Ok(Piece::Data(data))) = stream.poll_body() {
        let n = data.len();
        all.extend_from_slice(data);
        stream.consume(n);
    }
    all
}

#[test]
fn answers_to_many_streams_are_one_write() {
    let mut connection = Connection::begun();
    let began = connection.read(&[get(1), get(3), get(5)].concat());
    assert_eq!(began, [0, 1, 2]);
    for place in began {
        let mut stream = ServerStream::new(Rc::clone(&connection.core), place);
        assert!(stream.is_read());
        stream.begin_answer(&ok(), Framing::Length(2));
        assert!(matches!(stream.poll_send(b"ok"), Poll::Ready(Ok(2))));
        stream.finish(&Head::default());
    }
    let said: Vec<(u8, u8, u32)> = connection.said().iter().map(|(kind, flags, id, _)| (*kind, *flags, *id)).collect();
    let answer = |id| [(kind::HEADERS, flag::END_HEADERS, id), (kind::DATA, flag::END_STREAM, id)];
    assert_eq!(said, [answer(1), answer(3), answer(5)].concat());
    assert_eq!(connection.read(&get(7)), [0]);
}

#[test]
fn frames_may_be_cut_anywhere() {
    let whole =
        [PREFACE.to_vec(), frame(kind::SETTINGS, 0, 0, &[]), post(1), frame(kind::DATA, 1, 1, b"hello")].concat();
    for piece in 1..whole.len() {
        let mut core = Core::new(SETTINGS, Instant::now());
        let (mut head, mut input, mut began) = (Head::default(), Vec::new(), 0);
        for bytes in whole.chunks(piece) {
            input.extend_from_slice(bytes);
            loop {
                let (used, event) = core.read(&input, &mut head);
                input.drain(..used);
                match event {
                    Received::Request(0) => began += 1,
                    Received::More => break,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((began, &core.streams[0].incoming[..], core.streams[0].received), (1, &b"hello"[..], true));
    }
}

#[test]
fn a_body_and_its_trailers_come_in_order_and_make_room_when_they_are_used() {
    let mut connection = Connection::begun();
    let mut stream = connection.begin(&post(1));
    connection.read(&frame(kind::DATA, 0, 1, &[7; 4 << 10]).repeat(8));
    assert_eq!(connection.said(), [], "nothing was used");
    assert_eq!(taken(&mut stream).len(), 32 << 10);
    assert_eq!(connection.said(), [(kind::WINDOW_UPDATE, 0, 1, 32 << 10)]);
    assert!(stream.poll_body().is_pending());
    connection.read(&frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &[0, 1, b'x', 1, b'y']));
    assert!(matches!(stream.poll_body(), Poll::Ready(Ok(Piece::End))));
    assert_eq!(stream.trailers().named(b"x"), Some(&b"y"[..]));
}

#[test]
fn more_than_a_window_is_no_body() {
    let mut connection = Connection::begun();
    let fields = [POST, &[0x0f, 13, 5], b"65537"].concat();
    let _stream = connection.begin(&frame(kind::HEADERS, flag::END_HEADERS, 1, &fields));
    connection.read(&frame(kind::DATA, 0, 1, &[7; 4 << 10]).repeat(16));
    assert_eq!(connection.said(), []);
    connection.read(&frame(kind::DATA, 0, 1, b"x"));
    assert_eq!(connection.said(), [(kind::RST_STREAM, 0, 1, Code::FlowControl as u32)]);
}

#[test]
fn an_answer_waits_for_the_window_of_its_stream_and_of_the_connection() {
    let mut connection = Connection::begun();
    let (mut one, mut other) = (connection.begin(&get(1)), connection.begin(&get(3)));
    let data = vec![1; 100_000];
    let send = |stream: &mut ServerStream, connection: &mut Connection| {
        let mut sent = 0;
        while let Poll::Ready(n) = stream.poll_send(&data[sent..]) {
            sent += n.expect("it is open");
            connection.written();
        }
        sent
    };
    for stream in [&mut one, &mut other] {
        stream.begin_answer(&ok(), Framing::UntilEnd);
    }
    connection.core.borrow_mut().take_woken();
    assert_eq!(send(&mut one, &mut connection), 65_535);
    assert_eq!(send(&mut other, &mut connection), 0, "one has used the connection's");
    connection.read(&frame(kind::WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes()));
    assert_eq!(send(&mut one, &mut connection), 0);
    connection.core.borrow_mut().take_woken();
    connection.read(&frame(kind::WINDOW_UPDATE, 0, 0, &3000_u32.to_be_bytes()));
    assert_eq!(connection.core.borrow_mut().take_woken().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(send(&mut one, &mut connection), 1000);
    assert_eq!(send(&mut other, &mut connection), 2000);
    // A reduced window may be negative, and has to be opened again first.
    connection.read(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    connection.read(&frame(kind::WINDOW_UPDATE, 0, 0, &100_000_u32.to_be_bytes()));
    connection.read(&frame(kind::WINDOW_UPDATE, 0, 3, &2000_u32.to_be_bytes()));
    assert_eq!(send(&mut other, &mut connection), 0);
    connection.read(&frame(kind::WINDOW_UPDATE, 0, 3, &1_u32.to_be_bytes()));
    assert_eq!(send(&mut other, &mut connection), 1);
}

#[test]
fn what_waits_for_a_client_that_does_not_read_is_bounded() {
    let mut connection = Connection::begun();
    let settings = frame(kind::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    connection.read(&[settings, frame(kind::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())].concat());
    let mut streams: Vec<ServerStream> = (0..20).map(|nth| connection.begin(&get(2 * nth + 1))).collect();
    let data = vec![1; 100_000];
    for stream in &mut streams {
        stream.begin_answer(&ok(), Framing::UntilEnd);
        while stream.poll_send(&data).is_ready() {}
    }
    let waiting = connection.core.borrow().output.bytes().len();
    assert!((WAITING..WAITING + PIECE + 1000).contains(&waiting), "{waiting}");
    assert!(connection.core.borrow().is_stalled());
    connection.core.borrow_mut().take_woken();
    connection.written();
    assert!(connection.core.borrow_mut().wake_for_room());
    assert_eq!(connection.core.borrow_mut().take_woken().count(), 20);
    assert!(!connection.core.borrow_mut().wake_for_room(), "each is told once");
}

#[test]
fn a_stream_that_is_given_up_tells_the_other_end_why() {
    let mut connection = Connection::begun();
    let mut stream = connection.begin(&get(1));
    stream.begin_answer(&ok(), Framing::Length(10));
    connection.written();
    drop(stream);
    assert_eq!(connection.said(), [(kind::RST_STREAM, 0, 1, Code::Internal as u32)]);
    let mut stream = connection.begin(&post(3));
    stream.begin_answer(&ok(), Framing::None);
    connection.written();
    drop(stream);
    assert_eq!(connection.said(), [(kind::RST_STREAM, 0, 3, Code::NoError as u32)]);
    connection.read(&frame(kind::DATA, 0, 3, b"late"));
    assert_eq!((connection.said(), connection.core.borrow().account.uploads()), (vec![], 0));
    let mut stream = connection.begin(&post(5));
    connection.read(&[frame(kind::DATA, 0, 5, b"x"), frame(kind::RST_STREAM, 0, 5, &[0; 4])].concat());
    assert!(stream.poll_left().is_ready() && matches!(stream.poll_body(), Poll::Ready(Err(_))));
    stream.begin_answer(&ok(), Framing::None);
    drop(stream);
    assert_eq!(connection.said(), []);
}

#[test]
fn the_length_that_was_told_is_the_length_that_comes() {
    for (length, data, ends, fits) in [
        ("5", "hello", true, true),
        ("5", "hell", true, false),
        ("5", "hello!", false, false),
        ("5", "hell", false, true),
    ] {
        let mut connection = Connection::begun();
        let fields = [POST, &[0x0f, 13, 1], length.as_bytes()].concat();
        let stream = connection.begin(&frame(kind::HEADERS, flag::END_HEADERS, 1, &fields));
        connection.read(&frame(kind::DATA, u8::from(ends), 1, data.as_bytes()));
        let wanted = if fits { vec![] } else { vec![(kind::RST_STREAM, 0, 1, Code::Protocol as u32)] };
        assert_eq!(connection.said(), wanted, "{data}");
        drop(stream);
    }
}

#[test]
fn a_head_that_is_larger_than_a_frame_is_cut() {
    let mut connection = Connection::begun();
    let mut stream = connection.begin(&get(1));
    let mut head = ok();
    for _ in 0..5 {
        head.push(b"x", &[b'y'; 10_000]);
    }
    stream.begin_answer(&head, Framing::None);
    let written = connection.written();
    let heads: Vec<(u8, u8)> = written.iter().map(|(frame, _)| (frame.kind, frame.flags)).collect();
    let (first, middle) = ((kind::HEADERS, flag::END_STREAM), (kind::CONTINUATION, 0));
    assert_eq!(heads, [first, middle, middle, (kind::CONTINUATION, flag::END_HEADERS)]);
    let block: Vec<u8> = written.into_iter().flat_map(|(_, payload)| payload).collect();
    let mut fields = 0;
    hpack::Decoder::new().decode(&block, |_, _| fields += 1).expect("a block");
    assert_eq!(fields, 6);
}

#[test]
fn a_client_without_a_table_is_told_that_none_is_used() {
    let mut connection = Connection::begun();
    connection.read(&frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]));
    connection.written();
    for (id, first) in [(1, 0x20), (3, 0x88)] {
        connection.begin(&get(id)).begin_answer(&ok(), Framing::None);
        assert_eq!(connection.written()[0].1[0], first);
    }
}

#[test]
fn a_connection_that_leaves_finishes_what_the_client_began_before_it_knew() {
    let mut connection = Connection::begun();
    let mut stream = connection.begin(&get(1));
    connection.core.borrow_mut().leave();
    let said = connection.said();
    assert_eq!(said[0], (kind::GOAWAY, 0, 0, 0));
    let late = connection.begin(&get(3));
    connection.read(&frame(kind::PING, flag::ACK, 0, FAREWELL));
    assert_eq!(connection.written()[0].1, [0, 0, 0, 3, 0, 0, 0, 0]);
    assert!(connection.read(&[get(5), post(7), frame(kind::DATA, 1, 7, b"x")].concat()).is_empty());
    assert_eq!(connection.said(), []);
    assert!(!connection.core.borrow().is_finished());
    stream.begin_answer(&ok(), Framing::None);
    drop((stream, late));
    assert!(connection.core.borrow().is_finished());
}

#[test]
fn who_breaks_the_rules_of_the_connection_is_told_which() {
    let rows = [
        (Code::Protocol, get(2)),
        (Code::Protocol, get(0)),
        (Code::Protocol, frame(kind::DATA, 0, 1, b"x")),
        (Code::Protocol, frame(kind::RST_STREAM, 0, 1, &[0; 4])),
        (Code::Protocol, frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        (Code::Protocol, frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        (Code::Protocol, frame(kind::SETTINGS, 0, 1, &[])),
        (Code::Protocol, frame(kind::PING, 0, 1, &[0; 8])),
        (Code::Protocol, frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0; 4])),
        (Code::Protocol, frame(kind::CONTINUATION, flag::END_HEADERS, 1, GET)),
        (Code::Protocol, [get(5), get(3)].concat()),
        (Code::Protocol, frame(kind::HEADERS, flag::END_HEADERS | flag::PADDED, 1, &[9, 0x82])),
        (Code::Protocol, frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        (Code::Protocol, frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        (Code::FlowControl, frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        (Code::FlowControl, frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        (Code::FrameSize, frame(kind::SETTINGS, flag::ACK, 0, &[0; 6])),
        (Code::FrameSize, frame(kind::SETTINGS, 0, 0, &[0; 5])),
        (Code::FrameSize, frame(kind::PING, 0, 0, &[0; 7])),
        (Code::FrameSize, frame(kind::RST_STREAM, 0, 1, &[0; 3])),
        (Code::FrameSize, frame(kind::PRIORITY, 0, 1, &[0; 4])),
        (Code::FrameSize, vec![0, 0x40, 1, kind::DATA, 0, 0, 0, 0, 1]),
        (Code::Compression, frame(kind::HEADERS, flag::END_HEADERS, 1, &[0x80])),
        (Code::EnhanceYourCalm, {
            let mut endless = frame(kind::HEADERS, 0, 1, GET);
            (0..100).for_each(|_| endless.extend(frame(kind::CONTINUATION, 0, 1, &[])));
            endless
        }),
        (Code::EnhanceYourCalm, {
            let mut endless = frame(kind::HEADERS, 0, 1, GET);
            (0..10).for_each(|_| endless.extend(frame(kind::CONTINUATION, 0, 1, &[0; 16 << 10])));
            endless
        }),
    ];
    for (code, bytes) in rows {
        let mut connection = Connection::begun();
        connection.read(&bytes);
        let last = connection.said().pop();
        assert!(matches!(last, Some((kind::GOAWAY, 0, 0, said)) if said == code as u32), "{bytes:x?}: {last:?}");
        assert!(connection.core.borrow().is_over());
        connection.read(&frame(kind::PING, 0, 0, &[0; 8]));
        assert_eq!(connection.said(), [], "nothing more is looked at");
    }
    let mut core = Core::new(SETTINGS, Instant::now());
    core.output.written(core.output.bytes().len());
    assert_eq!(core.read(b"GET / HTTP/1.1\r\n", &mut Head::default()), (0, Received::Over));
}

#[test]
fn who_breaks_the_rules_of_a_stream_loses_that_stream() {
    let zero = frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4]);
    let rows = [
        (Code::StreamClosed, [get(1), frame(kind::DATA, 0, 1, b"x")].concat()),
        (Code::StreamClosed, [get(1), frame(kind::HEADERS, 5, 1, &[])].concat()),
        (Code::Protocol, [get(1), zero].concat()),
        (Code::FlowControl, [get(1), frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat()),
        (Code::Protocol, [post(1), frame(kind::HEADERS, flag::END_HEADERS, 1, &[])].concat()),
        (Code::Protocol, [post(1), frame(kind::HEADERS, 5, 1, &[0x84])].concat()),
        (Code::Protocol, frame(kind::HEADERS, 5, 1, &[0x82])),
        (Code::StreamClosed, [post(1), frame(kind::RST_STREAM, 0, 1, &[0; 4]), frame(kind::DATA, 0, 1, b"x")].concat()),
    ];
    for (code, bytes) in rows {
        let mut connection = Connection::begun();
        connection.read(&bytes);
        assert_eq!(connection.said(), [(kind::RST_STREAM, 0, 1, code as u32)], "{bytes:x?}");
        assert_eq!(connection.read(&get(3)).len(), 1, "the others go on");
    }
}

#[test]
fn there_are_no_more_streams_than_was_said() {
    let mut connection = Connection::with(Settings { max_streams: 100, ..SETTINGS });
    let mut id = 1;
    for _ in 0..100 {
        assert_eq!(connection.read(&get(id)).len(), 1);
        id += 2;
    }
    assert!(connection.read(&get(id)).is_empty());
    assert_eq!(connection.said(), [(kind::RST_STREAM, 0, id, Code::RefusedStream as u32)]);
    connection.read(&frame(kind::RST_STREAM, 0, 1, &[0; 4]));
    assert!(connection.read(&get(id + 2)).is_empty());
    drop(ServerStream::new(Rc::clone(&connection.core), 0));
    assert_eq!(connection.read(&get(id + 4)), [0]);
}

#[test]
fn frames_that_bring_nothing_on_are_counted() {
    let mut connection = Connection::begun();
    let patience = |connection: &Connection| connection.core.borrow().limits.patience();
    let before = patience(&connection);
    let useless = [
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(kind::SETTINGS, 0, 0, &[]),
        frame(kind::PRIORITY, 0, 1, &[0; 5]),
        frame(0xee, 0, 0, &[]),
        frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    ];
    connection.read(&useless.concat());
    assert_eq!(before - patience(&connection), 5);
    let _stream = connection.begin(&post(1));
    let before = patience(&connection);
    connection.read(&frame(kind::DATA, 0, 1, &[]).repeat(5));
    assert_eq!(before - patience(&connection), 5);
    connection.read(&frame(kind::PING, 0, 0, &[0; 8]).repeat(9000));
    assert_eq!(connection.core.borrow().flood(), None);
    connection.read(&frame(kind::PING, 0, 0, &[0; 8]).repeat(2000));
    assert_eq!(connection.core.borrow().flood(), Some(Flood::Useless));
    assert_eq!(connection.said().pop(), Some((kind::GOAWAY, 0, 0, Code::EnhanceYourCalm as u32)));
}

#[test]
fn nothing_interim_is_written_behind_the_head_of_the_final_answer() {
    let mut connection = Connection::begun();
    let mut interim = Head::default();
    interim.set_status_line(103, b"");
    let mut stream = connection.begin(&get(1));
    assert!(stream.interim(&interim) && stream.takes_interim());
    stream.begin_answer(&ok(), Framing::Length(2));
    assert!(!stream.interim(&interim) && !stream.takes_interim());
    assert!(stream.poll_send(b"o").is_ready());
    assert!(!stream.interim(&interim), "within the body");
    assert!(stream.poll_send(b"k").is_ready());
    stream.finish(&Head::default());
    assert!(!stream.interim(&interim), "behind the body");
    let kinds: Vec<u8> = connection.written().iter().map(|(frame, _)| frame.kind).collect();
    assert_eq!(kinds, [kind::HEADERS, kind::HEADERS, kind::DATA, kind::DATA]);
}

#[path = "tests/bounds.rs"]
mod bounds;
mod uploads;
