//! Bytes from one descriptor to another: copy_file_range(2), and by pipes splice(2) and tee(2).

use ambidex::disk::{File, OpenOptions, Splice};

use super::{Behaviour, Files};

/// Both ends of a pipe, to be read from and to be written to.
fn pipe(s: &mut Files) -> (File, File) {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let adopt = |fd| File::from_fd(&s.handle, fd).expect("a pipe");
    (adopt(reader), adopt(writer))
}

const BLOCK: usize = 4096;

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "a copy takes what there is",
        expect: "4096; 904; 0; 6000 b*1000 a*5000",
        script: |s| {
            let from = s.put("from", &[b'a'; 5000]);
            let to = s.put("to", &[b'b'; 1000]);
            let block = BLOCK as u64;
            s.tell(async |_| from.copy_range(0, &to, 1000, BLOCK).await);
            s.tell(async |_| from.copy_range(block, &to, 1000 + block, BLOCK).await);
            s.tell(async |_| from.copy_range(5000, &to, 0, BLOCK).await);
            s.read(&to, 0, 4 * BLOCK);
        },
    },
    Behaviour {
        name: "a copy within a file may not overlap, and one to a reader is EBADF",
        expect: "EINVAL; EBADF",
        script: |s| {
            let file = s.put("data", &[b'a'; 2 * BLOCK]);
            s.tell(async |_| file.copy_range(0, &file, 100, BLOCK).await);
            let reader = s.opened(&OpenOptions::new(), "data");
            s.tell(async |_| file.copy_range(0, &reader, 0, BLOCK).await);
        },
    },
    Behaviour {
        name: "bytes are spliced from a file to a pipe and on",
        expect: "4; 3; 0; 7 content",
        script: |s| {
            let (from, to) = (s.put("from", b"content"), s.put("to", b""));
            let (reader, writer) = pipe(s);
            let how = Splice::default();
            s.tell(async |_| from.splice_to(Some(0), &writer, None, 4, how).await);
            s.tell(async |_| from.splice_to(Some(4), &writer, None, 100, how).await);
            s.tell(async |_| from.splice_to(Some(7), &writer, None, 100, how).await);
            let _ = s.drive(reader.splice_to(None, &to, Some(0), 100, how));
            s.read(&to, 0, 100);
        },
    },
    Behaviour {
        name: "a splice from an empty pipe does not wait where that is asked, and its end is 0",
        expect: "EAGAIN; ok; 0",
        script: |s| {
            let to = s.put("to", b"");
            let (reader, writer) = pipe(s);
            let how = Splice::NONBLOCK;
            s.tell(async |_| reader.splice_to(None, &to, Some(0), 100, how).await);
            s.tell(async |_| writer.close().await);
            s.tell(async |_| reader.splice_to(None, &to, Some(0), 100, how).await);
        },
    },
    Behaviour {
        name: "a tee leaves the bytes where they are",
        expect: "7; 7; 7",
        script: |s| {
            let (from, to) = (s.put("from", b"content"), s.put("to", b""));
            let (reader, writer) = pipe(s);
            let (_other_reader, other_writer) = pipe(s);
            let how = Splice::default();
            s.tell(async |_| from.splice_to(Some(0), &writer, None, 7, how).await);
            s.tell(async |_| reader.tee_to(&other_writer, 100, how).await);
            s.tell(async |_| reader.splice_to(None, &to, Some(0), 100, how).await);
        },
    },
    Behaviour {
        name: "a splice needs a pipe, and no offset in it",
        expect: "EINVAL; ESPIPE",
        script: |s| {
            let (from, to) = (s.put("from", b"content"), s.put("to", b""));
            let (_reader, writer) = pipe(s);
            let how = Splice::default();
            s.tell(async |_| from.splice_to(Some(0), &to, Some(0), 7, how).await);
            s.tell(async |_| from.splice_to(Some(0), &writer, Some(0), 7, how).await);
        },
    },
];
