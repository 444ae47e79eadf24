use std::time::UNIX_EPOCH;

use super::*;
use crate::domain::notice::NoticeEvent;

const PLAN: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
    Duration::from_secs(21_600),
];

/// A clock that is moved by hand.
struct Clock(Now);

impl Clock {
    fn new() -> Clock {
        Clock(Now { mono: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) })
    }

    fn pass(&mut self, duration: Duration) -> Now {
        self.0 = Now { mono: self.0.mono + duration, wall: self.0.wall + duration };
        self.0
    }
}

fn queue() -> Queue {
    Queue::new(PLAN.to_vec(), Cursor::default())
}

fn notice(clock: &Clock, severity: Severity) -> Arc<Notice> {
    about(clock, severity, None)
}

fn about(clock: &Clock, severity: Severity, replaces: Option<&str>) -> Arc<Notice> {
    Arc::new(Notice {
        id: EventId::by_chance(clock.0.wall),
        event: NoticeEvent::RolledBack,
        severity,
        at: clock.0.wall,
        headline: String::new(),
        sentence: String::new(),
        fields: Vec::new(),
        next: String::new(),
        links: Vec::new(),
        data: serde_json::Map::new(),
        replaces: replaces.map(str::to_owned),
    })
}

/// Notices that are due.
fn sent(queue: &Queue, clock: &Clock) -> Option<EventId> {
    match queue.next(clock.0.mono) {
        Next::Send(notice, _) => Some(notice.id.clone()),
        Next::At(_) | Next::Nothing => None,
    }
}

#[test]
fn notices_go_out_in_the_order_in_which_things_happened_and_the_cursor_follows() {
    let (mut queue, clock) = (queue(), Clock::new());
    let notices = [1, 2, 4].map(|line| (line, notice(&clock, Severity::Info)));
    for (line, notice) in &notices {
        queue.add(clock.0, Arc::clone(notice), Record::Line(*line));
    }
    assert_eq!(queue.cursor(), &Cursor { sequence: 0, also: BTreeSet::from([3]) }, "3 is nobody's news");
    for (_, notice) in &notices {
        assert_eq!(sent(&queue, &clock), Some(notice.id.clone()));
        queue.succeeded(&notice.id);
    }
    assert_eq!((sent(&queue, &clock), queue.waiting()), (None, 0));
    assert_eq!(queue.cursor(), &Cursor { sequence: 4, also: BTreeSet::new() });
}

#[test]
fn one_that_is_refused_holds_up_no_other() {
    let (mut queue, clock) = (queue(), Clock::new());
    let notices = [5, 6].map(|line| (line, notice(&clock, Severity::Info)));
    for (line, notice) in &notices {
        queue.add(clock.0, Arc::clone(notice), Record::Line(*line));
    }
    queue.failed(clock.0, &notices[0].1.id, None, 0.5);
    assert_eq!(sent(&queue, &clock), Some(notices[1].1.id.clone()));
}

#[test]
fn whatever_was_told_when_it_ended_a_restart_sends_the_others_and_only_these() {
    // Every way in which five lines (the third is nobody's news) can be told or not, and then a second restart in the
    // middle of taking them in again.
    for told in 0_u32..16 {
        for taken_in in 0..=4 {
            let (mut queue, clock) = (queue(), Clock::new());
            let notices = [2, 3, 5, 6].map(|line| (line, notice(&clock, Severity::Info)));
            for (line, notice) in &notices {
                queue.add(clock.0, Arc::clone(notice), Record::Line(*line));
            }
            for (index, (_, notice)) in notices.iter().enumerate() {
                if told & (1 << index) != 0 {
                    queue.succeeded(&notice.id);
                }
            }
            let mut again = Queue::new(PLAN.to_vec(), queue.cursor().clone());
            for (line, notice) in &notices[..taken_in] {
                again.add(clock.0, Arc::clone(notice), Record::Line(*line));
            }
            let mut third = Queue::new(PLAN.to_vec(), again.cursor().clone());
            for (line, notice) in &notices {
                third.add(clock.0, Arc::clone(notice), Record::Line(*line));
            }
            let waiting: Vec<_> = third.waiting.iter().map(|waiting| waiting.notice.id.clone()).collect();
            let untold = notices.iter().enumerate().filter(|(index, _)| told & (1 << index) == 0);
            let untold: Vec<_> = untold.map(|(_, (_, notice))| notice.id.clone()).collect();
            assert_eq!(waiting, untold, "told {told:04b}, {taken_in} taken in");
        }
    }
}

#[test]
fn a_notice_is_tried_by_the_plan_until_it_is_a_day_old() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let notice = notice(&clock, Severity::Info);
    queue.add(clock.0, Arc::clone(&notice), Record::Line(1));
    let began = clock.0.mono;
    let mut tries = Vec::new();
    while queue.give_up(clock.0.mono) == 0 {
        match queue.next(clock.0.mono) {
            Next::Send(sent, _) => {
                tries.push((clock.0.mono - began).as_secs());
                queue.failed(clock.0, &sent.id, None, 0.5);
            }
            Next::At(at) => {
                let pause = at - clock.0.mono;
                assert!(!pause.is_zero());
                clock.pass(pause);
            }
            Next::Nothing => panic!("it waits"),
        }
    }
    assert_eq!(tries, [0, 5, 35, 155, 755, 4_355, 25_955, 47_555, 69_155]);
    assert!(clock.0.mono - began >= GIVE_UP);
    assert_eq!((queue.waiting(), queue.dropped(), queue.cursor().sequence), (0, 1, 1));
}

#[test]
fn a_receiver_that_asks_for_patience_gets_it_for_all_notices() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let (first, second) = (notice(&clock, Severity::Info), notice(&clock, Severity::Page));
    queue.add(clock.0, Arc::clone(&first), Record::Line(1));
    queue.add(clock.0, second, Record::Line(2));
    queue.failed(clock.0, &first.id, Some(Duration::from_secs(40)), 0.5);
    assert_eq!(sent(&queue, &clock), None);
    clock.pass(Duration::from_secs(39));
    assert_eq!(sent(&queue, &clock), None);
    clock.pass(Duration::from_secs(1));
    assert_eq!(sent(&queue, &clock), Some(first.id.clone()));
}

#[test]
fn a_dead_receiver_is_left_alone_and_when_it_is_back_everything_goes_out_at_once() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let notices: Vec<_> = (1..=20).map(|line| (line, notice(&clock, Severity::Info))).collect();
    for (line, notice) in &notices {
        queue.add(clock.0, Arc::clone(notice), Record::Line(*line));
    }
    let (began, mut tries) = (clock.0.mono, 0);
    while clock.0.mono - began < Duration::from_secs(3_600) {
        match queue.next(clock.0.mono) {
            Next::Send(sent, _) => {
                tries += 1;
                queue.failed(clock.0, &sent.id, None, 0.5);
            }
            Next::At(at) => {
                let pause = at - clock.0.mono;
                clock.pass(pause);
            }
            Next::Nothing => panic!("they wait"),
        }
    }
    assert!(queue.is_open() && tries < 80, "{tries} tries in an hour for 20 notices");
    // The next one that gets through tells that it is back.
    clock.pass(Duration::from_secs(60));
    let fresh = notice(&clock, Severity::Page);
    queue.add(clock.0, Arc::clone(&fresh), Record::Line(21));
    let mut order = Vec::new();
    while let Some(id) = sent(&queue, &clock) {
        queue.succeeded(&id);
        order.push(id);
    }
    assert_eq!(order.len(), 21);
    assert_eq!(queue.cursor().sequence, 21);
}

#[test]
fn a_rollback_waits_a_second_for_its_line_and_then_is_told_without() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let quick = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&quick), Record::Unwritten);
    assert_eq!(sent(&queue, &clock), None);
    queue.recorded(clock.0, &quick.id, 7);
    assert_eq!(queue.next(clock.0.mono), Next::Send(Arc::clone(&quick), Record::Line(7)));
    assert!(!queue.cursor().has(7));
    queue.succeeded(&quick.id);
    assert!(queue.cursor().has(7));

    let slow = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&slow), Record::Unwritten);
    clock.pass(FOR_THE_LINE);
    assert_eq!(queue.next(clock.0.mono), Next::Send(Arc::clone(&slow), Record::Unwritten));
    queue.succeeded(&slow.id);
    queue.recorded(clock.0, &slow.id, 8);
    assert_eq!((queue.waiting(), queue.cursor().has(8)), (0, true), "it is not told again");
}

#[test]
fn something_important_that_can_not_be_told_for_two_minutes_is_told_elsewhere_once() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let notice = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&notice), Record::Line(1));
    queue.failed(clock.0, &notice.id, None, 0.5);
    assert_eq!(queue.alarm(clock.0.mono), None);
    clock.pass(ALARM - Duration::from_secs(1));
    assert_eq!(queue.alarm(clock.0.mono), None);
    clock.pass(Duration::from_secs(1));
    assert_eq!(queue.alarm(clock.0.mono), Some(ALARM));
    assert_eq!(queue.alarm(clock.0.mono), None, "once an outage");
    queue.succeeded(&notice.id);
}

#[test]
fn what_is_not_important_raises_no_alarm() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let notice = notice(&clock, Severity::Warn);
    queue.add(clock.0, Arc::clone(&notice), Record::Line(1));
    queue.failed(clock.0, &notice.id, None, 0.5);
    clock.pass(Duration::from_secs(80_000));
    assert_eq!(queue.alarm(clock.0.mono), None);
}

#[test]
fn news_of_the_same_endpoint_replace_each_other_while_they_wait_and_rollbacks_never_do() {
    let (mut queue, clock) = (queue(), Clock::new());
    for _ in 0..3 {
        queue.add(clock.0, notice(&clock, Severity::Error), Record::Line(queue.newest + 1));
    }
    queue.add(clock.0, about(&clock, Severity::Error, Some("blue default a")), Record::Passing);
    queue.add(clock.0, about(&clock, Severity::Error, Some("blue default b")), Record::Passing);
    let last = about(&clock, Severity::Info, Some("blue default a"));
    queue.add(clock.0, Arc::clone(&last), Record::Passing);
    assert_eq!(queue.waiting(), 5);
    assert!(queue.waiting.iter().any(|waiting| waiting.notice.id == last.id));
}

#[test]
fn a_full_queue_drops_the_least_important_and_counts_it() {
    let (mut queue, clock) = (queue(), Clock::new());
    let keep = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&keep), Record::Line(1));
    for line in 2..=(MOST as u64 + 10) {
        queue.add(clock.0, notice(&clock, Severity::Info), Record::Line(line));
    }
    assert_eq!((queue.waiting(), queue.dropped()), (MOST, 10));
    assert_eq!(sent(&queue, &clock), Some(keep.id.clone()));
}

#[test]
fn what_a_sink_does_not_tell_is_dealt_with() {
    let (mut queue, clock) = (queue(), Clock::new());
    queue.skip(3);
    assert_eq!(queue.cursor().sequence, 3);
    queue.add(clock.0, notice(&clock, Severity::Info), Record::Line(4));
    queue.skip(5);
    assert_eq!(queue.cursor(), &Cursor { sequence: 3, also: BTreeSet::from([5]) });
}

#[test]
fn the_same_notice_is_taken_in_once() {
    let (mut queue, clock) = (queue(), Clock::new());
    let notice = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&notice), Record::Unwritten);
    queue.add(clock.0, Arc::clone(&notice), Record::Unwritten);
    assert_eq!(queue.waiting(), 1);
}

#[test]
fn a_receiver_that_asks_for_endless_patience_is_asked_again_within_hours() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let late = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&late), Record::Line(1));
    queue.failed(clock.0, &late.id, Some(Duration::from_secs(u64::MAX)), 0.5);
    assert_eq!(sent(&queue, &clock), None);
    clock.pass(Duration::from_secs(6 * 3_600));
    assert_eq!(sent(&queue, &clock), Some(late.id.clone()));
}

#[test]
fn a_clock_that_jumps_ahead_makes_no_notice_old() {
    let (mut queue, mut clock) = (queue(), Clock::new());
    let waits = notice(&clock, Severity::Error);
    queue.add(clock.0, Arc::clone(&waits), Record::Line(1));
    // As after a start without a network, when the time comes from it at last.
    clock.0.wall += Duration::from_secs(365 * 86_400);
    assert_eq!(queue.give_up(clock.0.mono), 0);
    clock.pass(GIVE_UP);
    assert_eq!(queue.give_up(clock.0.mono), 1);
}
