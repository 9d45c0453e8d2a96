//! What epoll hands back with an event: 64 bits that name who it is for.

/// The 64 bits attached to a registration and returned with each of its events.
///
/// With the [`Poller`](crate::Poller) the value is the caller's own. The
/// [`Reactor`](crate::Reactor) packs `tag(8) | generation(24) | index(32)` into it, so that an
/// event of a closed descriptor is recognised as stale instead of reaching the slot's next owner.
///
/// ```
/// use ambidex_net::Token;
/// assert_eq!(u64::from(Token(7)), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        token.0
    }
}

const GENERATION_BITS: u32 = 24;
/// Generations wrap here; a stale event would need 2^24 reuses of one slot to be mistaken.
pub(crate) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
const TAG_SOURCE: u64 = 0x51;
const TAG_DOORBELL: u64 = 0xDB;
const TAG_REGISTRATION: u64 = 0x2E;

/// Slot and generation of a source in the readiness table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Who an epoll event is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Source(Key),
    Doorbell(u32),
    /// Of a [`Registry`](crate::Registry).
    Registration(Key),
    Unknown,
}

impl From<Key> for Token {
    fn from(key: Key) -> Token {
        Token((TAG_SOURCE << 56) | (u64::from(key.generation) << 32) | u64::from(key.index))
    }
}

pub(crate) fn registration(key: Key) -> Token {
    Token((TAG_REGISTRATION << 56) | (u64::from(key.generation) << 32) | u64::from(key.index))
}

pub(crate) fn doorbell(index: u32) -> Token {
    Token((TAG_DOORBELL << 56) | u64::from(index))
}

impl From<Token> for Target {
    fn from(token: Token) -> Target {
        let index = token.0 as u32;
        let generation = (token.0 >> 32) as u32 & GENERATION_MASK;
        match token.0 >> 56 {
            TAG_SOURCE => Target::Source(Key { index, generation }),
            TAG_DOORBELL if generation == 0 => Target::Doorbell(index),
            TAG_REGISTRATION => Target::Registration(Key { index, generation }),
            _ => Target::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_trip_through_epoll() {
        let key = Key {
            index: u32::MAX,
            generation: GENERATION_MASK,
        };
        assert_eq!(Target::from(Token::from(key)), Target::Source(key));
        assert_eq!(Target::from(doorbell(3)), Target::Doorbell(3));
        assert_eq!(Target::from(Token(0)), Target::Unknown);
        let nearly = Token(doorbell(3).0 | 1 << 32);
        assert_eq!(Target::from(nearly), Target::Unknown);
    }
    #[test]
    fn each_kind_and_each_bit_of_a_key_has_its_place() {
        let key = Key {
            index: 0x89ab_cdef,
            generation: 0x12_3456,
        };
        assert_eq!(Token::from(key), Token(0x5112_3456_89ab_cdef));
        assert_eq!(registration(key), Token(0x2e12_3456_89ab_cdef));
        assert_eq!(doorbell(0x89ab_cdef), Token(0xdb00_0000_89ab_cdef));
        assert_eq!(Target::from(registration(key)), Target::Registration(key));
        assert_eq!((GENERATION_MASK, u64::from(Token(7))), (0xff_ffff, 7));
    }
}
