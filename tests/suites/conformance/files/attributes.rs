//! Extended attributes.

use ambidex::disk::{File, OpenOptions, SetAttribute};

use super::{Behaviour, Files};

/// Notes whether the attribute `name` can be set.
fn set(s: &mut Files, file: &File, name: &str, value: &str, how: SetAttribute) {
    let value = value.as_bytes().to_vec();
    s.tell(async |_| file.set_attribute(name, value, how).await);
}

/// Notes what the attribute `name` is.
fn look(s: &mut Files, file: &File, name: &str) {
    s.tell(async |_| {
        let value = file.attribute_value(name).await?;
        Ok(String::from_utf8_lossy(&value).into_owned())
    });
}

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "an attribute is what it was set to",
        expect: "ok; one; ok; another; 7",
        script: |s| {
            let file = s.put("data", b"content");
            set(s, &file, "user.a", "one", SetAttribute::Either);
            look(s, &file, "user.a");
            set(s, &file, "user.a", "another", SetAttribute::Either);
            look(s, &file, "user.a");
            s.length(&file);
        },
    },
    Behaviour {
        name: "an attribute that is missing is ENODATA",
        expect: "ENODATA; ENODATA; ENODATA",
        script: |s| {
            let file = s.put("data", b"content");
            look(s, &file, "user.a");
            set(s, &file, "user.a", "one", SetAttribute::Replace);
            s.tell(async |_| file.remove_attribute("user.a").await);
        },
    },
    Behaviour {
        name: "an attribute is made once",
        expect: "ok; EEXIST; ok; two",
        script: |s| {
            let file = s.put("data", b"content");
            set(s, &file, "user.a", "one", SetAttribute::Create);
            set(s, &file, "user.a", "two", SetAttribute::Create);
            set(s, &file, "user.a", "two", SetAttribute::Replace);
            look(s, &file, "user.a");
        },
    },
    Behaviour {
        name: "attributes are listed and removed",
        expect: "; user.a user.b; ok; user.b",
        script: |s| {
            let file = s.put("data", b"content");
            for round in 0..3 {
                s.tell(async |_| {
                    let names = file.attribute_names().await?;
                    let names = names.iter().map(|name| name.display().to_string());
                    let mut names: Vec<String> = names.collect();
                    names.sort();
                    Ok(names.join(" "))
                });
                match round {
                    0 => {
                        for name in ["user.a", "user.b"] {
                            let set = file.set_attribute(name, vec![1], SetAttribute::Create);
                            s.drive(set).expect("an attribute");
                        }
                    }
                    1 => s.tell(async |_| file.remove_attribute("user.a").await),
                    _ => {}
                }
            }
        },
    },
    Behaviour {
        name: "a long value is read whole, and an empty one is there",
        expect: "ok; 1000; ok; 0",
        script: |s| {
            let file = s.put("data", b"content");
            for (name, length) in [("user.long", 1000), ("user.empty", 0)] {
                set(s, &file, name, &"v".repeat(length), SetAttribute::Either);
                s.tell(async |_| file.attribute_value(name).await.map(|value| value.len()));
            }
        },
    },
    Behaviour {
        name: "a namespace that nobody knows is EOPNOTSUPP",
        expect: "EOPNOTSUPP; EOPNOTSUPP",
        script: |s| {
            let file = s.put("data", b"content");
            set(s, &file, "nobody.knows", "one", SetAttribute::Either);
            look(s, &file, "nobody.knows");
        },
    },
    Behaviour {
        name: "what is open as a path only has no attributes",
        expect: "EBADF; EBADF",
        script: |s| {
            s.put("data", b"content");
            let path = s.opened(&OpenOptions::new().custom_flags(libc::O_PATH), "data");
            set(s, &path, "user.a", "one", SetAttribute::Either);
            look(s, &path, "user.a");
        },
    },
];
