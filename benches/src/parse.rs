//! What users write on the command line: sizes, durations, addresses.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::disk::{IoEngine, Pattern};

/// The largest block: one read moves no more than 2 GiB less a page.
const BS_MAX: u64 = 1 << 30;
/// No disk has smaller ones.
const SECTOR_BYTES: u64 = 512;
/// Thirty years. Much more, added to the time that it is, would be a time that cannot be.
const TIME_MAX: Duration = Duration::from_secs(1_000_000_000);
/// The most entries that an io_uring submission queue has.
const IODEPTH_MAX: usize = 32_768;

/// Reads a size in bytes as fio writes it: `512`, `64k`, `4M`, `1g`; powers of 1024.
///
/// # Errors
/// What is wrong with it, for a user.
///
/// ```
/// assert_eq!(ambidex_bench::parse::size("64k"), Ok(65_536));
/// ```
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    // u64's own parser would take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a size: write 512, 64k, 4M or 1g".to_owned());
    }
    let number: u64 = digits.parse().map_err(|_| "too large")?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("a size must be above 0".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("too large".to_owned()),
    }
}

/// Reads a number of seconds above 0, such as `5` or `0.5`.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match non_negative_seconds(text)? {
        Duration::ZERO => Err("give a number of seconds above 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a number of seconds, 0 included.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn non_negative_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= TIME_MAX => Ok(duration),
        _ => Err("not a possible number of seconds".to_owned()),
    }
}

/// Reads a rate a second above 0, and gives the time between two.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn interval(text: &str) -> Result<Duration, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number")?;
    match Duration::try_from_secs_f64(1.0 / rate) {
        Ok(interval) if !interval.is_zero() && interval <= TIME_MAX => Ok(interval),
        _ => Err("give a rate above 0".to_owned()),
    }
}

/// Reads the exponent of Zipf's law, 0 (all alike) or more.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent @ 0.0..=20.0) => Ok(exponent),
        _ => Err("give a number from 0 to 20".to_owned()),
    }
}

/// Reads which blocks are read or written, as fio writes it: `read`, `randrw`.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn rw(text: &str) -> Result<Pattern, String> {
    // fio has two words for it.
    let text = if text == "rw" { "readwrite" } else { text };
    let found = Pattern::ALL.into_iter().find(|rw| rw.name() == text);
    found.ok_or_else(|| {
        let names = Pattern::ALL.map(Pattern::name);
        format!("write one of {}", names.join(", "))
    })
}

/// Reads who reads and writes: `hybrid`, `pread`.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn io_engine(text: &str) -> Result<IoEngine, String> {
    let mut all = IoEngine::ALL.into_iter();
    all.find(|engine| engine.name() == text).ok_or_else(|| {
        let names = IoEngine::ALL.map(IoEngine::name);
        format!("write one or more of {}", names.join(","))
    })
}

/// Reads the size of one operation: whole sectors, and at most 1 GiB.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn bs(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes @ ..=BS_MAX if bytes.is_multiple_of(SECTOR_BYTES) => Ok(bytes),
        _ => Err("a block is a multiple of 512, at most 1g".to_owned()),
    }
}

/// Reads a number of threads or of rounds.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn numjobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=1024) => Ok(jobs),
        _ => Err("give a number from 1 to 1024".to_owned()),
    }
}

/// Reads how many reads are made at a time.
///
/// # Errors
/// What is wrong with it, for a user.
pub fn iodepth(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(depth @ 1..=IODEPTH_MAX) => Ok(depth),
        _ => Err(format!("give a number from 1 to {IODEPTH_MAX}")),
    }
}

/// An `http://` address, taken apart; RFC 3986.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// What the Host field says.
    pub host: String,
    /// What is connected to: the host with its port.
    pub authority: String,
    /// Path and query, with the leading `/`.
    pub target: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err("an address starts with http://".to_owned());
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("write blanks and other than ASCII characters as %XX".to_owned());
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(path_at);
        if host.is_empty() || host.contains('@') {
            return Err("an address looks like http://HOST:PORT/PATH".to_owned());
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url {
            host: host.to_owned(),
            authority: format!("{host}{}", if has_port { "" } else { ":80" }),
            target: format!("{slash}{target}"),
        })
    }
}

impl Url {
    /// Looks the host up.
    ///
    /// # Errors
    /// Those of getaddrinfo(3).
    ///
    /// # Blocking
    /// For the resolver.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let found = self.authority.to_socket_addrs()?.next();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// The request for what this address names.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.target, self.host
        )
        .into_bytes()
    }

    /// The same, after which the server is to close the connection.
    #[must_use]
    pub fn last_request(&self) -> Vec<u8> {
        let mut request = self.request();
        request.truncate(request.len() - 2);
        request.extend_from_slice(b"Connection: close\r\n\r\n");
        request
    }

    /// The address of `target` (path and query) on the same server.
    ///
    /// # Errors
    /// What is wrong with it, for a user.
    pub fn at(&self, target: &str) -> Result<Url, String> {
        if !target.starts_with('/') {
            return Err("a path starts with /".to_owned());
        }
        let url: Url = format!("http://{}{target}", self.host).parse()?;
        Ok(Url {
            authority: self.authority.clone(),
            ..url
        })
    }

    /// The address of `name` in the directory that this address names.
    #[must_use]
    pub fn join(&self, name: &str) -> Url {
        let slash = if self.target.ends_with('/') { "" } else { "/" };
        Url {
            target: format!("{}{slash}{name}", self.target),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("1"), Ok(1));
        assert_eq!(size("64k"), Ok(64 << 10));
        assert_eq!(size("4M"), Ok(4 << 20));
        assert_eq!(size("3g"), Ok(3 << 30));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "", "k", "0", "0k", "-1", "+1", "1.5k", "4kb", "k4", "4 k", "ä",
        ] {
            assert!(size(text).is_err(), "{text:?}");
        }
        assert!(size("99999999999999999999").is_err());
        assert!(size("18014398509481984k").is_err(), "2^64 does not fit");
    }

    #[test]
    fn durations_and_rates_are_above_zero() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(non_negative_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(interval("500"), Ok(Duration::from_millis(2)));
        for text in ["0", "-1", "nan", "inf", "1e19", "1e-19", "x", ""] {
            assert!(seconds(text).is_err(), "{text:?}");
            assert!(interval(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fios_words_are_understood_and_no_others() {
        for pattern in Pattern::ALL {
            assert_eq!(rw(pattern.name()), Ok(pattern));
        }
        assert_eq!(rw("rw"), Ok(Pattern::ReadWrite));
        for engine in IoEngine::ALL {
            assert_eq!(io_engine(engine.name()), Ok(engine));
        }
        for text in ["", "trim", "READ", "randread "] {
            assert!(rw(text).is_err() && io_engine(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depths_and_blocks_have_bounds() {
        assert_eq!(iodepth("1"), Ok(1));
        assert_eq!(iodepth("32768"), Ok(32_768));
        assert_eq!(numjobs("1024"), Ok(1024));
        assert_eq!(bs("512"), Ok(512));
        assert_eq!(bs("1g"), Ok(1 << 30));
        for text in ["0", "32769", "-1", "x", ""] {
            assert!(iodepth(text).is_err() && numjobs(text).is_err(), "{text:?}");
        }
        assert!(bs("513").is_err() && bs("1025m").is_err());
    }

    #[test]
    fn an_address_is_taken_apart() {
        let url: Url = "http://localhost:8080/a/b?c=d#e".parse().unwrap();
        assert_eq!(url.authority, "localhost:8080");
        assert_eq!(url.target, "/a/b?c=d");
        let bare: Url = "http://[::1]".parse().unwrap();
        assert_eq!(bare.authority, "[::1]:80");
        assert_eq!(bare.target, "/");
        assert_eq!(bare.request(), b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
        let query: Url = "http://h?q".parse().unwrap();
        assert_eq!(query.target, "/?q");
    }

    #[test]
    fn addresses_that_cannot_be_asked_are_refused() {
        for text in [
            "",
            "localhost",
            "https://h/",
            "http://",
            "http:///x",
            "http://a@b/",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text:?}");
        }
        assert!(
            "http://h/a b\r\nX: y".parse::<Url>().is_err(),
            "it would smuggle a field"
        );
    }

    #[test]
    fn other_paths_of_a_server_are_checked_as_addresses_are() {
        let url: Url = "http://h:81/a".parse().unwrap();
        let other = url.at("/b?c").unwrap();
        assert_eq!(
            (other.authority.as_str(), other.target.as_str()),
            ("h:81", "/b?c")
        );
        assert!(url.at("b").is_err() && url.at("/b c").is_err());
        let last = other.last_request();
        assert!(last.ends_with(b"Host: h:81\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn names_are_joined_with_one_slash() {
        for text in ["http://h/cold", "http://h/cold/"] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.join("x.bin").target, "/cold/x.bin");
        }
    }
}
