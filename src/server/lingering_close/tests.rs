use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::proxy::deadlines::slots::DeadlineSlots;

fn lingering(slot: std::rc::Rc<DeadlineSlot>) -> (UnixStream, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let ended = tokio::task::spawn_local(async move {
        let mut io = Socket::Unix(ours);
        poll_with(&slot, linger(&slot, &mut io, &UPLOAD)).await;
    });
    (theirs, ended)
}

async fn poll_with(slot: &DeadlineSlot, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    poll_fn(|cx| {
        slot.register(cx);
        work.as_mut().poll(cx)
    })
    .await;
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn a_client_that_sends_nothing_is_left_soon_and_one_that_drips_in_the_end() {
    let slots = DeadlineSlots::default();
    let (mut client, ended) = lingering(slots.add(Phase::Body, None));
    let began = Instant::now();
    assert_eq!(client.read(&mut [0]).await.expect("a half"), 0, "the client is told at once");
    ended.await.expect("no panic");
    assert_eq!(began.elapsed().as_secs(), UPLOAD.idle.as_secs());

    let (mut client, ended) = lingering(slots.add(Phase::Body, None));
    let began = Instant::now();
    while client.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    ended.await.expect("no panic");
    assert!(began.elapsed() <= UPLOAD.total + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn uploads_that_nobody_wants_hold_up_no_stop_and_take_no_place() {
    let slots = DeadlineSlots::default();
    let (_client, ended) = lingering(slots.add(Phase::Body, None));
    tokio::task::yield_now().await;
    let began = Instant::now();
    slots.close_all();
    ended.await.expect("no panic");
    assert_eq!(began.elapsed().as_secs(), STOPPING.as_secs());

    let (_client, ended) = lingering(slots.add(Phase::Body, None));
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert!(slots.close_longest_idle(std::time::Instant::now()), "somebody else needs the place");
    ended.await.expect("no panic");
    assert_eq!(began.elapsed(), Duration::ZERO);

    let (_client, ended) = lingering(slots.add(Phase::Body, None));
    tokio::task::yield_now().await;
    let began = Instant::now();
    slots.cut_all();
    ended.await.expect("no panic");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn a_client_that_sends_without_end_is_left_after_so_many_bytes() {
    let slot = DeadlineSlots::default().add(Phase::Body, None);
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    let few = Bounds { bytes: 1 << 20, ..UPLOAD };
    let ended = tokio::task::spawn_local(async move {
        let mut io = Socket::Unix(ours);
        linger(&slot, &mut io, &few).await;
    });
    let mut sent = 0;
    while client.write_all(&[b'x'; 4096]).await.is_ok() {
        sent += 4096;
    }
    ended.await.expect("no panic");
    assert!((1 << 20..2 << 20).contains(&sent), "{sent}");
}
