//! The valid keys, and which of them signs.
//!
//! Replicas share them through a Secret, and each sees a change after a moment. So a new key verifies before it signs,
//! and an old key goes on verifying until the last token that it signed has expired.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    claims::{Purpose, SKEW},
    key::{Key, KeyId},
};

/// When keys are added and removed.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How long a key signs.
    pub rotation: Duration,
    /// How long it takes until every replica has seen a change of the Secret.
    pub spread: Duration,
}

/// The changes that are due.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub needs_new: bool,
    pub to_remove: Vec<KeyId>,
}

impl Schedule {
    /// Replicas watch the Secret, so a moment would do. This leaves time for one that is disconnected to come back.
    pub const SPREAD: Duration = Duration::from_secs(120);

    /// The changes that are due for keys with these ids.
    pub fn changes(&self, keys: &[KeyId], now: Timestamp) -> Changes {
        let newest = keys.iter().max();
        // In time for every replica to have it when the key before it stops signing.
        let needs_new = newest.is_none_or(|id| now >= after(id.made(), self.rotation));
        // Its successor takes over `spread` after it was made, and the last token before that lives as long as any
        // token may.
        let last_token = Purpose::LONGEST + self.spread + SKEW;
        let is_over = |id: &&KeyId| {
            let successor = keys.iter().filter(|other| other > id).min();
            successor.is_some_and(|successor| now >= after(successor.made(), last_token))
        };
        Changes { needs_new, to_remove: keys.iter().filter(is_over).cloned().collect() }
    }

    /// The key to sign with: the newest that every replica has, or the oldest if none is old enough.
    pub fn signing<'a>(&self, ring: &'a KeyRing, now: Timestamp) -> Option<&'a Key> {
        let is_known = |key: &&Key| now >= after(key.id.made(), self.spread);
        ring.0.iter().rfind(is_known).or(ring.0.first())
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The keys that verify, oldest first.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Vec<Key>);

impl KeyRing {
    pub fn new(mut keys: Vec<Key>) -> Self {
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        Self(keys)
    }

    /// The key with exactly this `kid`.
    pub fn get(&self, kid: &str) -> Option<&Key> {
        let id: KeyId = kid.parse().ok()?;
        self.0.iter().find(|key| key.id == id)
    }

    /// A JSON Web Key Set ([RFC 7517, 5]), with which others can verify tokens.
    ///
    /// [RFC 7517, 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    pub fn public(&self) -> Value {
        json!({ "keys": self.0.iter().map(Key::public).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::fixture::noon;

    const SCHEDULE: Schedule = Schedule { rotation: Duration::from_secs(24 * 3600), spread: Duration::from_secs(120) };

    fn at(seconds: i64) -> Timestamp {
        noon() + SignedDuration::from_secs(seconds)
    }

    fn id(seconds: i64) -> KeyId {
        Key::generate(at(seconds)).unwrap().0.id
    }

    #[test]
    fn a_new_key_is_due_at_once_and_then_every_rotation() {
        assert!(SCHEDULE.changes(&[], noon()).needs_new);
        let first = [id(0)];
        assert_eq!(SCHEDULE.changes(&first, at(24 * 3600 - 1)), Changes::default());
        assert_eq!(SCHEDULE.changes(&first, at(24 * 3600)), Changes { needs_new: true, to_remove: vec![] });
    }

    #[test]
    fn an_old_key_goes_once_all_its_tokens_have_expired() {
        let keys = [id(0), id(24 * 3600)];
        let last_use = 24 * 3600 + 120 + 12 * 3600 + 30;
        assert_eq!(SCHEDULE.changes(&keys, at(last_use - 1)).to_remove, []);
        assert_eq!(SCHEDULE.changes(&keys, at(last_use)).to_remove, keys[..1]);
    }

    #[test]
    fn a_key_signs_once_every_replica_has_it_except_the_very_first() {
        let key = |seconds| Key::generate(at(seconds)).unwrap().0;
        let (old, new) = (key(0), key(24 * 3600));
        let signs = |ring: &KeyRing, seconds| SCHEDULE.signing(ring, at(seconds)).map(|key| key.id.clone());
        assert_eq!(signs(&KeyRing::default(), 0), None);
        assert_eq!(signs(&KeyRing::new(vec![old.clone()]), 0), Some(old.id.clone()));
        let both = KeyRing::new(vec![new.clone(), old.clone()]);
        assert_eq!(signs(&both, 24 * 3600 + 119), Some(old.id));
        assert_eq!(signs(&both, 24 * 3600 + 120), Some(new.id));
    }

    #[test]
    fn only_public_keys_are_published() {
        let (key, _) = Key::generate(noon()).unwrap();
        let set = KeyRing::new(vec![key.clone()]).public();
        assert_eq!(set["keys"][0]["kid"], key.id.to_string());
        assert!(set["keys"][0].get("d").is_none());
    }
}
