//! What is not done, and the reason given.

use super::*;

#[test]
fn what_does_not_go_together_is_refused_before_a_file_is_made() {
    let dir = directory();
    let base = || options(blocks(&dir));
    let with = |engine| Options {
        engines: vec![engine],
        ..base()
    };
    let every = Some(SyncEvery {
        writes: 1,
        data_only: false,
    });
    let cases = [
        (
            Options {
                iodepth: 2,
                ..base()
            },
            "--numjobs 2",
        ),
        (
            Options {
                iodepth: 2,
                ..with(IoEngine::Mmap)
            },
            "mmap does one",
        ),
        (
            Options {
                direct: true,
                ..with(IoEngine::Mmap)
            },
            "--direct",
        ),
        (
            Options {
                sync: true,
                rw: Pattern::Write,
                ..with(IoEngine::Mmap)
            },
            "--fsync",
        ),
        (
            Options {
                sync: true,
                ..base()
            },
            "writes nothing",
        ),
        (
            Options {
                sync_every: every,
                ..base()
            },
            "writes nothing",
        ),
        (
            Options {
                rw: Pattern::RandRw,
                rwmixread: 100,
                ..base()
            },
            "--rwmixread",
        ),
        (
            Options {
                bs: 1 << 30,
                iodepth: 32_768,
                ..with(IoEngine::Uring)
            },
            "of memory",
        ),
        (
            Options {
                engines: Vec::new(),
                ..base()
            },
            "nothing",
        ),
    ];
    for (options, reason) in cases {
        let told = refused(&options);
        assert!(told.contains(reason), "{reason:?} is not in {told:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
}

#[test]
fn somebodys_file_is_only_read() {
    let dir = directory();
    let path = dir.path().join("blocks");
    let precious = vec![42; (BLOCKS * BLOCK) as usize];
    fs::write(&path, &precious).expect("a file");
    for rw in Pattern::ALL {
        let options = Options {
            rw,
            overwrite: false,
            ..options(blocks(&dir))
        };
        if rw.writes() {
            assert!(refused(&options).contains("--overwrite"));
        } else {
            assert_eq!(one(&options).map(|run| run.failure), Some(None));
        }
        assert!(fs::read(&path).expect("the file") == precious);
    }
    // Only that it was not written by this program is told.
    let verified = Options {
        verify: true,
        rw: Pattern::Read,
        ..options(blocks(&dir))
    };
    let told = one(&verified).and_then(|run| run.failure);
    assert!(told.is_some_and(|told| told.contains("offset 8 ")));
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = directory();
    let place = || blocks(&dir);
    let missing = Options {
        size: None,
        ..options(place())
    };
    assert!(refused(&missing).contains("--size"));
    fs::write(dir.path().join("blocks"), "short").expect("a file");
    assert!(refused(&options(place())).contains("5 bytes"));
    assert!(refused(&missing).contains("less than one block"));
    let directory = options(Place::Filename(dir.path().to_owned()));
    assert!(refused(&directory).contains("not a file"));
    let nowhere = options(Place::Directory(dir.path().join("absent")));
    assert!(refused(&nowhere).contains("absent"));
}

#[test]
fn direct_blocks_are_multiples_of_what_the_file_asks_for() {
    let dir = directory();
    let options = Options {
        bs: 512,
        direct: true,
        ..options(blocks(&dir))
    };
    // Either the disk has sectors of 512 bytes, or it is refused for that reason.
    match run(&options, &Interrupt::default(), None) {
        Ok(series) => assert!(series.failure().is_none_or(|told| told.contains("Invalid"))),
        Err(Error::Start(text)) if is_missing(&options, &text) => {
            println!("SKIPPED direct: {text}")
        }
        Err(error) => assert!(error.to_string().contains("multiples of"), "{error}"),
    }
}

#[test]
fn more_is_not_written_at_a_time_than_can_be_told_apart() {
    let dir = directory();
    let options = Options {
        iodepth: BLOCKS as usize,
        engines: vec![IoEngine::Threads],
        rw: Pattern::RandWrite,
        verify: true,
        ..options(blocks(&dir))
    };
    assert!(refused(&options).contains("more blocks"));
}
