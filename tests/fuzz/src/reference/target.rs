//! RFC 9112, 3.2 and RFC 3986, 5.2.4: from a request target to the segments of a path.

/// What a target names within the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Decoded, without dots.
    pub segments: Vec<Vec<u8>>,
    /// The path ends in a slash, or in dots.
    pub directory: bool,
    /// With its question mark.
    pub query: Vec<u8>,
}

/// The authority of a target in absolute-form.
#[must_use]
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = target.get(..7)?;
    let end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    scheme
        .eq_ignore_ascii_case(b"http://")
        .then(|| target[7..].split(end).next().unwrap_or_default())
}

/// `None` for what is in neither origin-form nor absolute-form, or leads nowhere.
#[must_use]
pub fn place(target: &[u8]) -> Option<Place> {
    let local = match authority(target) {
        Some(authority) => &target[7 + authority.len()..],
        None => target,
    };
    let local = match (local.first(), authority(target)) {
        (Some(b'/'), _) => local,
        // Rule: without a path there is no query either.
        (_, Some(_)) => b"/",
        (_, None) => return None,
    };
    let without_fragment = local.split(|byte| *byte == b'#').next()?;
    let mut halves = without_fragment.splitn(2, |byte| *byte == b'?');
    let path = decode(halves.next()?)?;
    let query = halves
        .next()
        .map_or(Vec::new(), |query| [b"?", query].concat());
    // Rule: an escaped slash is a slash, a NUL is nobody's.
    let raw: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in &raw {
        match *segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()?),
            name => segments.push(name.to_vec()),
        }
    }
    let directory = matches!(raw.last(), Some(&(b"" | b"." | b"..")));
    (!path.contains(&0)).then_some(Place {
        segments,
        directory,
        query,
    })
}

fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(*bytes.next()?).to_digit(16)?;
                let low = char::from(*bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            plain => *plain,
        });
    }
    Some(decoded)
}
