//! What is about direct I/O alone.

use ambidex::disk::IoBuf;

use super::super::text::result_text;
use super::{Behaviour, Files};

const BLOCK: usize = 4096;

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "what direct I/O asks for is a power of two up to a block",
        expect: "memory true; offset true",
        script: |s| {
            let file = s.put("data", &[b'a'; 2 * BLOCK]);
            let Some(asked) = file.direct_io() else {
                return s.note("it does not tell");
            };
            let sound = |unit: u32| unit.is_power_of_two() && unit as usize <= BLOCK;
            s.note(format!("memory {}", sound(asked.memory)));
            s.note(format!("offset {}", sound(asked.offset)));
        },
    },
    Behaviour {
        name: "a direct read that is misaligned is refused, and what is wrong is named",
        expect: "direct I/O: the offset; direct I/O: the length; direct I/O: the address",
        script: |s| {
            let file = s.put("data", &[b'a'; 4 * BLOCK]);
            s.read(&file, 1, BLOCK);
            s.read(&file, 0, BLOCK + 1);
            let odd = s.buffer().slice(1..1 + BLOCK);
            let (result, _) = s.drive(file.read_at(odd, 0));
            s.note(result_text(&result));
        },
    },
    Behaviour {
        name: "a direct write that is misaligned is refused and changes nothing",
        expect: "direct I/O: the offset; direct I/O: the length; 4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.write(&file, 1, &[b'b'; BLOCK]);
            s.write(&file, 0, b"b");
            s.read(&file, 0, 2 * BLOCK);
        },
    },
];
