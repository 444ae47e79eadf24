use std::net::Ipv4Addr;

use super::*;
use crate::domain::split::Weight;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn splitting(sticky: Sticky, weight: u16) -> Splitting {
    let split = Split { candidate: Color::Green, weight: Weight::new(weight).expect("a share"), salt: 99 };
    Splitting { split, sticky, other: Box::default() }
}

fn head(fields: &[(&str, &str)]) -> Head {
    let mut head = Head::default();
    head.set_request_line(b"GET", b"/");
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn here() -> IpAddr {
    HERE
}

#[test]
fn by_chance_the_shares_are_as_the_weight_says() {
    let splitting = splitting(Sticky::Off, 500);
    const DRAWS: u32 = 100_000;
    let hits = (0..DRAWS).filter(|_| splitting.color(splitting.draw(&head(&[]), here)) == Color::Green).count();
    assert!(hits.abs_diff(5_000) < 414, "{hits}");
    assert!(splitting.draw(&head(&[]), here).user.is_none());
}

#[test]
fn a_cookie_keeps_a_user_wherever_it_stands_and_whatever_else_is_said() {
    let splitting = splitting(Sticky::Cookie("session".to_owned()), 5_000);
    let draw = |fields: &[(&str, &str)]| splitting.draw(&head(fields), here);
    let alone = draw(&[("cookie", "session=abc")]);
    assert!(alone.user.is_some());
    for fields in [
        &[("Cookie", "a=b; session=abc; c=d")][..],
        &[("cookie", "a=session=x;session=abc")],
        &[("cookie", "mysession=x"), ("cookie", " session=abc ")],
        &[("cookie", "session=abc; session=other")],
    ] {
        assert_eq!(draw(fields), alone, "{fields:?}");
    }
    assert_ne!(draw(&[("cookie", "session=abd")]), alone);
    let next = Splitting { split: Split { salt: 100, ..splitting.split }, ..splitting };
    assert_ne!(next.draw(&head(&[("cookie", "session=abc")]), here), alone, "the next deployment begins with others");
}

#[test]
fn a_field_keeps_a_user_and_who_has_none_goes_by_address() {
    let splitting = splitting(Sticky::Header("x-user".to_owned()), 5_000);
    let named = splitting.draw(&head(&[("X-User", " 17 ")]), here);
    assert_eq!(splitting.draw(&head(&[("x-user", "17")]), here), named);
    let by_address = |fields: &[(&str, &str)], address| splitting.draw(&head(fields), || address);
    for fields in [&[][..], &[("x-user", "")], &[("x-user", "  ")]] {
        assert_eq!(by_address(fields, HERE), by_address(&[], HERE));
        assert!(by_address(fields, HERE).user.is_some());
    }
    assert_ne!(by_address(&[], HERE), by_address(&[], IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
}

#[test]
fn a_growing_weight_takes_here_away_from_the_candidate() {
    let steps = [100, 500, 2_500, 5_000, 9_900].map(|weight| splitting(Sticky::Cookie("id".to_owned()), weight));
    for user in 0..1_000 {
        let request = head(&[("cookie", &format!("id={user}"))]);
        let colors = steps.each_ref().map(|step| step.color(step.draw(&request, here)) == Color::Green);
        assert!(colors.is_sorted(), "user {user}: {colors:?}");
    }
}

#[test]
fn by_address_a_client_of_ipv6_is_a_whole_network() {
    let splitting = splitting(Sticky::Address, 5_000);
    let draw = |address: &str| splitting.draw(&head(&[]), || address.parse().expect("an address"));
    assert_eq!(draw("2001:db8::1"), draw("2001:db8::ffff:1"));
    assert_eq!(draw("::ffff:192.0.2.1"), draw("192.0.2.1"));
    for (one, other) in [("2001:db8:0:1::1", "2001:db8:0:2::1"), ("192.0.2.1", "192.0.2.2")] {
        assert_ne!(draw(one).value, draw(other).value);
        let network = |address| draw(address).user.map(|user| user.network);
        assert_eq!(network(one), network(other));
    }
}

#[test]
fn a_new_visitor_is_drawn_and_one_who_comes_again_is_not() {
    let cookie = VisitorCookie { name: "visitor".to_owned(), max_age: std::time::Duration::from_secs(60) };
    let splitting = splitting(Sticky::Own(Arc::new(cookie)), 5_000);
    let new = splitting.draw(&head(&[]), here);
    let value = String::from_utf8_lossy(new.visitor.expect("there are random numbers").value()).into_owned();
    let again = splitting.draw(&head(&[("cookie", &format!("visitor={value}"))]), here);
    let is_drawn = |draw: Draw| draw.user.map(|user| user.drawn);
    assert_eq!((new.value, is_drawn(new), is_drawn(again)), (again.value, Some(true), Some(false)));
}
