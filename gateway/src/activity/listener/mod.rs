//! What of that which a desktop's page sends is somebody's doing.

mod rfb;
mod selkies;
mod websocket;

use vdi_api::Activity;

use websocket::{Message, Reader};

/// Reads along what one client sends.
#[derive(Debug)]
pub struct Listener {
    reader: Reader,
    spoken: Spoken,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spoken {
    /// Nothing has been said yet.
    NotYetKnown,
    Rfb,
    Selkies,
    /// Some other protocol, as it seems.
    Other,
    /// Whatever it is, all of it counts,
    Any,
    /// or none.
    None,
}

/// A message in a protocol that isn't known here is taken for input from this size on: below it are the heartbeats that an open
/// page sends by itself.
const LEAST: usize = 6;

impl Listener {
    /// What counts is what the desktop's template says.
    pub fn of(activity: Activity) -> Self {
        let spoken = match activity {
            Activity::Auto => Spoken::NotYetKnown,
            Activity::Rfb => Spoken::Rfb,
            Activity::Selkies => Spoken::Selkies,
            Activity::Any => Spoken::Any,
            Activity::None => Spoken::None,
        };
        Self { reader: Reader::default(), spoken }
    }

    /// Whether somebody's doing is among the next bytes.
    pub fn hears_input(&mut self, bytes: &[u8]) -> bool {
        let (mut heard, spoken) = (false, &mut self.spoken);
        self.reader.read(bytes, |message| {
            *spoken = spoken.after(message);
            heard |= match spoken {
                Spoken::Rfb => message.is_binary && rfb::is_input(message.start),
                Spoken::Selkies => selkies::is_input(message),
                Spoken::Other => message.is_binary && message.start.len() >= LEAST,
                Spoken::Any => true,
                Spoken::NotYetKnown | Spoken::None => false,
            };
        });
        heard
    }
}

impl Spoken {
    /// A VNC client begins with the version that it speaks. Selkies' has no certain beginning.
    fn after(self, message: Message) -> Self {
        match self {
            Self::NotYetKnown if message.start.starts_with(b"RFB 0") => Self::Rfb,
            Self::NotYetKnown | Self::Other if selkies::is_known_by(message) => Self::Selkies,
            Self::NotYetKnown => Self::Other,
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masked with zeros, which changes nothing.
    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
    }

    fn text(payload: &str) -> Vec<u8> {
        frame(1, payload.as_bytes())
    }

    fn binary(payload: &[u8]) -> Vec<u8> {
        frame(2, payload)
    }

    const UPDATE_REQUEST: [u8; 10] = [3, 1, 0, 0, 0, 0, 4, 0, 3, 0];
    const KEY: [u8; 8] = [4, 1, 0, 0, 0, 0, 0, 0x61];

    #[test]
    fn a_key_is_heard_and_an_open_page_is_not() {
        let mut listener = Listener::of(Activity::Auto);
        assert!(!listener.hears_input(&binary(b"RFB 003.008\n")));
        assert!(!listener.hears_input(&binary(&[1])));
        assert!(!listener.hears_input(&binary(&UPDATE_REQUEST)));
        assert!(listener.hears_input(&binary(&KEY)));
    }

    #[test]
    fn selkies_is_known_by_what_no_other_says_and_then_its_keys_are_heard() {
        for known in ["_gz,1", "SETTINGS,{\"encoder\":\"x264enc\"}", "START_AUDIO", "CLIENT_FRAME_ACK 17 0"] {
            let mut listener = Listener::of(Activity::Auto);
            for said in ["r,780x436,primary", known, "cr", "CLIENT_FRAME_ACK 17 0"] {
                assert!(!listener.hears_input(&text(said)));
            }
            assert!(!listener.hears_input(&binary(&[2; 1000][..100])), "a microphone");
            assert!(listener.hears_input(&text("kd,65")));
        }
        let mut vnc = Listener::of(Activity::Auto);
        assert!(!vnc.hears_input(&binary(b"RFB 003.008\n")) && !vnc.hears_input(&text("_gz,1")));
        assert!(!vnc.hears_input(&text("kd,65")) && vnc.hears_input(&binary(&KEY)), "it stays what it is");
    }

    #[test]
    fn in_a_protocol_that_is_not_known_all_but_heartbeats_counts() {
        let mut listener = Listener::of(Activity::Auto);
        assert!(!listener.hears_input(&binary(b"ping")));
        assert!(listener.hears_input(&binary(b"m,100,200,0")));
        assert!(listener.hears_input(&binary(&UPDATE_REQUEST)), "it only looks like VNC");
        assert!(!listener.hears_input(&text("{\"a\": 1}")));
    }

    #[test]
    fn a_template_can_say_what_is_spoken_and_what_counts() {
        let (key, spoken_key, ping) = (binary(&KEY), text("kd,65"), text("ping"));
        for (activity, heard) in [
            (Activity::Rfb, [true, false, false]),
            (Activity::Selkies, [false, true, false]),
            (Activity::Any, [true, true, true]),
            (Activity::None, [false, false, false]),
        ] {
            let hears = |bytes: &Vec<u8>| Listener::of(activity).hears_input(bytes);
            assert_eq!([&key, &spoken_key, &ping].map(hears), heard, "{activity:?}");
        }
    }
}
