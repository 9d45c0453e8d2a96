//! Truncating, allocating, punching holes and syncing: buffered and direct.

use ambidex::disk::{Advice, Allocate, OpenOptions};

use super::{Behaviour, Files};

const BLOCK: usize = 4096;

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "what was cut off is gone",
        expect: "ok; 4096; 4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; 3 * BLOCK]);
            s.tell(async |_| file.set_len(BLOCK as u64).await);
            s.length(&file);
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "what is cut off and lengthened again reads zeroes",
        expect: "ok; ok; 8192 a*1000 _*7192",
        script: |s| {
            let file = s.put("data", &[b'a'; 2 * BLOCK]);
            s.tell(async |_| file.set_len(1000).await);
            s.tell(async |_| file.set_len(2 * BLOCK as u64).await);
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "a length past i64 is EINVAL",
        expect: "EINVAL; 4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |_| file.set_len(1 << 63).await);
            s.length(&file);
        },
    },
    Behaviour {
        name: "a file open for reading is not truncated",
        expect: "EINVAL; 4096",
        script: |s| {
            s.put("data", &[b'a'; BLOCK]);
            let reader = s.opened(&OpenOptions::new(), "data");
            s.tell(async |_| reader.set_len(0).await);
            s.length(&reader);
        },
    },
    Behaviour {
        name: "what is allocated lengthens the file and reads zeroes",
        expect: "ok; 8192; 8192 a*4096 _*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |_| {
                file.allocate(0, 2 * BLOCK as u64, Allocate::default())
                    .await
            });
            s.length(&file);
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "what is allocated to keep the size does not lengthen the file",
        expect: "ok; 4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |_| file.allocate(0, 1 << 20, Allocate::KEEP_SIZE).await);
            s.length(&file);
        },
    },
    Behaviour {
        name: "a range that is zeroed reads zeroes",
        expect: "ok; 12288 a*4096 _*4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; 3 * BLOCK]);
            let (offset, length) = (BLOCK as u64, BLOCK as u64);
            s.tell(async |_| file.allocate(offset, length, Allocate::ZERO).await);
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "allocating nothing is EINVAL, and for a reader EBADF",
        expect: "EINVAL; EBADF",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |_| file.allocate(0, 0, Allocate::default()).await);
            let reader = s.opened(&OpenOptions::new(), "data");
            s.tell(async |_| reader.allocate(0, 1, Allocate::default()).await);
        },
    },
    Behaviour {
        name: "a punched hole reads zeroes and the length stays",
        expect: "ok; 12288; 12288 a*4096 _*4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; 3 * BLOCK]);
            s.tell(async |_| file.punch_hole(BLOCK as u64, BLOCK as u64).await);
            s.length(&file);
            s.read(&file, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "a hole past the end changes nothing",
        expect: "ok; 4096; 4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |_| file.punch_hole(1 << 20, BLOCK as u64).await);
            s.length(&file);
            s.read(&file, 0, BLOCK);
        },
    },
    Behaviour {
        name: "a file can be synced in every way",
        expect: "ok; ok; ok; ok",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            s.tell(async |_| file.sync_all().await);
            s.tell(async |_| file.sync_data().await);
            s.tell(async |_| file.sync_range(0, BLOCK as u64).await);
            let reader = s.opened(&OpenOptions::new(), "data");
            s.tell(async |_| reader.sync_all().await);
        },
    },
    Behaviour {
        name: "advice changes nothing",
        expect: "ok; ok; ok; 4096 a*4096",
        script: |s| {
            let file = s.put("data", &[b'a'; BLOCK]);
            for advice in [Advice::WillNeed, Advice::Sequential, Advice::DontNeed] {
                s.tell(async |_| file.advise(0, 0, advice).await);
            }
            s.read(&file, 0, BLOCK);
        },
    },
];
