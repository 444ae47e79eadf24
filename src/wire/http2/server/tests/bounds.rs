//! Bounds on what one client can make a connection hold, do and end.

use super::*;

/// `GET /` that leaves the table as it is, with the newest table entry as a field.
const AGAIN: [u8; 7] = [0x82, 0x86, 0x84, 0x01, 1, b'a', 0x80 | 62];

fn into_table(name: u8, value: &[u8]) -> Vec<u8> {
    let mut block = vec![0x40, 1, name, 0x7f];
    let mut length = value.len() - 127;
    while length >= 128 {
        block.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    block.push(length as u8);
    block.extend_from_slice(value);
    block
}

fn opened(frames: &[(u8, u8, u32, u32)], stream: u32) -> u32 {
    frames.iter().filter(|(kind, _, id, _)| (*kind, *id) == (kind::WINDOW_UPDATE, stream)).map(|frame| frame.3).sum()
}

#[test]
fn padding_is_given_back_to_both_windows() {
    let mut connection = Connection::begun();
    let mut stream = connection.begin(&post(1));
    let mut padded = vec![255, b'x'];
    padded.resize(257, 0);
    let padded = frame(kind::DATA, flag::PADDED, 1, &padded);
    let (mut of_stream, mut of_connection) = (STREAM_WINDOW, FIRST_CONNECTION_WINDOW);
    for nth in 0..5000 {
        assert!(of_stream >= 257 && of_connection >= 257, "it stalls at frame {nth}");
        (of_stream, of_connection) = (of_stream - 257, of_connection - 257);
        connection.read(&padded);
        assert_eq!(taken(&mut stream), b"x");
        let said = connection.said();
        assert!(said.iter().all(|frame| matches!(frame.0, kind::WINDOW_UPDATE | kind::PING)), "{said:?}");
        of_stream += opened(&said, 1);
        of_connection += opened(&said, 0);
    }
}

#[test]
fn resets_are_a_rate_and_only_those_of_the_client_count() {
    let mut connection = Connection::begun();
    let start = Instant::now();
    let mut id = 1;
    let mut cancel = |connection: &mut Connection| {
        let stream = connection.begin(&get(id));
        connection.read(&frame(kind::RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        drop(stream);
        id += 2;
    };
    // Ten cancelled calls each hour, for weeks.
    for nth in 0..10_000 {
        connection.core.borrow_mut().tick(start + Duration::from_secs(360 * nth));
        cancel(&mut connection);
    }
    assert!(!connection.core.borrow().is_over());
    let now = start + Duration::from_secs(360 * 10_000);
    connection.core.borrow_mut().tick(now);
    (0..1000).for_each(|_| cancel(&mut connection));
    assert!(!connection.core.borrow().is_over());
    let _stream = connection.begin(&get(100_001));
    connection.read(&frame(kind::RST_STREAM, 0, 100_001, &8_u32.to_be_bytes()));
    assert_eq!(connection.core.borrow().flood(), Some(Flood::Resets));
    assert_eq!(connection.said().pop(), Some((kind::GOAWAY, 0, 0, Code::EnhanceYourCalm as u32)));

    let mut connection = Connection::begun();
    for nth in 0..5000 {
        // The endpoint fails, so the reset is ours.
        let mut stream = connection.begin(&get(2 * nth + 1));
        stream.begin_answer(&ok(), Framing::Length(10));
        drop(stream);
        connection.written();
    }
    assert_eq!(connection.core.borrow().flood(), None);
}

#[test]
fn heads_that_are_too_large_are_useless_work_and_no_resets() {
    let mut connection = Connection::with(Settings { max_head: 300, max_streams: 100 });
    let block = [POST, &into_table(b'x', &[b'y'; 300])].concat();
    for nth in 0..900 {
        connection.read(&frame(kind::HEADERS, flag::END_HEADERS, 2 * nth + 1, &block));
        let said = connection.said();
        assert_eq!((said[0].0, said[1].0, said[1].3), (kind::HEADERS, kind::RST_STREAM, Code::NoError as u32));
    }
    let refused = connection.core.borrow_mut().take_refused();
    assert_eq!(refused, Refused { too_large: 900, ..Refused::default() });
    assert_eq!(connection.core.borrow().flood(), None);
    for nth in 900..1100 {
        connection.read(&frame(kind::HEADERS, flag::END_HEADERS, 2 * nth + 1, &block));
    }
    assert_eq!(connection.core.borrow().flood(), Some(Flood::Useless));
}

#[test]
fn settings_cost_no_more_than_their_last_value() {
    let mut connection = Connection::begun();
    let streams: Vec<ServerStream> = (0..PLACES as u32).map(|nth| connection.begin(&get(2 * nth + 1))).collect();
    let entries: Vec<u8> =
        (0..2730).flat_map(|nth| [0, 4, 0, 0, 0, (nth % 2) as u8]).chain([0, 4, 0, 1, 0, 0]).collect();
    let before = connection.core.borrow().limits.patience();
    connection.core.borrow_mut().take_woken();
    connection.read(&frame(kind::SETTINGS, 0, 0, &entries[6..]));
    assert_eq!(connection.said(), [(kind::SETTINGS, flag::ACK, 0, 0)]);
    assert_eq!(connection.core.borrow().first_window, 65_536);
    assert!(connection.core.borrow().streams.iter().all(|stream| stream.send_window == 65_536));
    assert!(before - connection.core.borrow().limits.patience() > 80, "many entries cost more than few");
    drop(streams);
    let wrong = [[0, 4, 0x80, 0, 0, 0], [0, 4, 0, 0, 0, 1]].concat();
    connection.read(&frame(kind::SETTINGS, 0, 0, &wrong));
    assert_eq!(connection.said().pop(), Some((kind::GOAWAY, 0, 0, Code::FlowControl as u32)));
}

#[test]
fn the_windows_of_an_upload_follow_the_line() {
    let mut connection = Connection::begun();
    let mut stream = connection.begin(&post(1));
    let (mut of_stream, mut of_connection) = (STREAM_WINDOW, FIRST_CONNECTION_WINDOW);
    let mut ping: Option<Vec<u8>> = None;
    for _ in 0..12 {
        // One round trip: all that the windows allow is sent, then the updates arrive.
        let mut left = of_stream.min(of_connection);
        (of_stream, of_connection) = (of_stream - left, of_connection - left);
        if let Some(payload) = ping.take() {
            connection.read(&frame(kind::PING, flag::ACK, 0, &payload));
        }
        let mut written = Vec::new();
        while left > 0 {
            let n = left.min(16 << 10);
            connection.read(&frame(kind::DATA, 0, 1, &vec![0; n as usize]));
            taken(&mut stream);
            written.extend(connection.written());
            left -= n;
        }
        for (frame, payload) in written {
            let by = || u32::from_be_bytes(payload[..4].try_into().expect("a window"));
            match (frame.kind, frame.stream) {
                (kind::WINDOW_UPDATE, 0) => of_connection += by(),
                (kind::WINDOW_UPDATE, _) => of_stream += by(),
                (kind::PING, _) => ping = Some(payload),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(of_stream > 6 << 20, "{of_stream}");
    assert!((8 << 20..=10 << 20).contains(&of_connection), "{of_connection}");
    let core = Rc::clone(&connection.core);
    assert!(core.borrow().account.memory() >= 3 << 20);
    drop(stream);
    assert_eq!(core.borrow().account.memory(), 0);
}

#[test]
fn stalled_uploads_leave_the_window_of_the_connection_to_others() {
    let mut connection = Connection::begun();
    let mut of_connection = FIRST_CONNECTION_WINDOW;
    let mut stalled = Vec::new();
    for nth in 0..60 {
        let id = 2 * nth + 1;
        stalled.push(connection.begin(&post(id)));
        assert!(of_connection >= STREAM_WINDOW, "stream {nth} finds no window");
        of_connection -= STREAM_WINDOW;
        connection.read(&frame(kind::DATA, 0, id, &[0; 16 << 10]).repeat(4));
        let said = connection.said();
        assert_eq!(opened(&said, id), 0, "nobody reads it");
        of_connection += opened(&said, 0);
    }
    let mut stream = connection.begin(&post(999));
    for _ in 0..100 {
        assert!(of_connection >= 16 << 10);
        of_connection -= 16 << 10;
        connection.read(&frame(kind::DATA, 0, 999, &[0; 16 << 10]));
        taken(&mut stream);
        of_connection += opened(&connection.said(), 0);
    }
    let core = connection.core.borrow();
    assert!(core.account.uploads() as i64 + core.recv_window <= 12 << 20);
}

#[test]
fn many_large_uploads_share_the_budget_and_no_window_is_opened_by_nothing() {
    let mut connection = Connection::begun();
    let mut streams = Vec::new();
    for nth in 0..40 {
        let id = 2 * nth + 1;
        streams.push(connection.begin(&post(id)));
        let stream = streams.last_mut().expect("one");
        for _ in 0..8 {
            connection.read(&frame(kind::DATA, 0, id, &[0; 16 << 10]));
            taken(stream);
            let said = connection.said();
            let updates = said.iter().filter(|(kind, ..)| *kind == kind::WINDOW_UPDATE);
            assert!(updates.clone().all(|update| update.3 > 0), "{said:?}");
        }
    }
    assert!(connection.core.borrow().account.memory() <= (8 << 20) + 40 * STREAM_COST);
    drop(streams);
    assert_eq!(connection.core.borrow().account.memory(), 0);
}

#[test]
fn heads_that_unpack_to_much_memory_are_refused_beyond_two_mebibytes() {
    let mut connection = Connection::begun();
    let first = [GET, &into_table(b'x', &[b'y'; 3500])].concat();
    let mut streams = vec![connection.begin(&frame(kind::HEADERS, 5, 1, &first))];
    let block = [&AGAIN[..], &[0x80 | 62; 16]].concat();
    for nth in 1..100 {
        let began = connection.read(&frame(kind::HEADERS, 5, 2 * nth + 1, &block));
        streams.extend(began.into_iter().map(|place| ServerStream::new(Rc::clone(&connection.core), place)));
    }
    let held = connection.core.borrow().account.memory();
    assert!(held <= 2 << 20 && streams.len() > 20, "{held} bytes of {} streams", streams.len());
    let resets = connection.said();
    assert_eq!(resets.len(), 100 - streams.len());
    assert!(resets.iter().all(|frame| (frame.0, frame.3) == (kind::RST_STREAM, Code::RefusedStream as u32)));
    assert_eq!(connection.core.borrow_mut().take_refused().memory as usize, resets.len());
    streams.clear();
    assert_eq!(connection.core.borrow().account.memory(), 0);
    assert_eq!(connection.read(&frame(kind::HEADERS, 5, 1001, &block)).len(), 1);
}

#[test]
fn blocks_that_unpack_to_many_times_their_size_end_the_connection() {
    let mut connection = Connection::with(Settings { max_head: 8 << 10, max_streams: 100 });
    let first = [GET, &into_table(b'x', &[b'y'; 3500])].concat();
    drop(connection.begin(&frame(kind::HEADERS, 5, 1, &first)));
    let block = [&AGAIN[..], &[0x80 | 62; 10_000]].concat();
    connection.read(&frame(kind::HEADERS, 5, 3, &block));
    assert_eq!(connection.core.borrow().flood(), Some(Flood::Unpacked));
    // One field repeated over many requests is ordinary use of the table.
    let mut connection = Connection::begun();
    drop(connection.begin(&frame(kind::HEADERS, 5, 1, &first)));
    for nth in 1..10_000 {
        drop(connection.begin(&frame(kind::HEADERS, 5, 2 * nth + 1, &AGAIN)));
        connection.written();
    }
    assert_eq!(connection.core.borrow().flood(), None);
}

#[test]
fn responses_that_the_client_does_not_take_are_not_read_from_endpoints() {
    let mut connection = Connection::begun();
    let mut streams: Vec<ServerStream> = (0..100).map(|nth| connection.begin(&get(2 * nth + 1))).collect();
    let mut head = ok();
    head.push(b"x", &[b'y'; 200_000]);
    let mut begun = 0;
    for stream in &mut streams {
        if stream.takes_response() {
            stream.begin_answer(&head, Framing::UntilEnd);
            begun += 1;
        }
    }
    assert_eq!(begun, 1, "the buffer is full");
    let mut buffered = 0;
    while connection.core.borrow_mut().wake_for_room() || begun < 100 {
        connection.written();
        let Some(stream) = streams.iter_mut().skip(begun).find(|stream| stream.takes_response()) else { break };
        stream.begin_answer(&head, Framing::UntilEnd);
        buffered = buffered.max(connection.core.borrow().output.bytes().len());
        begun += 1;
    }
    let held = connection.core.borrow().account.memory();
    assert!((6..10).contains(&begun) && held < 3 << 20 && buffered < 512 << 10, "{begun}: {held}, {buffered}");
    connection.core.borrow_mut().take_woken();
    streams.drain(..2);
    let woken = connection.core.borrow_mut().take_woken().count();
    assert!(woken > 80, "the others go on: {woken}");
    let mut one = streams.pop().expect("one of many");
    let before = connection.core.borrow().account.memory();
    one.charge_response(32 << 10);
    one.charge_response(64 << 10);
    assert_eq!(connection.core.borrow().account.memory() - before, 64 << 10);
    streams.clear();
    drop(one);
    assert_eq!(connection.core.borrow().account.memory(), 0);
}

#[test]
fn an_idle_connection_keeps_nothing_of_its_largest_moment() {
    let mut connection = Connection::begun();
    let cookie = [GET, &into_table(b'x', &[b'y'; 3000])].concat();
    let streams: Vec<ServerStream> =
        (0..250).map(|nth| connection.begin(&frame(kind::HEADERS, 5, 2 * nth + 1, &cookie))).collect();
    drop(streams);
    connection.written();
    let mut core = connection.core.borrow_mut();
    core.shrink();
    assert_eq!((core.ids.capacity(), core.streams.capacity(), core.output.bytes().len()), (0, 0, 0));
    assert!(core.closed.capacity() <= 2 * REMEMBERED_IDLE, "{}", core.closed.capacity());
    assert!(core.fields.capacity() < 8 << 10, "{}", core.fields.capacity());
    drop(core);
    drop(connection.begin(&frame(kind::HEADERS, 5, 1001, &AGAIN)));
}
