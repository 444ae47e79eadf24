use super::*;

#[test]
fn what_has_fired_is_not_forgotten_because_the_process_stops() {
    let slots = DeadlineSlots::default();
    let slot = slots.add(Phase::Request, None);
    slots.cut_all();
    slots.close_all();
    assert_eq!(slot.fired(), Some(Fired::Cut));
    assert!(slot.is_closing());
    assert_eq!(slot.take_fired(), Some(Fired::Cut));
    slots.close_all();
    assert_eq!(slot.take_fired(), Some(Fired::Closing));
}

#[test]
fn every_part_of_the_time_has_one_moment() {
    let over = Duration::from_secs(10);
    let moments: Vec<Duration> = spread(over, 1000, fastrand::f64).collect();
    for (part, moment) in moments.iter().enumerate() {
        let (from, to) = (over * part as u32 / 1000, over * (part as u32 + 1) / 1000);
        assert!((from..=to).contains(moment), "{moment:?} is not in part {part}");
    }
    let jitter = moments.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap != over / 1000).count();
    assert!(jitter > 900, "they are not a clock's");
    assert_eq!(spread(Duration::ZERO, 3, || 0.5).collect::<Vec<_>>(), [Duration::ZERO; 3]);
    assert_eq!(spread(over, 0, || 0.5).count(), 0);
}

#[test]
fn only_the_tunnels_of_the_epoch_have_a_moment_and_lose_it_when_they_are_kept() {
    let slots = DeadlineSlots::default();
    let of = |phase, epoch| {
        let slot = slots.add(phase, None);
        slot.serve(epoch);
        slot
    };
    let (tunnel, other, ending) = (of(Phase::Tunnel, 7), of(Phase::Tunnel, 8), of(Phase::Ending, 7));
    let request = of(Phase::Request, 7);
    let by = Instant::now() + Duration::from_secs(60);
    slots.end_tunnels(Tunnels::Of(7), by);
    slots.end_tunnels(Tunnels::Of(9), by);
    assert!(tunnel.deadline.get().is_some_and(|moment| moment <= by));
    for slot in [&other, &ending, &request] {
        assert_eq!(slot.deadline.get(), None);
    }
    slots.enter_tunnel(&request);
    assert!(request.deadline.get().is_some_and(|moment| moment <= by), "it became one of them");
    slots.keep_tunnels(8);
    assert!(tunnel.deadline.get().is_some());
    slots.keep_tunnels(7);
    let late = of(Phase::Request, 7);
    slots.enter_tunnel(&late);
    assert_eq!([&tunnel, &request, &late].map(|slot| slot.deadline.get()), [None; 3]);
    slots.end_tunnels(Tunnels::All, Instant::now());
    assert!(tunnel.deadline.get().is_some() && other.deadline.get().is_some());
}

#[test]
fn the_connection_that_is_idle_longest_is_closed_and_none_with_a_request() {
    let slots = DeadlineSlots::default();
    let now = Instant::now();
    let of = |phase, seconds| slots.add(phase, Some(now + Duration::from_secs(seconds)));
    let (longest, shorter, head, fresh) =
        (of(Phase::Idle, 5), of(Phase::Idle, 6), of(Phase::Head, 1), of(Phase::Head, 9));
    let busy = [Phase::Request, Phase::Body, Phase::Tunnel, Phase::Held, Phase::Ending].map(|phase| of(phase, 1));
    let before = now + Duration::from_secs(8);
    assert_eq!(slots.longest_idle(before), Some((Waits::ForRequest, now + Duration::from_secs(5))));
    for slot in [&longest, &shorter, &head] {
        assert!(slots.close_longest_idle(before));
        assert_eq!(slot.fired(), Some(Fired::Deadline));
        assert!(slot.stay() && !slot.stay());
    }
    assert!(!slots.close_longest_idle(before), "a head that has just begun has its time");
    assert!(busy.iter().chain([&fresh]).all(|slot| slot.fired().is_none()));
}

#[test]
fn a_tunnel_that_is_being_ended_is_not_ended_again() {
    let slots = DeadlineSlots::default();
    let slot = slots.add(Phase::Ending, None);
    slot.serve(7);
    slots.end_epoch(7);
    slots.cut_all();
    assert_eq!(slot.fired(), None, "its deadline could be lost");
}

#[tokio::test]
async fn every_deadline_fires_and_none_that_moved_on_makes_the_sweeper_look_at_all_slots() {
    let slots = Rc::new(DeadlineSlots::default());
    let minute = Instant::now() + Duration::from_secs(60);
    let idle = slots.add(Phase::Idle, Some(minute));
    let request = slots.add(Phase::Idle, None);
    let soon = slots.add(Phase::Idle, None);
    let body = async {
        for _ in 0..100 {
            slots.enter(&request, Phase::Head, Duration::from_secs(10));
            tokio::task::yield_now().await;
            slots.enter(&request, Phase::Idle, Duration::from_secs(60));
        }
        assert!(slots.asleep_until.get() < Some(minute), "no look has told that it moved on");
        let earlier = slots.asleep_until.get();
        slots.enter(&soon, Phase::Head, Duration::from_millis(1));
        assert!(slots.asleep_until.get() < earlier);
        while soon.fired().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((idle.fired(), request.fired()), (None, None));
        assert!(slots.asleep_until.get() >= Some(minute), "{:?}", slots.asleep_until);
    };
    tokio::select! {
        () = slots.sweep() => {}
        () = body => {}
    }
}
