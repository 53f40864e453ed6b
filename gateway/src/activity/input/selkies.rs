//! Input in the messages of a Selkies client ([its server], as of 2.1.0, and LinuxServer's images). An open page
//! reports all the time which frames it has received, its statistics, and its size.
//!
//! [its server]: https://github.com/selkies-project/selkies

use super::websocket::Message;

/// Whether only a Selkies client sends this message. Such a message is among its first, in varying order.
pub fn is_characteristic(Message { is_binary, start }: Message) -> bool {
    const OWN: [&[u8]; 6] =
        [b"_gz,", b"SETTINGS,", b"START_AUDIO", b"START_VIDEO", b"STOP_VIDEO", b"CLIENT_FRAME_ACK "];
    !is_binary && OWN.iter().any(|own| start.starts_with(own))
}

/// Whether a websocket message carries a key, a pointer, the clipboard, or part of a file.
pub fn is_input(Message { is_binary, start }: Message) -> bool {
    if is_binary {
        // The other types are the microphone, the camera, and compressed text, which is long: settings, or copied text,
        // which comes with a key.
        return start.first() == Some(&FILE);
    }
    let mut words = start.split(|byte| matches!(byte, b',' | b':'));
    match words.next().unwrap_or_default() {
        // Key down, key up, key held; text from an input method.
        b"kd" | b"ku" | b"kh" | b"co" => true,
        // Pointer position, pointer movement; two fingers on a touchpad.
        b"m" | b"m2" | b"sf" | b"sfe" => true,
        // Text (cw) or other content (cb) copied outside: at once, or as start, data and end.
        b"cw" | b"cws" | b"cwd" | b"cwe" | b"cb" | b"cbs" | b"cbd" | b"cbe" => true,
        // A program from the page's own menu, and uploaded files.
        b"cmd" | b"FILE_UPLOAD_START" | b"FILE_UPLOAD_END" => true,
        // Buttons and axes of a gamepad, but not that it is plugged in.
        b"js" => matches!(words.next(), Some(b"b" | b"a")),
        _ => false,
    }
}

const FILE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(start: &str) -> Message<'_> {
        Message { is_binary: false, start: start.as_bytes() }
    }

    fn binary(start: &[u8]) -> Message<'_> {
        Message { is_binary: true, start }
    }

    #[test]
    fn keys_pointer_clipboard_gamepad_and_files_are_input() {
        for input in [
            "kd,65",
            "ku,65",
            "kh,65,66",
            "co,end,\u{e9}",
            "m,100,200,0,0,17",
            "m2,-3,4,1,0",
            "sf,0.00,-12.50",
            "sfe",
            "cw,aGk=",
            "cws,1,70000",
            "cwd,1,aGk=",
            "cwe,1",
            "cb,image/png,aGk=",
            "cbs,1,image/png,70000",
            "cbd,1,aGk=",
            "cbe,1",
            "js,b,0,3,1",
            "js,a,0,1,-0.5",
            "cmd,xterm",
            "FILE_UPLOAD_START:a.txt:5",
            "FILE_UPLOAD_END:a.txt",
        ] {
            assert!(is_input(text(input)), "{input}");
        }
        assert!(is_input(binary(&[1, 2, 3])));
    }

    /// All that the client of 2.1.0 sends without user input.
    #[test]
    fn what_an_open_page_sends_by_itself_is_not_input() {
        for open in [
            "_gz,1",
            "SETTINGS,{\"m\":1}",
            "CLIENT_FRAME_ACK 17 0",
            "cr",
            "REQUEST_CLIPBOARD",
            "r,1280x720,primary",
            "s,96",
            "START_VIDEO",
            "STOP_VIDEO",
            "START_AUDIO",
            "STOP_AUDIO",
            "REQUEST_KEYFRAME",
            "LOST_FRAME 3",
            "DECODE_PACE 30",
            "SET_NATIVE_CURSOR_RENDERING,1",
            "_f,60",
            "_l,12",
            "_stats_video,{}",
            "_arg_fps,60",
            "_pointer_echo,1",
            "p,1",
            "vp,0.00,0.00,1.0000,1.0000",
            "vb,8000",
            "ab,128000",
            "kr",
            "js,c,0,cGFk,4,17",
            "js,d,0",
            "js,h,0",
            "pong,1",
            "",
            "kdx,65",
            "HELLO client {}",
        ] {
            assert!(!is_input(text(open)), "{open}");
        }
        for open in [&[2, 0, 0, 0, 0, 0, 0][..], &[3, 1, 1], &[4, 0], &[5, 0x1f, 0x8b], &[]] {
            assert!(!is_input(binary(open)), "{open:?}");
        }
    }
}
