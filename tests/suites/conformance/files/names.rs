//! Names: removing, renaming, linking, listing.

use ambidex::disk::{EntryKind, OpenOptions, Rename};

use super::{Behaviour, Files};

/// Files `a` and `b`, an empty directory `dir` and one with a file, `full/inner`.
fn scene(s: &mut Files) {
    s.put("a", b"A");
    s.put("b", b"B");
    for name in ["dir", "full"] {
        let root = s.root.clone();
        let made = s.drive(async { root.at(name).create_dir(0o755).await });
        made.expect("an empty directory");
    }
    s.put("full/inner", b"I");
}

/// Notes what `from` can be renamed to.
fn rename(s: &mut Files, from: &str, to: &str, how: Rename) {
    s.tell(async |root| root.at(from).rename_to(root.at(to), how).await);
}

/// Notes what `name` holds.
fn content(s: &mut Files, name: &str) {
    s.tell(async |root| {
        let (result, bytes) = OpenOptions::new()
            .load_at(root, name, Vec::with_capacity(8))
            .await;
        result.map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
}

/// Notes the names and kinds in `name`, in order of the alphabet.
fn list(s: &mut Files, name: &str) {
    s.tell(async |root| {
        let dir = OpenOptions::new().directory().open_at(root, name).await?;
        let mut entries = dir.read_dir().await?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next().await? {
            let kind = match entry.kind() {
                EntryKind::File => "",
                EntryKind::Directory => "/",
                EntryKind::Symlink => "@",
                _ => "?",
            };
            found.push(format!("{}{kind}", entry.name().display()));
        }
        found.sort();
        Ok(found.join(" "))
    });
}

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "a name is removed once",
        expect: "ok; ENOENT; ENOENT",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("a").unlink().await);
            s.tell(async |root| root.at("a").unlink().await);
            content(s, "a");
        },
    },
    Behaviour {
        name: "a directory is not unlinked, and a file is not removed as a directory",
        expect: "EISDIR; ENOTDIR; ENOTDIR",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("dir").unlink().await);
            s.tell(async |root| root.at("a").remove_dir().await);
            s.tell(async |root| root.at("a/").unlink().await);
        },
    },
    Behaviour {
        name: "only an empty directory is removed",
        expect: "ENOTEMPTY; ok; ok; ENOENT",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("full").remove_dir().await);
            s.tell(async |root| root.at("full/inner").unlink().await);
            s.tell(async |root| root.at("full").remove_dir().await);
            s.tell(async |root| root.at("full").remove_dir().await);
        },
    },
    Behaviour {
        name: "a directory is made once, in one that is there",
        expect: "EEXIST; EEXIST; ENOENT; ENOTDIR; ok",
        script: |s| {
            scene(s);
            for name in ["dir", "a", "missing/new", "a/new", "new/"] {
                s.tell(async |root| root.at(name).create_dir(0o755).await);
            }
        },
    },
    Behaviour {
        name: "a rename replaces a file",
        expect: "ok; A; ENOENT",
        script: |s| {
            scene(s);
            rename(s, "a", "b", Rename::default());
            content(s, "b");
            content(s, "a");
        },
    },
    Behaviour {
        name: "a rename that replaces nothing is EEXIST where something is",
        expect: "EEXIST; A; B; ok",
        script: |s| {
            scene(s);
            rename(s, "a", "b", Rename::NO_REPLACE);
            content(s, "a");
            content(s, "b");
            rename(s, "a", "c", Rename::NO_REPLACE);
        },
    },
    Behaviour {
        name: "an exchange needs both",
        expect: "ok; B; A; ENOENT; EINVAL",
        script: |s| {
            scene(s);
            rename(s, "a", "b", Rename::EXCHANGE);
            content(s, "a");
            content(s, "b");
            rename(s, "a", "c", Rename::EXCHANGE);
            rename(s, "a", "b", Rename::EXCHANGE | Rename::NO_REPLACE);
        },
    },
    Behaviour {
        name: "a file and a directory are exchanged",
        expect: "ok; I; A",
        script: |s| {
            scene(s);
            rename(s, "a", "full", Rename::EXCHANGE);
            content(s, "a/inner");
            content(s, "full");
        },
    },
    Behaviour {
        name: "what is missing is not renamed",
        expect: "ENOENT; ENOENT; ENOTDIR",
        script: |s| {
            scene(s);
            rename(s, "missing", "c", Rename::default());
            rename(s, "a", "missing/c", Rename::default());
            rename(s, "a", "c/", Rename::default());
        },
    },
    Behaviour {
        name: "a directory replaces only an empty one",
        expect: "ENOTEMPTY; ENOTDIR; EISDIR; ok; inner",
        script: |s| {
            scene(s);
            rename(s, "dir", "full", Rename::default());
            rename(s, "dir", "a", Rename::default());
            rename(s, "a", "dir", Rename::default());
            rename(s, "full", "dir", Rename::default());
            list(s, "dir");
        },
    },
    Behaviour {
        name: "a directory is not moved into itself",
        expect: "EINVAL; ENOTDIR",
        script: |s| {
            scene(s);
            rename(s, "full", "full/deeper", Rename::default());
            rename(s, "full", "full/inner/deeper", Rename::default());
        },
    },
    Behaviour {
        name: "renaming one name of a file to another changes nothing",
        expect: "ok; ok; A; A",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("a").hard_link_to(root.at("c")).await);
            rename(s, "a", "c", Rename::default());
            content(s, "a");
            content(s, "c");
        },
    },
    Behaviour {
        name: "a symbolic link says what it was told",
        expect: "ok; anywhere at all; EEXIST; ENOENT; EINVAL; ENOENT",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("link").symlink_to("anywhere at all").await);
            s.tell(async |root| {
                let target = root.at("link").read_link().await?;
                Ok(target.display().to_string())
            });
            s.tell(async |root| root.at("a").symlink_to("b").await);
            s.tell(async |root| root.at("empty").symlink_to("").await);
            s.tell(async |root| root.at("a").read_link().await.map(drop));
            s.tell(async |root| root.at("missing").read_link().await.map(drop));
        },
    },
    Behaviour {
        name: "a long link is read whole",
        expect: "ok; 1000",
        script: |s| {
            let target = "t/".repeat(500);
            s.tell(async |root| root.at("link").symlink_to(&target).await);
            s.tell(async |root| {
                let target = root.at("link").read_link().await?;
                Ok(target.as_os_str().len())
            });
        },
    },
    Behaviour {
        name: "a link is removed and renamed itself",
        expect: "ok; ok; ok; A",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("link").symlink_to("a").await);
            rename(s, "link", "other", Rename::default());
            s.tell(async |root| root.at("other").unlink().await);
            content(s, "a");
        },
    },
    Behaviour {
        name: "a hard link is the same file",
        expect: "ok; ok; A; true",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("a").hard_link_to(root.at("c")).await);
            let inodes = ["a", "c"].map(|name| {
                let file = s.opened(&OpenOptions::new(), name);
                file.metadata_at_open().inode()
            });
            s.tell(async |root| root.at("a").unlink().await);
            content(s, "c");
            s.note((inodes[0] == inodes[1]).to_string());
        },
    },
    Behaviour {
        name: "a hard link replaces nothing, and leads to no directory",
        expect: "EEXIST; EPERM; ENOENT",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("a").hard_link_to(root.at("b")).await);
            s.tell(async |root| root.at("dir").hard_link_to(root.at("c")).await);
            s.tell(async |root| root.at("missing").hard_link_to(root.at("c")).await);
        },
    },
    Behaviour {
        name: "a directory lists its names and what they are",
        expect: "ok; a b dir/ full/ link@; ; ENOTDIR",
        script: |s| {
            scene(s);
            s.tell(async |root| root.at("link").symlink_to("a").await);
            list(s, ".");
            list(s, "dir");
            list(s, "a");
        },
    },
    Behaviour {
        name: "a directory of many names is listed whole",
        expect: "600",
        script: |s| {
            // More than one buffer of getdents64(2) holds.
            for number in 0..600 {
                let name = format!("{number:0200}");
                s.opened(&OpenOptions::new().write().create_new(), &name);
            }
            s.tell(async |root| {
                let mut entries = root.read_dir().await?;
                let mut found = std::collections::BTreeSet::new();
                while let Some(entry) = entries.next().await? {
                    assert!(found.insert(entry.into_name()), "listed twice");
                }
                Ok(found.len())
            });
        },
    },
];
