//! The chunked transfer coding, read only to be thrown away. RFC 9112, 7.1.

/// Most bytes of the extensions of one chunk.
const EXTENSION_BYTES_MAX: usize = 256;
/// Most bytes of the trailer section.
const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// A body that breaks the coding or its bounds: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// Finds the end of a chunked body, in however many pieces it comes.
///
/// ```
/// use ambidex_server::http::chunked::Chunked;
/// let mut chunked = Chunked::default();
/// assert_eq!(chunked.skip(b"5\r\nhel"), Ok((6, false)));
/// assert_eq!(chunked.skip(b"lo\r\n0\r\n\r\nGET"), Ok((9, true)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Within the digits of a size: their number and value.
    Size(u32, u64),
    /// After a size: the bytes so far.
    Extension(u64, usize),
    SizeEnd(u64),
    Data(u64),
    DataEnd,
    DataNewline,
    /// At the start of a trailer line: the bytes of the section so far.
    Line(usize),
    Name(usize),
    Value(usize),
    LineNewline(usize),
    LastNewline,
    Done,
}

impl Default for State {
    fn default() -> State {
        State::Size(0, 0)
    }
}

impl Chunked {
    /// Takes bytes of the body off the start of `bytes`: how many, and whether the body has ended.
    ///
    /// # Errors
    /// [`BadChunk`], whereafter nothing can be said about what follows.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<(usize, bool), BadChunk> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Done = self.state {
                break;
            }
            if let State::Data(left) = self.state {
                let here = (bytes.len() - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                at += here;
                self.state = match left - here as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
                continue;
            }
            self.state = step(self.state, bytes[at])?;
            at += 1;
        }
        Ok((at, matches!(self.state, State::Done)))
    }
}

fn step(state: State, byte: u8) -> Result<State, BadChunk> {
    Ok(match (state, byte) {
        // 15 digits cannot wrap a u64, and nobody has such a chunk.
        (State::Size(count, size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if count < 15 => {
            let digit = char::from(byte).to_digit(16).unwrap_or(0);
            State::Size(count + 1, size * 16 + u64::from(digit))
        }
        (State::Size(1.., size), b';') => State::Extension(size, 0),
        (State::Size(1.., size) | State::Extension(size, _), b'\r') => State::SizeEnd(size),
        (State::Extension(size, length), _) if is_value(byte) && length < EXTENSION_BYTES_MAX => {
            State::Extension(size, length + 1)
        }
        (State::SizeEnd(0), b'\n') => State::Line(0),
        (State::SizeEnd(size), b'\n') => State::Data(size),
        (State::DataEnd, b'\r') => State::DataNewline,
        (State::DataNewline, b'\n') => State::Size(0, 0),
        (State::Line(_), b'\r') => State::LastNewline,
        (State::LastNewline, b'\n') => State::Done,
        (State::Line(seen) | State::Name(seen), _) if is_token(byte) => State::Name(within(seen)?),
        (State::Name(seen), b':') => State::Value(within(seen)?),
        (State::Value(seen), b'\r') => State::LineNewline(seen),
        (State::Value(seen), _) if is_value(byte) => State::Value(within(seen)?),
        (State::LineNewline(seen), b'\n') => State::Line(within(seen)?),
        _ => return Err(BadChunk),
    })
}

fn within(seen: usize) -> Result<usize, BadChunk> {
    if seen < TRAILER_BYTES_MAX {
        Ok(seen + 1)
    } else {
        Err(BadChunk)
    }
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same for every way to cut `body` in two.
    fn skipped(body: &[u8]) -> Result<(usize, bool), BadChunk> {
        let whole = Chunked::default().skip(body);
        for cut in 0..body.len() {
            let mut chunked = Chunked::default();
            let cut_up = chunked.skip(&body[..cut]).and_then(|(first, done)| {
                if done {
                    return Ok((first, true));
                }
                let (second, done) = chunked.skip(&body[cut..])?;
                Ok((first + second, done))
            });
            assert_eq!(cut_up, whole, "{} at {cut}", body.escape_ascii());
        }
        whole
    }

    #[test]
    fn the_end_of_a_body_is_found_wherever_it_is_cut() {
        for (body, length) in [
            ("0\r\n\r\n", 5),
            ("5\r\nhello\r\n0\r\n\r\nrest", 15),
            ("A\r\n0123456789\r\n000\r\n\r\n", 22),
            ("1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", 23),
            ("0\r\nTrailer: x\r\nB:\r\n\r\n\r\n", 21),
        ] {
            assert_eq!(skipped(body.as_bytes()), Ok((length, true)), "{body}");
        }
        assert_eq!(skipped(b"ff\r\nabc"), Ok((7, false)));
    }

    #[test]
    fn what_others_might_read_otherwise_is_refused() {
        for body in [
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "g\r\n",
            ";a\r\n",
            "1\n",
            "1\r\r\n",
            "1;a\nb\r\n",
            "1;a\0\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na0\r\n\r\n",
            "0\r\n folded: x\r\n",
            "0\r\nNo colon\r\n",
            "0\r\nA : b\r\n",
            "0\r\nA: b\n",
            "0\r\n: b\r\n",
            "0\r\n\n",
            "0\r\nA: \x01\r\n",
            "fffffffffffffffff\r\n",
            "00000000000000001\r\n",
        ] {
            assert_eq!(
                skipped(body.as_bytes()),
                Err(BadChunk),
                "{}",
                body.escape_debug()
            );
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let body = |extension: usize, trailer: usize| {
            let (extension, trailer) = ("e".repeat(extension), "t".repeat(trailer));
            format!("0;{extension}\r\nA:{trailer}\r\n\r\n").into_bytes()
        };
        let bad = |extension, trailer| Chunked::default().skip(&body(extension, trailer)).is_err();
        assert!(!bad(EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX - 8));
        assert!(bad(EXTENSION_BYTES_MAX + 1, 0) && bad(0, TRAILER_BYTES_MAX));
        let lines = format!("0\r\n{}\r\n", "A:\r\n".repeat(TRAILER_BYTES_MAX / 3 + 1));
        assert!(Chunked::default().skip(lines.as_bytes()).is_err());
    }

    #[test]
    fn bounds_hold_to_the_byte() {
        let size = |digits: usize| format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(digits - 1));
        assert_eq!(skipped(size(15).as_bytes()), Ok((25, true)));
        assert_eq!(skipped(size(16).as_bytes()), Err(BadChunk));
        // The colon, the name and the line end count.
        let trailer = |bytes: usize| {
            let body = format!("0\r\nA:{}\r\n\r\n", "t".repeat(bytes - 3));
            Chunked::default().skip(body.as_bytes())
        };
        let most = 4096;
        assert_eq!(trailer(most), Ok((most + 6, true)));
        assert_eq!(trailer(most + 1), Err(BadChunk));
    }

    #[test]
    fn sizes_are_hexadecimal_in_either_case() {
        for (digits, size) in [("10", 16), ("1f", 31), ("1F", 31), ("1a2", 0x1a2)] {
            let body = format!("{digits}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
            assert_eq!(skipped(body.as_bytes()), Ok((body.len(), true)), "{digits}");
        }
    }

    #[test]
    fn values_hold_tabs_and_what_is_no_ascii_but_no_controls() {
        assert_eq!(skipped(b"0\r\nA: \t\xff\r\n\r\n"), Ok((12, true)));
        assert_eq!(skipped(b"1;a=\t\r\nx\r\n0\r\n\r\n"), Ok((15, true)));
        for body in [
            &b"0\r\nA: \x7f\r\n\r\n"[..],
            b"1;\x7f\r\n",
            b"0\r\nA\t: b\r\n\r\n",
        ] {
            assert_eq!(skipped(body), Err(BadChunk), "{}", body.escape_ascii());
        }
    }
}
