//! How many may follow at once, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One address may take this part of all places. This machine itself may take all: a proxy in front speaks from there.
const ADDRESS_PART: usize = 8;

/// The places.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    per_address: usize,
    taken: Mutex<Taken>,
    all_free: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// All are taken.
    #[error("this node has as many followers as it takes; try again later")]
    Full,
    /// One address has its part.
    #[error("there are as many followers from your address as this node takes; close some")]
    Address,
}

impl Places {
    pub(crate) fn new(max: u32) -> Self {
        let max = max as usize;
        Self(Arc::new(Shared {
            max,
            per_address: (max / ADDRESS_PART).max(1),
            taken: Mutex::default(),
            all_free: Notify::new(),
        }))
    }

    pub(crate) fn take(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let address = of_one_household(address);
        let mut taken = self.0.lock();
        if taken.all >= self.0.max {
            return Err(NoPlace::Full);
        }
        let count = taken.by_address.entry(address).or_default();
        if *count >= self.0.per_address && !address.is_loopback() {
            return Err(NoPlace::Address);
        }
        *count += 1;
        taken.all += 1;
        Ok(Place { shared: Arc::clone(&self.0), address })
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.lock().all
    }

    /// Waits until nobody follows.
    pub(crate) async fn all_free(&self) {
        let mut notified = pin!(self.0.all_free.notified());
        // From here on it hears, so that nobody leaves unheard between looking and waiting.
        notified.as_mut().enable();
        if self.taken() > 0 {
            notified.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        if taken.all == 0 {
            self.shared.all_free.notify_waiters();
        }
    }
}

/// Addresses that one customer of a provider has are one: of IPv6, the first half.
fn of_one_household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_by_address_and_come_free() {
        let places = Places::new(16);
        let take = |address: &str| places.take(address.parse().expect("an address"));
        let mut held = vec![take("192.0.2.1").expect("free"), take("::ffff:192.0.2.1").expect("free")];
        assert_eq!(take("192.0.2.1").err(), Some(NoPlace::Address));
        held.push(take("2001:db8::1").expect("free"));
        held.push(take("2001:db8::2").expect("free"));
        assert_eq!(take("2001:db8::3").err(), Some(NoPlace::Address), "one household");
        held.push(take("2001:db8:0:1::1").expect("another household"));
        while let Ok(place) = take("127.0.0.1") {
            held.push(place);
        }
        assert_eq!((held.len(), places.taken()), (16, 16));
        assert_eq!(take("192.0.2.9").err(), Some(NoPlace::Full));
        drop(held);
        assert_eq!(places.taken(), 0);
        assert!(places.0.lock().by_address.is_empty());
        take("192.0.2.1").expect("free again");
    }
}
