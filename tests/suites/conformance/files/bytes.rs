//! Reading and writing, in whole blocks: buffered and direct.

use ambidex::disk::{Flush, OpenOptions};

use super::super::text::{result_text, shape};
use super::{Behaviour, Files};

/// A block that every filesystem transfers directly.
const BLOCK: usize = 4096;

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "what was written is read",
        expect: "4096; 4096 a*4096",
        script: |s| {
            let file = s.put("data", b"");
            s.write(&file, 0, &[b'a'; BLOCK]);
            s.read(&file, 0, BLOCK);
        },
    },
    Behaviour {
        name: "a read at the end of a file is 0",
        expect: "0",
        script: |s| {
            let file = s.put("data", &[b'a'; 2 * BLOCK]);
            s.read(&file, 2 * BLOCK as u64, BLOCK);
        },
    },
    Behaviour {
        name: "a read beyond the end of a file is 0, unless it would end past i64",
        expect: "0; EINVAL",
        script: |s| {
            let file = s.put("data", &[b'a'; 2 * BLOCK]);
            s.read(&file, 1 << 20, BLOCK);
            s.read(&file, i64::MAX as u64 + 1 - BLOCK as u64, BLOCK);
        },
    },
    Behaviour {
        name: "a read of an empty file is 0",
        expect: "0",
        script: |s| {
            let file = s.put("data", b"");
            s.read(&file, 0, BLOCK);
        },
    },
    Behaviour {
        name: "a read that the end cuts is short",
        expect: "5000 a*5000; 904 a*904",
        script: |s| {
            let file = s.put("data", &[b'a'; 5000]);
            s.read(&file, 0, 2 * BLOCK);
            s.read(&file, BLOCK as u64, BLOCK);
        },
    },
    Behaviour {
        name: "a read of no bytes is 0 wherever it is",
        expect: "0; 0",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.read(&file, 0, 0);
            s.read(&file, 1 << 20, 0);
        },
    },
    Behaviour {
        name: "an offset past i64 is EINVAL",
        expect: "EINVAL; EINVAL; EINVAL",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.read(&file, 1 << 63, BLOCK);
            s.write(&file, 1 << 63, &[b'b'; BLOCK]);
            s.read(&file, u64::MAX - 511, 512);
        },
    },
    Behaviour {
        name: "a write that would end past i64 is refused",
        expect: "EINVAL",
        script: |s| {
            let file = s.put("data", b"");
            s.write(
                &file,
                i64::MAX as u64 + 1 - BLOCK as u64,
                &[b'b'; 2 * BLOCK],
            );
        },
    },
    Behaviour {
        name: "a write of no bytes changes nothing",
        expect: "0; 0",
        script: |s| {
            let file = s.put("data", b"");
            s.write(&file, 1 << 20, b"");
            s.length(&file);
        },
    },
    Behaviour {
        name: "a write beyond the end leaves a hole that reads zeroes",
        expect: "4096; 12288; 12288 _*8192 b*4096",
        script: |s| {
            let file = s.put("data", b"");
            s.write(&file, 2 * BLOCK as u64, &[b'b'; BLOCK]);
            s.length(&file);
            s.read(&file, 0, 3 * BLOCK);
        },
    },
    Behaviour {
        name: "a write within a file changes only its bytes",
        expect: "4096; 12288 a*4096 b*4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; 3 * BLOCK]);
            s.write(&file, BLOCK as u64, &[b'b'; BLOCK]);
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "what one descriptor writes another reads",
        expect: "4096; 4096 b*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            let other = s.opened(&OpenOptions::new(), "data");
            s.write(&file, 0, &[b'b'; BLOCK]);
            s.read(&other, 0, BLOCK);
        },
    },
    Behaviour {
        name: "a duplicate reads the same and outlives its original",
        expect: "ok; 4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            let other = file.try_clone().expect("a descriptor");
            s.tell(async |_| file.close().await);
            s.read(&other, 0, BLOCK);
        },
    },
    Behaviour {
        name: "buffers are filled in order",
        expect: "8192 a*4096 | b*4096; 4100 a*4096 | b*4",
        script: |s| {
            let content = [[b'a'; BLOCK], [b'b'; BLOCK]].concat();
            for length in [2 * BLOCK, BLOCK + 4] {
                let file = s.put("data", &content[..length]);
                let buffers = vec![s.room(BLOCK), s.room(BLOCK)];
                let (result, buffers) = s.drive(file.read_vectored_at(buffers, 0));
                let filled = buffers.into_iter().map(|one| shape(&one.into_inner()));
                let filled: Vec<String> = filled.collect();
                s.note(format!("{} {}", result_text(&result), filled.join(" | ")));
            }
        },
    },
    Behaviour {
        name: "buffers are written out in order",
        expect: "8192; 8192 b*4096 c*4096",
        script: |s| {
            let file = s.put("data", b"");
            let buffers = vec![s.holding(&[b'b'; BLOCK]), s.holding(&[b'c'; BLOCK])];
            let (result, buffers) = s.drive(file.write_vectored_at(buffers, 0));
            drop(buffers);
            s.note(result_text(&result));
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "what is appended goes to the end, wherever that is",
        expect: "4096; 4096; 12288 a*4096 b*4096 c*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            for byte in *b"bc" {
                let buffer = s.holding(&[byte; BLOCK]);
                let (result, _) = s.drive(file.append(buffer));
                s.note(result_text(&result));
            }
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "a removed file is read and written on",
        expect: "ok; 4096; 8192 a*4096 b*4096; ENOENT",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |root| root.at("data").unlink().await);
            s.write(&file, BLOCK as u64, &[b'b'; BLOCK]);
            s.read(&file, 0, 4 * BLOCK);
            s.open(&OpenOptions::new(), "data");
        },
    },
    Behaviour {
        name: "a synced write is whole",
        expect: "ok; 8192 a*4096 b*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            let buffer = s.holding(&[b'b'; BLOCK]);
            s.tell(async |_| {
                file.write_synced_at(buffer, BLOCK as u64, Flush::All)
                    .await
                    .0
            });
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "a file has the length that was written last",
        expect: "0; 4096; 4096; 8192",
        script: |s| {
            let file = s.put("data", b"");
            s.length(&file);
            s.write(&file, 0, &[b'a'; BLOCK]);
            s.length(&file);
            let buffer = s.holding(&[b'b'; BLOCK]);
            let _ = s.drive(file.write_at(buffer, BLOCK as u64));
            s.length(&file);
        },
    },
    Behaviour {
        name: "the time of the last change never goes back",
        expect: "true; true",
        script: |s| {
            let file = s.put("data", b"");
            let mut before = s.drive(file.metadata()).expect("metadata").modified();
            for byte in *b"ab" {
                let buffer = s.holding(&[byte; BLOCK]);
                let _ = s.drive(file.write_at(buffer, 0));
                let after = s.drive(file.metadata()).expect("metadata").modified();
                s.note((after >= before).to_string());
                before = after;
            }
        },
    },
];
