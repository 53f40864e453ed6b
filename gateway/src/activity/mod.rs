//! When somebody last did something at a desktop. What counts is what they do, and not that a page is open.

mod rfb;
mod websocket;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use websocket::{Message, Reader};

/// When each session, by uid, had its last input through this gateway.
#[derive(Debug)]
pub struct Activity {
    watching_since: Instant,
    last_input: Mutex<HashMap<String, Instant>>,
}

impl Activity {
    pub fn since(now: Instant) -> Self {
        Self { watching_since: now, last_input: Mutex::default() }
    }

    pub fn input(&self, session_uid: &str, now: Instant) {
        let mut last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        match last_input.get_mut(session_uid) {
            Some(last) => *last = now,
            None => drop(last_input.insert(session_uid.to_owned(), now)),
        }
    }

    /// For how long nobody has done anything at a session's desktop, as far as this gateway knows.
    pub fn idle(&self, session_uid: &str, now: Instant) -> Duration {
        let last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        now.duration_since(last_input.get(session_uid).copied().unwrap_or(self.watching_since))
    }

    /// The session is gone.
    pub fn forget(&self, session_uid: &str) {
        self.last_input.lock().unwrap_or_else(PoisonError::into_inner).remove(session_uid);
    }

    /// For how long this gateway has been watching, and how long ago each session had its last input.
    pub fn as_of(&self, now: Instant) -> (Duration, HashMap<String, Duration>) {
        let last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        let ago = last_input.iter().map(|(uid, last)| (uid.clone(), now.duration_since(*last)));
        (now.duration_since(self.watching_since), ago.collect())
    }
}

/// Reads along what one client sends.
#[derive(Debug, Default)]
pub struct Listener {
    reader: Reader,
    /// Known from the first message on: a VNC client begins with the version that it speaks.
    speaks_rfb: Option<bool>,
}

/// A message in a protocol that isn't known here is taken for input from this size on: below it are the heartbeats that an open
/// page sends by itself.
const LEAST: usize = 6;

impl Listener {
    /// Whether somebody's doing is among the next bytes.
    pub fn hears_input(&mut self, bytes: &[u8]) -> bool {
        let (mut heard, speaks_rfb) = (false, &mut self.speaks_rfb);
        self.reader.read(bytes, |Message { is_binary, start }| {
            let speaks_rfb = *speaks_rfb.get_or_insert(start.starts_with(b"RFB 0"));
            heard |= is_binary && if speaks_rfb { rfb::is_input(start) } else { start.len() >= LEAST };
        });
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masked with zeros, which changes nothing.
    fn binary(payload: &[u8]) -> Vec<u8> {
        [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
    }

    #[test]
    fn a_key_is_heard_and_an_open_page_is_not() {
        let mut listener = Listener::default();
        assert!(!listener.hears_input(&binary(b"RFB 003.008\n")));
        assert!(!listener.hears_input(&binary(&[1])));
        assert!(!listener.hears_input(&binary(&[3, 1, 0, 0, 0, 0, 4, 0, 3, 0])));
        assert!(listener.hears_input(&binary(&[4, 1, 0, 0, 0, 0, 0, 0x61])));
    }

    #[test]
    fn in_a_protocol_that_is_not_known_all_but_heartbeats_counts() {
        let mut listener = Listener::default();
        assert!(!listener.hears_input(&binary(b"ping")));
        assert!(listener.hears_input(&binary(b"m,100,200,0")));
        assert!(listener.hears_input(&binary(&[3, 1, 0, 0, 0, 0, 4, 0, 3, 0])), "it only looks like VNC");
        let text = [&[0x81, 0x80 | 8, 0, 0, 0, 0][..], b"{\"a\": 1}"].concat();
        assert!(!listener.hears_input(&text));
    }

    #[test]
    fn what_is_told_is_how_long_ago_it_was() {
        let start = Instant::now();
        let activity = Activity::since(start);
        let after = |seconds| start + Duration::from_secs(seconds);
        activity.input("a", after(10));
        activity.input("a", after(20));
        activity.input("b", after(25));
        assert_eq!([activity.idle("a", after(60)), activity.idle("c", after(60))].map(|idle| idle.as_secs()), [40, 60]);
        activity.forget("b");
        let (watching, ago) = activity.as_of(after(60));
        assert_eq!((watching.as_secs(), ago), (60, [("a".to_owned(), Duration::from_secs(40))].into()));
    }
}
