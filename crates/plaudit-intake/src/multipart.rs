//! The form of a multipart body (RFC 7578, RFC 2046 section 5.1), read as it arrives.
//!
//! A body is parts between delimiters: `CRLF -- boundary`. Of what is not understood yet
//! no more is held than a chunk and what the search for the next delimiter needs.
//!
//! Our own, and not a library's: the one there is takes in whatever is ready, without a
//! bound, and spent a third of what a request of small parts costs; keeping it within
//! bounds took more lines than the form has.

use bytes::{Buf as _, BytesMut};
use memchr::memmem::Finder;

/// Reads the form: bytes are [put](Self::put) in, and [told](Self::next) what they are.
pub(crate) struct Reader {
    /// Before a part, and at its end.
    delimiter: Finder<'static>,
    end_of_headers: Finder<'static>,
    unread: BytesMut,
    /// How much of it was told last, and goes when more is asked.
    told: usize,
    /// How much of it was searched in vain.
    searched: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the first part, whose delimiter needs no line before it.
    Preamble,
    /// Right after a delimiter: another part, or the end.
    Delimiter,
    Headers,
    Content,
    End,
}

/// What comes next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Piece<'r> {
    /// More bytes are needed.
    Starved,
    /// A part begins; its name, as it is spelled.
    Part(Option<&'r str>),
    /// Bytes of its content.
    Content(&'r [u8]),
    /// The last part has ended.
    End,
}

/// It is no such form.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("is not multipart/form-data")]
    Form,
    #[error("has no boundary")]
    NoBoundary,
    #[error("has no parts where they should be")]
    NoParts,
}

/// The most that may stand before the first part, or be a part's headers, in bytes.
const MAX_UNREAD: usize = 256 << 10;

/// The most blanks between a delimiter and the end of its line.
const MAX_PADDING: usize = 256;

const LINE: &[u8] = b"\r\n";
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

impl Reader {
    /// `boundary` is what [`boundary`] says.
    pub(crate) fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            end_of_headers: Finder::new(EMPTY_LINE),
            unread: BytesMut::from(LINE),
            told: 0,
            searched: 0,
            state: State::Preamble,
        }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// What comes next of the bytes that are there.
    ///
    /// # Errors
    /// [`Malformed`] when they are not a form's.
    pub(crate) fn next(&mut self) -> Result<Piece<'_>, Malformed> {
        self.unread.advance(std::mem::take(&mut self.told));
        loop {
            match self.state {
                State::Preamble => {
                    let Some(at) = self.search(|reader| &reader.delimiter)? else {
                        return Ok(Piece::Starved);
                    };
                    self.unread.advance(at + self.delimiter.needle().len());
                    self.state = State::Delimiter;
                }
                State::Delimiter => {
                    let padding = self.unread.iter().take_while(|byte| is_blank(**byte));
                    let padding = padding.count();
                    let rest = self.unread.get(padding..).unwrap_or_default();
                    if rest.starts_with(b"--") {
                        self.state = State::End;
                    } else if rest.starts_with(LINE) {
                        // The line's end stays: of no headers it is the end too.
                        self.unread.advance(padding);
                        self.state = State::Headers;
                    } else if rest.len() < LINE.len() && padding < MAX_PADDING {
                        return Ok(Piece::Starved);
                    } else {
                        return Err(Malformed::Form);
                    }
                }
                State::Headers => {
                    let Some(end) = self.search(|reader| &reader.end_of_headers)? else {
                        return Ok(Piece::Starved);
                    };
                    self.told = end + EMPTY_LINE.len();
                    self.state = State::Content;
                    return Ok(Piece::Part(self.unread.get(..end).and_then(name_in)));
                }
                State::Content => {
                    let delimiter = self.delimiter.needle().len();
                    let length = match self.delimiter.find(&self.unread) {
                        Some(at) => {
                            self.told = at + delimiter;
                            self.state = State::Delimiter;
                            at
                        }
                        None => {
                            // Its first bytes may be there.
                            self.told = self.unread.len().saturating_sub(delimiter - 1);
                            if self.told == 0 {
                                return Ok(Piece::Starved);
                            }
                            self.told
                        }
                    };
                    let content = self.unread.get(..length).unwrap_or_default();
                    return Ok(Piece::Content(content));
                }
                State::End => return Ok(Piece::End),
            }
        }
    }

    /// Where it is, looked for once in each byte.
    fn search(&mut self, of: fn(&Self) -> &Finder<'static>) -> Result<Option<usize>, Malformed> {
        let unsearched = self.unread.get(self.searched..).unwrap_or_default();
        if let Some(at) = of(self).find(unsearched) {
            return Ok(Some(std::mem::take(&mut self.searched) + at));
        }
        if self.unread.len() > MAX_UNREAD {
            return Err(Malformed::NoParts);
        }
        let overlap = of(self).needle().len() - 1;
        self.searched = self.unread.len().saturating_sub(overlap);
        Ok(None)
    }
}

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    let is_form = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    let boundary = parameter(parameters, "boundary").filter(|_| is_form)?;
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// The name that a part's headers say; its header is the one that every part has.
fn name_in(headers: &[u8]) -> Option<&str> {
    let headers = std::str::from_utf8(headers).ok()?;
    headers.split("\r\n").find_map(|line| {
        let (name, content) = line.split_once(':')?;
        let (_, parameters) = content.split_once(';')?;
        let is_disposition = name.trim().eq_ignore_ascii_case("content-disposition");
        parameter(parameters, "name").filter(|_| is_disposition)
    })
}

/// The content of a parameter, `key=token` or `key="text"`; what is escaped in a text
/// stays so.
fn parameter<'p>(mut parameters: &'p str, wanted: &str) -> Option<&'p str> {
    loop {
        let (key, rest) = parameters.split_once('=')?;
        let (content, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (quoted.get(..end)?, quoted.get(end + 1..)?)
            }
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                let (token, rest) = rest.split_at_checked(end)?;
                (token.trim(), rest)
            }
        };
        // What stands before it without a content is no parameter.
        let key = key.rsplit(';').next().unwrap_or_default();
        if key.trim().eq_ignore_ascii_case(wanted) {
            return Some(content);
        }
        parameters = rest.trim_start().strip_prefix(';')?;
    }
}

fn closing_quote(quoted: &str) -> Option<usize> {
    let mut is_escaped = false;
    quoted.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and contents, whatever the chunks are.
    fn read(body: &[u8], chunk: usize) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
        let mut reader = Reader::new("b");
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        let mut chunks = body.chunks(chunk);
        loop {
            match reader.next()? {
                Piece::Starved => match chunks.next() {
                    Some(chunk) => reader.put(chunk),
                    None => return Err(Malformed::Form),
                },
                Piece::Part(name) => parts.push((name.unwrap_or_default().to_owned(), Vec::new())),
                Piece::Content(bytes) => parts.last_mut().unwrap().1.extend_from_slice(bytes),
                Piece::End => return Ok(parts),
            }
        }
    }

    #[test]
    fn parts_are_the_same_however_they_arrive() {
        let body = b"before it\r\n--b \t\r\nContent-Type: application/json\r\n\
            content-disposition: form-data; filename=\"name=x;\\\"\"; name=\"one\"\r\n\r\n{}\r\n--\r\n--bb\r\n--b\r\n\
            Content-Disposition: form-data; name=two\r\n\r\n\r\n--b\r\n\r\nno headers\r\n--b--\r\nafter it";
        // `--bb` is what the delimiter begins, as RFC 2046 warns who picks a boundary.
        for chunk in 1..body.len() {
            assert_eq!(read(body, chunk), Err(Malformed::Form), "{chunk}");
        }
        let text = String::from_utf8(body.to_vec()).unwrap();
        let body = text.replace("--bb", "--c").into_bytes();
        let part = |name: &str, content: &[u8]| (name.to_owned(), content.to_vec());
        let expected = [
            part("one", b"{}\r\n--\r\n--c"),
            part("two", b""),
            part("", b"no headers"),
        ];
        for chunk in 1..body.len() {
            assert_eq!(read(&body, chunk).unwrap(), expected, "{chunk}");
        }
    }

    #[test]
    fn no_parts_are_a_form_too_and_a_part_that_breaks_off_is_none() {
        assert_eq!(read(b"--b--", 1), Ok(Vec::new()));
        for broken in [
            &b""[..],
            b"--b",
            b"--b\r\n",
            b"--b-",
            b"--bx\r\n\r\n\r\n--b--",
            b"--b\r\nA: b\r\n\r\n",
            b"--b\r\n\r\ncontent\r\n--",
            b"\r\n-b--",
        ] {
            assert_eq!(read(broken, 3), Err(Malformed::Form));
        }
    }

    #[test]
    fn p5_what_is_no_part_is_not_held() {
        for endless in [&b"x"[..], b"--b\r\n", b"--b "] {
            let body = [endless, &[b'\t'; MAX_UNREAD + 100]].concat();
            let error = read(&body, 1000).unwrap_err();
            assert!(matches!(error, Malformed::NoParts | Malformed::Form));
        }
        let mut reader = Reader::new("b");
        reader.put(b"--b\r\n\r\n");
        assert_eq!(reader.next(), Ok(Piece::Part(None)));
        for _ in 0..100 {
            reader.put(&[b'x'; 1000]);
            while reader.next() != Ok(Piece::Starved) {}
            assert!(reader.unread.len() < 10);
        }
    }

    #[test]
    fn p5_a_part_is_told_as_soon_as_its_headers_are_there() {
        let whole = [
            &b"--b\r\nContent-Disposition: form-data; name=post.1\r\n\r\n"[..],
            &[b'x'; 1 << 20],
        ];
        let whole = whole.concat();
        let mut reader = Reader::new("b");
        let mut taken = 0;
        for chunk in whole.chunks(1000) {
            taken += 1;
            reader.put(chunk);
            match reader.next().unwrap() {
                Piece::Starved => {}
                told => {
                    assert_eq!(told, Piece::Part(Some("post.1")));
                    break;
                }
            }
        }
        let all = whole.len().div_ceil(1000);
        assert!(
            taken < 10,
            "{taken} of {all} chunks for the first part's name"
        );
    }

    #[test]
    fn a_boundary_is_told_from_a_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "Multipart/Form-Data; charset=utf-8; Boundary=\"a b;c\"",
                Some("a b;c"),
            ),
            ("multipart/form-data;boundary=abc ; x=y", Some("abc")),
            ("multipart/form-data; x; boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"abc", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/json; boundary=abc", None),
        ] {
            assert_eq!(
                boundary(content_type).as_deref(),
                expected,
                "{content_type}"
            );
        }
    }
}
