//! Open connections by client address, where they are limited.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Touched when a connection begins and ends, and only where there is a limit.
#[derive(Debug, Default)]
pub(crate) struct PerClient(Mutex<HashMap<IpAddr, usize>>);

#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<PerClient>,
    of: IpAddr,
}

impl PerClient {
    pub(crate) fn enter(self: &Arc<PerClient>, client: IpAddr, most: usize) -> Option<Share> {
        let of = of_one_client(client);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share { all: Arc::clone(self), of })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

/// A client of IPv6 has a whole /64.
fn of_one_client(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_more_than_its_share_and_others_have_theirs() {
        let all = Arc::new(PerClient::default());
        let enter = |address: &str| all.enter(address.parse().expect("an address"), 2);
        let first = enter("10.0.0.1").expect("the first");
        let _second = enter("::ffff:10.0.0.1").expect("the second, of the same client");
        assert!(enter("10.0.0.1").is_none());
        let _other = enter("10.0.0.2").expect("another client");
        drop(first);
        let _again = enter("10.0.0.1").expect("one was given back");
        let _six = [enter("2001:db8::1"), enter("2001:db8::2")].map(|share| share.expect("one network"));
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let all = Arc::new(PerClient::default());
        drop(all.enter(IpAddr::from([10, 0, 0, 1]), 1));
        assert!(all.0.lock().expect("no panic").is_empty());
    }
}
