//! The head of an answer as a client reads it.

/// A head.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) status: u16,
    /// Its lines after the first.
    fields: &'a str,
    /// Bytes of it.
    pub(super) bytes: usize,
}

impl<'a> Head<'a> {
    /// The head that `heard` begins with; `None` if it is not whole.
    pub(super) fn parse(heard: &'a [u8]) -> Result<Option<Head<'a>>, &'static str> {
        const START: &[u8] = b"HTTP/1.1 ";
        if !heard.starts_with(&START[..START.len().min(heard.len())]) {
            return Err("no answer");
        }
        let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = str::from_utf8(&heard[..end]).map_err(|_| "a head that is no text")?;
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let (_, fields) = head.split_once("\r\n").ok_or("a head without fields")?;
        Ok(Some(Head {
            status: status.ok_or("no status")?,
            fields,
            bytes: end + 4,
        }))
    }

    /// The value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// How long it says that the body is.
    pub(super) fn length(&self) -> Result<Option<usize>, &'static str> {
        let length = self.field("content-length").map(str::parse);
        length.transpose().map_err(|_| "no length")
    }

    /// Whether it says that the connection ends.
    pub(super) fn closes(&self) -> bool {
        let connection = self.field("connection");
        connection.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}
