//! Opening, and what an open file is good for.

use std::io;

use ambidex::disk::{File, OpenOptions, Resolve};

use super::{Behaviour, Files};

/// A directory `dir` with a file in it, one beside it, and links to both.
fn scene(s: &mut Files) {
    s.put("outside", b"outside");
    let root = s.root.clone();
    let made: io::Result<()> = s.drive(async {
        root.at("dir").create_dir(0o755).await?;
        root.at("dir/sub").create_dir(0o755).await?;
        root.at("dir/in").symlink_to("data").await?;
        root.at("dir/out").symlink_to("../outside").await?;
        root.at("dir/root").symlink_to("/").await?;
        root.at("dir/lost").symlink_to("nothing").await?;
        root.at("dir/round").symlink_to("round").await
    });
    made.expect("an empty directory");
    s.put("dir/data", b"inside");
}

/// Notes whether `names` can be opened below `dir`, under `options`.
fn below(s: &mut Files, options: &OpenOptions, names: &[&str]) {
    let dir = s.opened(&OpenOptions::new().directory(), "dir");
    for name in names {
        s.tell(async |_| options.open_at(&dir, name).await.map(drop));
    }
}

fn resolving(resolve: Resolve) -> OpenOptions {
    OpenOptions::new().resolve(resolve)
}

fn named(file: &File) -> String {
    let metadata = file.metadata_at_open();
    let (kind, permissions) = (metadata.mode() & libc::S_IFMT, metadata.mode() & 0o7777);
    format!("{kind:o} {permissions:o} {}", metadata.len())
}

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "what is missing is ENOENT",
        expect: "ENOENT; ENOENT; ENOENT",
        script: |s| {
            s.open(&OpenOptions::new(), "data");
            s.open(&OpenOptions::new().write().create(), "dir/data");
            s.open(&OpenOptions::new(), "");
        },
    },
    Behaviour {
        name: "a file is created once",
        expect: "ok; EEXIST; ok",
        script: |s| {
            let options = OpenOptions::new().write();
            s.open(&options.clone().create_new(), "data");
            s.open(&options.clone().create_new(), "data");
            s.open(&options.create(), "data");
        },
    },
    Behaviour {
        name: "a new file is empty and has the mode asked for",
        expect: "100000 640 0",
        script: |s| {
            let options = OpenOptions::new().write().create_new().mode(0o640);
            let file = s.opened(&options, "data");
            s.note(named(&file));
        },
    },
    Behaviour {
        name: "a file that is opened to be emptied is empty",
        expect: "7; ok; 0",
        script: |s| {
            let file = s.put("data", b"content");
            s.length(&file);
            s.open(&OpenOptions::new().write().truncate(), "data");
            s.length(&file);
        },
    },
    Behaviour {
        name: "a file is no directory",
        expect: "ENOTDIR; ENOTDIR; ENOTDIR; ENOTDIR",
        script: |s| {
            s.put("data", b"content");
            s.open(&OpenOptions::new().directory(), "data");
            s.open(&OpenOptions::new(), "data/");
            s.open(&OpenOptions::new(), "data/more");
            s.open(&OpenOptions::new(), "data/..");
        },
    },
    Behaviour {
        name: "a directory is no file",
        expect: "ok; EISDIR; EISDIR; EISDIR",
        script: |s| {
            scene(s);
            s.open(&OpenOptions::new(), "dir/");
            s.open(&OpenOptions::new().write(), "dir");
            s.open(&OpenOptions::new().write().create(), "dir");
            s.open(&OpenOptions::new().write().create(), "new/");
        },
    },
    Behaviour {
        name: "a directory is not read and not written",
        expect: "EISDIR; EBADF; 40000",
        script: |s| {
            scene(s);
            let dir = s.opened(&OpenOptions::new(), "dir");
            s.read(&dir, 0, 100);
            s.write(&dir, 0, b"a");
            s.note(format!(
                "{:o}",
                dir.metadata_at_open().mode() & libc::S_IFMT
            ));
        },
    },
    Behaviour {
        name: "a file is used as it was opened",
        expect: "EBADF; EBADF; EBADF; EBADF",
        script: |s| {
            s.put("data", b"content");
            let reader = s.opened(&OpenOptions::new(), "data");
            s.write(&reader, 0, b"a");
            let writer = s.opened(&OpenOptions::new().write_only(), "data");
            s.read(&writer, 0, 100);
            let path = s.opened(&OpenOptions::new().custom_flags(libc::O_PATH), "data");
            s.read(&path, 0, 100);
            s.tell(async |_| path.sync_all().await);
        },
    },
    Behaviour {
        name: "links are followed",
        expect: "ok; ok; ok; ENOENT; ELOOP",
        script: |s| {
            scene(s);
            let names = ["in", "out", "root", "lost", "round"];
            below(s, &OpenOptions::new(), &names);
        },
    },
    Behaviour {
        name: "a file is created at the end of a link, but not exclusively",
        expect: "EEXIST; ok; 1 a",
        script: |s| {
            scene(s);
            let options = OpenOptions::new().write();
            s.open(&options.clone().create_new(), "dir/lost");
            s.open(&options.clone().create(), "dir/lost");
            let file = s.opened(&options, "dir/nothing");
            let _ = s.drive(file.write_at(b"a".to_vec(), 0));
            s.read(&file, 0, 10);
        },
    },
    Behaviour {
        name: "the last link is not followed where that is asked",
        expect: "ELOOP; ELOOP; ok",
        script: |s| {
            scene(s);
            let names = ["in", "lost", "data"];
            below(s, &OpenOptions::new().no_follow(), &names);
        },
    },
    Behaviour {
        name: "nothing beneath a directory leads out of it",
        expect: "EXDEV; EXDEV; EXDEV; EXDEV; EXDEV",
        script: |s| {
            scene(s);
            let names = ["..", "../outside", "out", "root", "/"];
            below(s, &resolving(Resolve::BENEATH), &names);
        },
    },
    Behaviour {
        name: "beneath a directory dots and links may lead about",
        expect: "ok; ok; ok; ok; ENOENT",
        script: |s| {
            scene(s);
            let names = ["sub/../data", "in", ".", "sub/./../in", "missing"];
            below(s, &resolving(Resolve::BENEATH), &names);
        },
    },
    Behaviour {
        name: "where links are refused they are ELOOP at any place",
        expect: "ELOOP; ELOOP; ELOOP; ok; EXDEV",
        script: |s| {
            scene(s);
            let strict = Resolve::NO_SYMLINKS | Resolve::BENEATH;
            let names = ["in", "root/tmp", "lost", "data", ".."];
            below(s, &resolving(strict), &names);
        },
    },
    Behaviour {
        name: "a name of more than 255 bytes is ENAMETOOLONG",
        expect: "ok; ENAMETOOLONG",
        script: |s| {
            let options = OpenOptions::new().write().create();
            for length in [255, 256] {
                s.open(&options, &"n".repeat(length));
            }
        },
    },
    Behaviour {
        name: "a chain of open, look, read and close answers as they do",
        expect: "6 of 6; 2 of 6; ENOENT; EISDIR; 6 of 6",
        script: |s| {
            scene(s);
            for (name, room) in [
                ("dir/data", 100),
                ("dir/data", 2),
                ("dir/missing", 100),
                ("dir", 100),
                ("dir/in", 100),
            ] {
                s.tell(async |root| {
                    let buffer = Vec::with_capacity(room);
                    let (result, buffer) = OpenOptions::new().load_at(root, name, buffer).await;
                    let (metadata, length) = result?;
                    // The allocator may give more than was asked for.
                    assert!(buffer.len() == length && buffer.capacity() == room);
                    Ok(format!("{length} of {}", metadata.len()))
                });
            }
        },
    },
];
