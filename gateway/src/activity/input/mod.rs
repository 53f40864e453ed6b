//! Which of the messages that a desktop's page sends are input: keys, pointer, clipboard and the like.

mod rfb;
mod selkies;
mod websocket;

use vdi_api::Activity;

use websocket::{Message, MessageReader};

/// Detects input in the bytes that one client sends.
#[derive(Debug)]
pub struct InputDetector {
    reader: MessageReader,
    protocol: Protocol,
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    /// No message so far.
    Undetermined,
    Rfb,
    Selkies,
    /// Probably some other protocol.
    Other,
    /// Every message counts as input.
    Any,
    /// No message counts as input.
    None,
}

/// In an unknown protocol, messages of this size and more count as input. Smaller ones are heartbeats, which an open
/// page sends by itself.
const SMALLEST_INPUT: usize = 6;

impl InputDetector {
    /// `activity` is the setting of the desktop's template.
    pub fn of(activity: Activity) -> Self {
        let protocol = match activity {
            Activity::Auto => Protocol::Undetermined,
            Activity::Rfb => Protocol::Rfb,
            Activity::Selkies => Protocol::Selkies,
            Activity::Any => Protocol::Any,
            Activity::None => Protocol::None,
        };
        Self { reader: MessageReader::default(), protocol }
    }

    /// Whether the next bytes complete a message with input.
    pub fn detect(&mut self, bytes: &[u8]) -> bool {
        let (mut is_input, protocol) = (false, &mut self.protocol);
        self.reader.read(bytes, |message| {
            *protocol = protocol.after(message);
            is_input |= match protocol {
                Protocol::Rfb => message.is_binary && rfb::is_input(message.start),
                Protocol::Selkies => selkies::is_input(message),
                Protocol::Other => message.is_binary && message.start.len() >= SMALLEST_INPUT,
                Protocol::Any => true,
                Protocol::Undetermined | Protocol::None => false,
            };
        });
        is_input
    }
}

impl Protocol {
    /// A VNC client starts with its protocol version. The first messages of a Selkies client vary.
    fn after(self, message: Message) -> Self {
        match self {
            Self::Undetermined if message.start.starts_with(b"RFB 0") => Self::Rfb,
            Self::Undetermined | Self::Other if selkies::is_characteristic(message) => Self::Selkies,
            Self::Undetermined => Self::Other,
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
    fn a_key_is_input_and_an_open_page_is_not() {
        let mut detector = InputDetector::of(Activity::Auto);
        assert!(!detector.detect(&binary(b"RFB 003.008\n")));
        assert!(!detector.detect(&binary(&[1])));
        assert!(!detector.detect(&binary(&UPDATE_REQUEST)));
        assert!(detector.detect(&binary(&KEY)));
    }

    #[test]
    fn selkies_is_recognized_by_its_own_messages_and_then_its_keys_are_input() {
        for known in ["_gz,1", "SETTINGS,{\"encoder\":\"x264enc\"}", "START_AUDIO", "CLIENT_FRAME_ACK 17 0"] {
            let mut detector = InputDetector::of(Activity::Auto);
            for said in ["r,780x436,primary", known, "cr", "CLIENT_FRAME_ACK 17 0"] {
                assert!(!detector.detect(&text(said)));
            }
            assert!(!detector.detect(&binary(&[2; 1000][..100])), "a microphone");
            assert!(detector.detect(&text("kd,65")));
        }
        let mut vnc = InputDetector::of(Activity::Auto);
        assert!(!vnc.detect(&binary(b"RFB 003.008\n")) && !vnc.detect(&text("_gz,1")));
        assert!(!vnc.detect(&text("kd,65")) && vnc.detect(&binary(&KEY)), "it stays what it is");
    }

    #[test]
    fn in_an_unknown_protocol_everything_but_heartbeats_is_input() {
        let mut detector = InputDetector::of(Activity::Auto);
        assert!(!detector.detect(&binary(b"ping")));
        assert!(detector.detect(&binary(b"m,100,200,0")));
        assert!(detector.detect(&binary(&UPDATE_REQUEST)), "it only looks like VNC");
        assert!(!detector.detect(&text("{\"a\": 1}")));
    }

    #[test]
    fn a_template_can_set_the_protocol_and_what_counts() {
        let (key, spoken_key, ping) = (binary(&KEY), text("kd,65"), text("ping"));
        for (activity, expected) in [
            (Activity::Rfb, [true, false, false]),
            (Activity::Selkies, [false, true, false]),
            (Activity::Any, [true, true, true]),
            (Activity::None, [false, false, false]),
        ] {
            let is_input = |bytes: &Vec<u8>| InputDetector::of(activity).detect(bytes);
            assert_eq!([&key, &spoken_key, &ping].map(is_input), expected, "{activity:?}");
        }
    }
}
