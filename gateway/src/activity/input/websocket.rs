//! Reads the messages of a websocket client as they pass ([RFC 6455, 5.2]). Nothing is held back or validated: that is
//! up to the desktop. A stream that can't be parsed is passed on unread.
//!
//! [RFC 6455, 5.2]: https://www.rfc-editor.org/rfc/rfc6455#section-5.2

/// How much of a message is kept, in bytes: messages with input are short.
const KEPT: usize = 4096;

/// Reads the bytes of one client.
#[derive(Debug, Default)]
pub struct MessageReader {
    state: State,
    /// The start of the current message, unmasked.
    message: Vec<u8>,
    is_binary: bool,
}

#[derive(Debug)]
enum State {
    /// This much of a frame's header has been read.
    Header(Vec<u8>),
    Payload(Frame),
    /// The stream has a frame that is invalid or compressed, so nothing after it can be parsed.
    Lost,
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    is_last: bool,
    /// Whether this is a data frame; the payload of control frames is skipped.
    is_data: bool,
    mask: [u8; 4],
    /// How much of the payload has been read, and how long it is.
    seen: u64,
    length: u64,
}

impl MessageReader {
    /// Reads the next bytes, however they are split, and calls `message` for each message that they complete.
    pub fn read(&mut self, mut bytes: &[u8], mut message: impl FnMut(Message)) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost => return,
                State::Header(header) => {
                    header.push(bytes[0]);
                    bytes = &bytes[1..];
                    match parse_header(header) {
                        Header::Incomplete => {}
                        Header::Unknown => self.state = State::Lost,
                        Header::Frame { opcode, frame } => self.begin(opcode, frame),
                    }
                }
                State::Payload(frame) => {
                    let left = usize::try_from(frame.length - frame.seen).unwrap_or(usize::MAX);
                    let (payload, rest) = bytes.split_at(left.min(bytes.len()));
                    if frame.is_data {
                        let room = KEPT.saturating_sub(self.message.len());
                        let mask = frame.mask.iter().cycle().skip((frame.seen % 4) as usize);
                        self.message.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).take(room));
                    }
                    frame.seen += payload.len() as u64;
                    bytes = rest;
                }
            }
            self.end_if_complete(&mut message);
        }
    }

    fn begin(&mut self, opcode: u8, frame: Frame) {
        const TEXT: u8 = 1;
        const BINARY: u8 = 2;
        if matches!(opcode, TEXT | BINARY) {
            self.message.clear();
            self.is_binary = opcode == BINARY;
        }
        self.state = State::Payload(frame);
    }

    fn end_if_complete(&mut self, message: &mut impl FnMut(Message)) {
        let State::Payload(Frame { is_last, is_data, seen, length, .. }) = self.state else { return };
        if seen == length {
            self.state = State::default();
            if is_last && is_data {
                message(Message { is_binary: self.is_binary, start: &self.message });
                self.message.clear();
            }
        }
    }
}

/// A message of the client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message<'a> {
    pub is_binary: bool,
    /// Its first 4 KiB.
    pub start: &'a [u8],
}

enum Header {
    Incomplete,
    Unknown,
    Frame { opcode: u8, frame: Frame },
}

fn parse_header(header: &[u8]) -> Header {
    let [first, second, rest @ ..] = header else { return Header::Incomplete };
    let (reserved, opcode) = (first & 0x70, first & 0x0f);
    let is_masked = second & 0x80 != 0;
    // Clients always mask. A reserved bit means an extension, such as compression.
    if reserved != 0 || !is_masked || !matches!(opcode, 0..=2 | 8..=10) {
        return Header::Unknown;
    }
    let (length, rest) = match (second & 0x7f, rest) {
        (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (127, [a, b, c, d, e, f, g, h, rest @ ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest),
        (126 | 127, _) => return Header::Incomplete,
        (length, rest) => (u64::from(length), rest),
    };
    let &[a, b, c, d] = rest else { return Header::Incomplete };
    let frame = Frame { is_last: first & 0x80 != 0, is_data: opcode < 8, mask: [a, b, c, d], seen: 0, length };
    Header::Frame { opcode, frame }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u8 = 0x81;
    const BINARY: u8 = 0x82;
    const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = match payload.len() {
            length @ 0..=125 => vec![0x80 | length as u8],
            length @ 126..=0xffff => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
            length => [&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [&[first][..], &length, &MASK, &masked.collect::<Vec<_>>()].concat()
    }

    /// The messages, when the bytes come in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Vec<(bool, Vec<u8>)> {
        let (mut reader, mut messages) = (MessageReader::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.read(piece, |message| messages.push((message.is_binary, message.start.to_vec())));
        }
        messages
    }

    #[test]
    fn messages_are_read_however_their_bytes_are_split() {
        let long = vec![7; 70_000];
        let bytes = [
            frame(TEXT, b"hello"),
            frame(BINARY, b""),
            frame(0x02, b"in "),
            frame(0x89, b"a ping in between"),
            frame(0x00, b"three "),
            frame(0x80, b"parts"),
            frame(BINARY, &long),
            frame(BINARY, &[1; 300]),
        ]
        .concat();
        let expected = [
            (false, b"hello".to_vec()),
            (true, Vec::new()),
            (true, b"in three parts".to_vec()),
            (true, long[..KEPT].to_vec()),
            (true, vec![1; 300]),
        ];
        for piece in [1, 2, 3, 7, 1000, 65_536, usize::MAX] {
            assert_eq!(read(&bytes, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn an_invalid_frame_ends_the_reading_and_nothing_else() {
        let unmasked = [BINARY, 1, 0];
        let compressed = frame(0xc2, b"x");
        let reserved = frame(0x83, b"x");
        let whole = frame(BINARY, b"x");
        for odd in [&unmasked[..], &compressed, &reserved] {
            let bytes = [&whole[..], odd, &whole].concat();
            assert_eq!(read(&bytes, 1), [(true, b"x".to_vec())]);
        }
    }

    #[test]
    fn a_length_of_exabytes_allocates_nothing() {
        let header = [&[BINARY, 0x80 | 127][..], &u64::MAX.to_be_bytes(), &MASK].concat();
        let bytes = [header, vec![0; 100_000]].concat();
        assert_eq!(read(&bytes, 1000), []);
    }
}
