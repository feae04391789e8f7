//! One account of what all requests of a VM hold between two callbacks.
//!
//! A module has at most 1 GiB, never returns any of it, and ends with a trap when it has none left:
//! one client with many bodies or messages that never end could end the VM for everybody. So what a
//! request holds is accounted for, and refused when there is no room.

use std::cell::Cell;

/// The most that requests may hold together, in bytes, before one that holds more than
/// [`SMALL`] is refused.
pub const LIMIT: usize = 64 * 1024 * 1024;

/// What any long body takes while it passes, tagged or not. Such requests are refused last, so that
/// those that hold much do not stop ordinary traffic.
pub const SMALL: usize = 16 * 1024;

/// The most that requests may hold together, in bytes, before any is refused.
pub const LIMIT_OF_ALL: usize = 4 * LIMIT;

thread_local! {
    /// A VM has one thread.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// What all requests of this VM hold, in bytes.
#[must_use]
pub fn held() -> usize {
    HELD.get()
}

/// What one request holds. Dropping it makes room.
#[derive(Debug, Default)]
pub struct Held(usize);

impl Held {
    /// Accounts for this many bytes in place of those before. False if there is no room for them.
    #[must_use]
    pub fn set(&mut self, bytes: usize) -> bool {
        let all = HELD.get().saturating_sub(self.0).saturating_add(bytes);
        HELD.set(all);
        self.0 = bytes;
        all <= if bytes > SMALL { LIMIT } else { LIMIT_OF_ALL }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_much_is_refused_before_who_holds_little() {
        let mut many = Vec::new();
        let mut add = |bytes| {
            let mut held = Held::default();
            let has_room = held.set(bytes);
            if has_room {
                many.push(held);
            }
            has_room
        };
        for _ in 0..LIMIT / (SMALL * 4) {
            assert!(add(SMALL * 4));
        }
        assert_eq!(held(), LIMIT);
        assert!(!add(SMALL + 1));
        while held() + SMALL <= LIMIT_OF_ALL {
            assert!(add(SMALL));
        }
        assert!(!add(SMALL));
        assert!(add(0));
        many.truncate(1);
        assert_eq!(held(), SMALL * 4);
        assert!(many[0].set(1));
        assert_eq!(held(), 1);
        drop(many);
        assert_eq!(held(), 0);
    }
}
