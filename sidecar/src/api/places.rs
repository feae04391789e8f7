//! Places for connections: when all are taken, the connection that is idle for the longest time
//! makes room for a new one.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A number of places.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Idle connections in the order in which they became idle, each with what ends it.
    idle: BTreeMap<u64, Arc<Notify>>,
    /// The next number in that order.
    next: u64,
}

impl State {
    fn add_idle(&mut self, end: Arc<Notify>) -> u64 {
        let order = self.next;
        self.next = order.wrapping_add(1);
        self.idle.insert(order, end);
        order
    }
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: count, idle: BTreeMap::new(), next: 0 })))
    }

    /// Ends every idle connection.
    pub(super) fn end_idle(&self) {
        let mut state = self.0.lock();
        for end in std::mem::take(&mut state.idle).into_values() {
            end.notify_one();
            state.free = state.free.saturating_add(1);
        }
    }

    /// A place for a new connection, which is idle; none if every place is busy.
    pub(super) fn take(&self) -> Option<Place> {
        let mut state = self.0.lock();
        match state.free.checked_sub(1) {
            Some(free) => state.free = free,
            // Its place goes to the new connection.
            None => state.idle.pop_first()?.1.notify_one(),
        }
        let end = Arc::new(Notify::new());
        let order = state.add_idle(Arc::clone(&end));
        drop(state);
        let activity = Mutex::new(Activity::Idle(order));
        Some(Place(Arc::new(Inner { places: self.clone(), end, activity })))
    }
}

/// The place of a connection.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Places,
    end: Arc<Notify>,
    activity: Mutex<Activity>,
}

#[derive(Debug, Clone, Copy)]
enum Activity {
    Idle(u64),
    Busy,
}

impl Place {
    /// A request has arrived: the connection is busy until the returned value is dropped.
    pub(super) fn busy(&self) -> Busy {
        let mut activity = self.0.activity.lock();
        if let Activity::Idle(order) = *activity {
            // If it is not there, the connection is being ended.
            if self.0.places.0.lock().idle.remove(&order).is_some() {
                *activity = Activity::Busy;
            }
        }
        Busy(self.clone())
    }

    /// Waits until the connection must make room.
    pub(super) async fn ended(&self) {
        self.0.end.notified().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.places.0.lock();
        let has_place = match *self.activity.get_mut() {
            Activity::Busy => true,
            Activity::Idle(order) => state.idle.remove(&order).is_some(),
        };
        if has_place {
            state.free = state.free.saturating_add(1);
        }
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Busy(Place);

impl Drop for Busy {
    fn drop(&mut self) {
        let inner = &self.0.0;
        let mut activity = inner.activity.lock();
        if let Activity::Busy = *activity {
            let order = inner.places.0.lock().add_idle(Arc::clone(&inner.end));
            *activity = Activity::Idle(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn is_ended(place: &Place) -> bool {
        place.ended().now_or_never().is_some()
    }

    #[test]
    fn the_longest_idle_connection_makes_room() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        drop(first.busy());
        let busy = third.busy();
        let fourth = places.take().unwrap();
        assert!(is_ended(&second));
        drop(second);
        let fifth = places.take().unwrap();
        assert!(is_ended(&first) && !is_ended(&third) && !is_ended(&fourth));
        let all = [fourth.busy(), fifth.busy()];
        assert!(places.take().is_none(), "every place is busy");
        drop((all, fifth));
        assert!(places.take().is_some(), "a closed connection leaves its place");
        drop(busy);
    }

    #[test]
    fn a_connection_that_made_room_takes_none_back() {
        let places = Places::new(1);
        let first = places.take().unwrap();
        let _second = places.take().unwrap().busy();
        // Its request came too late.
        drop(first.busy());
        drop(first);
        assert!(places.take().is_none());
    }
}
