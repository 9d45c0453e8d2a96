//! What every engine has to do alike.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;

#[test]
fn every_engine_counts_each_operation_once_and_finds_the_right_bytes() {
    let dir = directory();
    for engine in IoEngine::ALL {
        for rw in Pattern::ALL {
            let options = Options {
                rw,
                verify: true,
                ..by(engine, options(blocks(&dir)))
            };
            let Some(run) = one(&options) else { break };
            let name = format!("{} {}", engine.name(), rw.name());
            assert_eq!(run.failure, None, "{name}");
            assert_eq!(run.ios(), 301, "{name}");
            assert_eq!(run.bytes(), 301 * BLOCK, "{name}");
            assert_eq!(run.read.ios > 0, rw.reads(), "{name}");
            assert_eq!(run.write.ios > 0, rw.writes(), "{name}");
            assert_eq!(run.read.lat.len(), run.read.ios, "{name}");
            assert_eq!(run.write.lat.len(), run.write.ios, "{name}");
            // Each read, and each block that was written.
            let least = run.read.ios + u64::from(rw.writes());
            assert!(run.verified >= least, "{name}: {}", run.verified);
            let path = dir.path().join("blocks");
            assert_eq!(first_wrong(&path, options.seed), None, "{name}");
        }
    }
}

#[test]
fn what_is_written_is_what_was_to_be_written_and_nothing_else() {
    let dir = directory();
    let path = dir.path().join("blocks");
    for engine in IoEngine::ALL {
        let options = Options {
            rw: Pattern::Write,
            number_ios: Some(BLOCKS / 2),
            verify: true,
            ..by(engine, options(blocks(&dir)))
        };
        fs::remove_file(&path).ok();
        if one(&options).is_none() {
            continue;
        }
        let bytes = fs::read(&path).expect("the file");
        let (written, rest) = bytes.split_at((BLOCKS / 2 * BLOCK) as usize);
        let generations = |bytes: &[u8]| -> Vec<u64> {
            let units = bytes.chunks_exact(contents::UNIT);
            let named = units.map(|unit| u64::from_le_bytes(unit[..8].try_into().unwrap()));
            named.collect()
        };
        let name = engine.name();
        assert!(generations(written).iter().all(|one| *one > 0), "{name}");
        assert!(generations(rest).iter().all(|one| *one == 0), "{name}");
    }
}

#[test]
fn every_engine_reads_and_writes_past_the_page_cache() {
    let dir = directory();
    for engine in IoEngine::ALL {
        if engine == IoEngine::Mmap {
            continue;
        }
        let options = Options {
            rw: Pattern::RandRw,
            number_ios: Some(101),
            direct: true,
            verify: true,
            ..by(engine, options(blocks(&dir)))
        };
        let Some(run) = one(&options) else { continue };
        assert_eq!(run.failure, None, "{}", engine.name());
        assert_eq!(run.ios(), 101, "{}", engine.name());
    }
}

#[test]
fn blocks_smaller_than_a_page_are_whole() {
    let dir = directory();
    for engine in IoEngine::ALL {
        let options = Options {
            rw: Pattern::RandRw,
            bs: 512,
            verify: true,
            ..by(engine, options(blocks(&dir)))
        };
        let Some(run) = one(&options) else { continue };
        assert_eq!(run.failure, None, "{}", engine.name());
        assert_eq!(run.bytes(), 301 * 512, "{}", engine.name());
    }
}

#[test]
fn every_engine_syncs_when_it_is_told_to() {
    let dir = directory();
    for (number, engine) in IoEngine::ALL.into_iter().enumerate() {
        let options = Options {
            rw: Pattern::Write,
            number_ios: Some(40),
            sync: engine != IoEngine::Mmap,
            sync_every: Some(SyncEvery {
                writes: 10,
                data_only: number % 2 == 0,
            }),
            ..by(engine, options(blocks(&dir)))
        };
        let Some(run) = one(&options) else { continue };
        assert_eq!(run.failure, None, "{}", engine.name());
        assert_eq!((run.write.ios, run.sync.ios), (40, 4), "{}", engine.name());
        assert_eq!(run.sync.lat.len(), 4, "{}", engine.name());
    }
}

#[test]
fn every_engine_notices_one_wrong_byte() {
    let dir = directory();
    let path = dir.path().join("blocks");
    for engine in IoEngine::ALL {
        let options = Options {
            rw: Pattern::Read,
            number_ios: Some(BLOCKS),
            verify: true,
            ..by(engine, options(blocks(&dir)))
        };
        fs::remove_file(&path).ok();
        let Some(run) = one(&options) else { continue };
        assert_eq!((run.failure, run.verified), (None, BLOCKS));
        let wrong = 17 * BLOCK + 1234;
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.expect("the file");
        let mut byte = [0];
        file.read_exact_at(&mut byte, wrong).expect("a byte");
        byte[0] ^= 0x10;
        file.write_all_at(&byte, wrong).expect("a byte");
        let run = one(&options).expect("it ran before");
        let told = run.failure.expect("it is noticed");
        assert!(told.contains(&format!("offset {wrong}")), "{told}");
        assert!(told.contains("blocks"), "{told}");
        assert!(run.read.ios > 0, "what was read until then is told");
    }
}

#[test]
fn operations_that_are_not_timed_are_counted_all_the_same() {
    let dir = directory();
    for engine in IoEngine::ALL {
        let options = Options {
            gtod_reduce: true,
            ..by(engine, options(blocks(&dir)))
        };
        let Some(run) = one(&options) else { continue };
        assert_eq!((run.read.ios, run.read.lat.len()), (301, 0));
    }
}

#[test]
fn an_engine_that_counts_its_calls_makes_some_and_pread_one_each() {
    let dir = directory();
    let calls = |engine| one(&by(engine, options(blocks(&dir)))).map(|run| run.calls);
    assert_eq!(calls(IoEngine::Pread), Some(Some(301)));
    assert_eq!(calls(IoEngine::Mmap), Some(Some(0)));
    for engine in [
        IoEngine::Hybrid,
        IoEngine::Threads,
        IoEngine::Uring,
        IoEngine::Libaio,
    ] {
        if let Some(calls) = calls(engine) {
            assert!(calls.is_some_and(|calls| calls > 0), "{}", engine.name());
        }
    }
    if let Some(calls) = calls(IoEngine::Tokio) {
        assert_eq!(calls, None, "nobody counts them");
    }
}

/// A memory filesystem of one MiB; gone with this.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Result<Small, String> {
        let dir = directory();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
        let output = mount.arg(dir.path()).output();
        match output.map_err(|error| error.to_string())? {
            done if done.status.success() => Ok(Small(dir)),
            done => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn every_engine_tells_that_the_disk_is_full_and_what_was_done_until_then() {
    let small = match Small::mount() {
        Ok(small) => small,
        Err(reason) => {
            println!("SKIPPED a full disk: no tmpfs can be mounted: {reason}");
            return;
        }
    };
    let path = small.0.path().join("holes");
    for engine in IoEngine::ALL {
        // A file with holes: its blocks are only taken when they are written.
        let file = fs::File::create(&path).expect("a file");
        file.set_len(4 << 20).expect("holes take no room");
        let options = Options {
            size: None,
            rw: Pattern::Write,
            number_ios: Some(1024),
            ..by(engine, options(Place::Filename(path.clone())))
        };
        if engine == IoEngine::Mmap {
            assert!(refused(&options).contains("holes"));
            continue;
        }
        let Some(run) = one(&options) else { continue };
        let told = run.failure.unwrap_or_default();
        assert!(told.contains("No space left"), "{}: {told}", engine.name());
        assert!(told.contains("cannot write") && told.contains("holes"));
        // Nearly a MiB had room.
        assert!(run.write.ios > 100, "{}: {}", engine.name(), run.write.ios);
    }
    fs::remove_file(&path).expect("the file");
    let options = Options {
        size: Some(4 << 20),
        ..options(Place::Directory(small.0.path().to_owned()))
    };
    let told = refused(&options);
    assert!(told.contains("No space left"), "{told}");
    let left = fs::read_dir(small.0.path()).expect("it is there");
    assert_eq!(left.count(), 0, "what was begun is removed");
}
