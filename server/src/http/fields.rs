//! The fields of a head that decide about its connection and its body.

use crate::http::request::{Body, Expectation, Refusal, Request};
use crate::http::target;

/// What must be seen of all fields before it can be judged.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    coding: Coding,
    close: bool,
    keep_alive: bool,
}

/// `Transfer-Encoding` so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Coding {
    /// No such field.
    #[default]
    Absent,
    /// Codings that do not say where the body ends.
    Unframed,
    /// `chunked` alone.
    Chunked,
    /// `chunked` after others.
    UnknownChunked,
}

impl<'a> Fields<'a> {
    /// Takes one field into account.
    ///
    /// # Errors
    /// Why the request cannot be understood.
    pub(crate) fn take(
        &mut self,
        request: &mut Request<'a>,
        name: &str,
        value: &'a [u8],
    ) -> Result<(), Refusal> {
        // The first of a field that must not be repeated counts; what is no UTF-8 is not understood.
        let keep = |slot: &mut Option<&'a str>| *slot = slot.or(std::str::from_utf8(value).ok());
        // Lengths differ among most of the names, so this costs one comparison each.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host(value)?,
            5 if name.eq_ignore_ascii_case("range") => keep(&mut request.range),
            6 if name.eq_ignore_ascii_case("expect") => expect(request, value),
            8 if name.eq_ignore_ascii_case("if-match") => {
                request.if_match = request.if_match.or(Some(value));
            }
            8 if name.eq_ignore_ascii_case("if-range") => keep(&mut request.if_range),
            10 if name.eq_ignore_ascii_case("connection") => self.connection(value),
            13 if name.eq_ignore_ascii_case("if-none-match") => {
                request.if_none_match = request.if_none_match.or(Some(value));
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case("if-modified-since") => {
                keep(&mut request.if_modified_since);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.transfer_encoding(value)?
            }
            19 if name.eq_ignore_ascii_case("if-unmodified-since") => {
                keep(&mut request.if_unmodified_since);
            }
            _ => {}
        }
        Ok(())
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::BadRequest),
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok())
            .ok_or(Refusal::BadRequest)?;
        if self.length.replace(length).is_some() {
            return Err(Refusal::BadRequest);
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for coding in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.coding = match (coding.eq_ignore_ascii_case(b"chunked"), self.coding) {
                (true, Coding::Absent) => Coding::Chunked,
                (true, Coding::Unframed) => Coding::UnknownChunked,
                (false, Coding::Absent | Coding::Unframed) if !coding.is_empty() => {
                    Coding::Unframed
                }
                // Chunked twice, or not last, or nothing between commas.
                _ => return Err(Refusal::BadRequest),
            };
        }
        Ok(())
    }

    /// Writes into `request` what all fields together say.
    ///
    /// # Errors
    /// Why the request cannot be understood.
    pub(crate) fn conclude(
        self,
        request: &mut Request<'a>,
        version_1_1: bool,
    ) -> Result<(), Refusal> {
        request.authority = match self.host.map(std::str::from_utf8) {
            Some(Ok(host)) if target::is_host(host) => Some(host),
            // RFC 9112, 3.2: exactly one Host in HTTP/1.1.
            None if !version_1_1 => None,
            _ => return Err(Refusal::BadRequest),
        };
        request.body = match (self.coding, self.length) {
            (Coding::Absent, None | Some(0)) => Body::None,
            (Coding::Absent, Some(length)) => Body::Length(length),
            // RFC 9112, 6.1: both lengths is an attack; no codings in HTTP/1.0.
            (Coding::Chunked, None) if version_1_1 => Body::Chunked,
            (Coding::UnknownChunked, None) if version_1_1 => return Err(Refusal::Coding),
            _ => return Err(Refusal::BadRequest),
        };
        if !version_1_1 {
            // RFC 9110, 10.1.1.
            request.expectation = Expectation::None;
        }
        request.keep_alive = !self.close && (version_1_1 || self.keep_alive);
        Ok(())
    }
}

fn expect(request: &mut Request<'_>, value: &[u8]) {
    let understood = value.eq_ignore_ascii_case(b"100-continue");
    request.expectation = match request.expectation {
        Expectation::None | Expectation::Continue if understood => Expectation::Continue,
        _ => Expectation::Other,
    };
}
