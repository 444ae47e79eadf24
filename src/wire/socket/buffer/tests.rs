use std::task::Waker;

use tokio::io::{AsyncWriteExt, duplex};

use super::*;

fn fill(input: &mut Input, io: &mut (impl AsyncRead + Unpin), hint: u64) -> Option<Vec<u8>> {
    match input.poll_fill(&mut Context::from_waker(Waker::noop()), io, hint) {
        Poll::Ready(read) => {
            read.expect("it can be read");
            Some(input.bytes().to_vec())
        }
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn who_waits_holds_no_block_and_blocks_are_used_again() {
    let (mut theirs, mut ours) = duplex(1 << 20);
    let mut input = Input::default();
    assert_eq!(fill(&mut input, &mut ours, 0), None);
    assert_eq!(input.block.capacity(), 0);
    theirs.write_all(b"one").await.expect("room");
    assert_eq!(fill(&mut input, &mut ours, 0).as_deref(), Some(&b"one"[..]));
    let block = input.block.as_ptr();
    // An incomplete message is kept in a block of its own size.
    assert_eq!(fill(&mut input, &mut ours, 0), None);
    assert_eq!((input.bytes(), input.block.capacity()), (&b"one"[..], 64));
    input.consume(3);
    assert_eq!(fill(&mut input, &mut ours, 0), None);
    assert_eq!(input.block.capacity(), 0);
    theirs.write_all(b"2").await.expect("room");
    let mut other = Input::default();
    assert_eq!(fill(&mut other, &mut ours, 0).as_deref(), Some(&b"2"[..]));
    assert_eq!(other.block.as_ptr(), block);
}

#[tokio::test]
async fn what_is_read_is_in_order_whatever_is_used_of_it() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut theirs, mut ours) = duplex(1 << 20);
        let mut input = Input::default();
        let (mut sent, mut seen) = (0_u32, 0_u32);
        for _ in 0..40 {
            for _ in 0..random.u32(..10_000) {
                theirs.write_all(&sent.to_be_bytes()).await.expect("room");
                sent += 1;
            }
            let hint = *random.choice(&[0, 100, 1 << 20, u64::MAX]).expect("one");
            while fill(&mut input, &mut ours, hint).is_some() && random.u8(..4) > 0 {}
            let whole = input.bytes().len() / 4;
            for _ in 0..random.usize(..=whole) {
                assert_eq!(input.bytes()[..4], seen.to_be_bytes(), "seed {seed}");
                input.consume(4);
                seen += 1;
            }
        }
        while seen < sent {
            assert_eq!(input.bytes().first_chunk().map(|word| u32::from_be_bytes(*word)).unwrap_or(seen), seen);
            if input.bytes().len() < 4 {
                assert!(fill(&mut input, &mut ours, 0).is_some(), "seed {seed}");
            } else {
                input.consume(4);
                seen += 1;
            }
        }
        assert!(input.is_empty());
    }
}

#[tokio::test]
async fn a_large_body_gets_a_large_block_and_a_large_head_a_growing_one() {
    let (mut theirs, mut ours) = duplex(1 << 20);
    let mut input = Input::default();
    theirs.write_all(&[7; 400 << 10]).await.expect("room");
    assert_eq!(fill(&mut input, &mut ours, 0).map(|read| read.len()), Some(SMALL));
    assert_eq!(fill(&mut input, &mut ours, 0).map(|read| read.len()), Some(2 * SMALL));
    input.consume(2 * SMALL);
    assert_eq!(fill(&mut input, &mut ours, u64::MAX).map(|read| read.len()), Some(LARGE));
    input.consume(LARGE);
    input.release();
    assert_eq!(input.block.capacity(), 0);
    drop(input);
    // Grown blocks are not kept: one long head would cost all later connections.
    STORE.with_borrow(|store| {
        assert!(store.small.iter().all(|block| block.len() == SMALL));
        assert!(store.large.iter().all(|block| block.len() == LARGE));
    });
}

#[test]
fn what_was_written_is_given_back_and_the_rest_stays_in_order() {
    let mut output = Output::default();
    output.tail().extend_from_slice(b"hello");
    output.written(2);
    output.tail().extend_from_slice(b" world");
    assert_eq!((output.bytes(), output.is_empty()), (&b"llo world"[..], false));
    output.written(9);
    assert_eq!((output.bytes(), output.bytes.capacity()), (&b""[..], 0));
    let (block, capacity) = STORE.with_borrow(|store| {
        let last = store.outputs.last().expect("it was given back");
        (last.as_ptr(), last.capacity())
    });
    assert!(output.tail().is_empty());
    assert_eq!((output.bytes.as_ptr(), output.bytes.capacity()), (block, capacity));
}

#[test]
fn what_will_not_be_used_soon_is_moved_into_memory_of_its_size() {
    let mut input = Input::default();
    let mut source: &[u8] = &[7; 5000];
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(matches!(input.poll_fill_up_to(&mut cx, &mut source, 0, 5000), Poll::Ready(Ok(5000))));
    input.consume(1000);
    assert_eq!(input.memory(), SMALL);
    input.compact();
    assert_eq!((input.memory(), input.bytes()), (4000, &[7; 4000][..]));
    let mut source: &[u8] = &[8; 100];
    assert!(matches!(input.poll_fill_up_to(&mut cx, &mut source, 0, 60), Poll::Ready(Ok(60))));
    assert_eq!((input.bytes().len(), input.bytes()[4000]), (4060, 8));
    input.consume(4060);
    input.release();
    assert_eq!(input.memory(), 0);
}

#[tokio::test]
async fn a_message_that_rests_costs_its_size_and_is_whole_when_it_goes_on() {
    let (mut theirs, mut ours) = duplex(1 << 20);
    let mut input = Input::default();
    let mut sent = Vec::new();
    for length in [1, 100, 3000, 995, 1, 30_000] {
        let piece: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
        theirs.write_all(&piece).await.expect("room");
        sent.extend(piece);
        while fill(&mut input, &mut ours, 0).is_some() {}
        assert_eq!(input.bytes(), sent);
        let most = if sent.len() <= TINY { sent.len().next_power_of_two().max(64) } else { 2 * SMALL };
        assert!(input.block.capacity() <= most, "{} for {}", input.block.capacity(), sent.len());
        assert_eq!(input.charge.get(), input.block.capacity());
    }
    input.consume(sent.len());
    assert_eq!(fill(&mut input, &mut ours, 0), None);
    assert_eq!((input.block.capacity(), input.charge.get()), (0, 0));
}

#[test]
fn what_waits_to_be_written_is_counted_until_it_is_written() {
    let mut output = Output::default();
    output.tail().extend_from_slice(&[0; 100]);
    assert_eq!(output.charge.get(), OUTPUT);
    output.tail_for(LARGE_OUTPUT / 2).extend_from_slice(&[0; LARGE_OUTPUT / 2]);
    assert_eq!(output.charge.get(), LARGE_OUTPUT);
    output.written(50);
    assert_eq!(output.charge.get(), LARGE_OUTPUT);
    output.written(LARGE_OUTPUT / 2 + 50);
    assert_eq!(output.charge.get(), 0);
}
