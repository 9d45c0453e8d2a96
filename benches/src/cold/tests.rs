use super::*;

fn files(dir: &Path) -> Files {
    Files {
        dir: dir.to_owned(),
        count: 3,
        size: 1003,
        nested: false,
    }
}

#[test]
fn missing_files_are_made_and_others_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let interrupt = Interrupt::default();
    files.create_missing(&interrupt).unwrap();
    let first = fs::read(dir.path().join("cold-00000.bin")).unwrap();
    let second = fs::read(dir.path().join("cold-00001.bin")).unwrap();
    assert_eq!(first.len(), 1003);
    assert_ne!(first, second);
    fs::remove_file(dir.path().join("cold-00000.bin")).unwrap();
    fs::write(dir.path().join("cold-00001.bin"), vec![0; 1003]).unwrap();
    files.create_missing(&interrupt).unwrap();
    assert_eq!(fs::read(dir.path().join("cold-00000.bin")).unwrap(), first);
    assert_eq!(
        fs::read(dir.path().join("cold-00001.bin")).unwrap(),
        [0; 1003]
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn a_file_of_another_size_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cold-00002.bin");
    fs::write(&path, "precious").unwrap();
    let refused = files(dir.path()).create_missing(&Interrupt::default());
    assert!(refused.unwrap_err().to_string().contains("has 8 bytes"));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_rotation_comes_round() {
    let dir = tempfile::tempdir().unwrap();
    let url: Url = "http://h/d".parse().unwrap();
    let rotation = Rotation::new(files(dir.path()).asks(&url));
    let tickets: Vec<usize> = (0..4)
        .filter_map(|_| rotation.next())
        .map(|a| a.ticket)
        .collect();
    assert_eq!(tickets, [0, 1, 2, 0]);
    assert!(Rotation::new(Vec::new()).next().is_none());
}

#[test]
fn what_was_asked_for_once_is_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let nested = Files {
        nested: true,
        ..files(dir.path())
    };
    nested.create_missing(&Interrupt::default()).unwrap();
    assert!(dir.path().join("00002/cold-00002.bin").is_file());
    let asks = || nested.asks(&"http://h/".parse().unwrap());
    let next = Rc::new(Cell::new(1));
    let (one, other) = (Once::new(asks(), Rc::clone(&next)), Once::new(asks(), next));
    let request = one.next().map(|ask| ask.request);
    assert!(request.unwrap().starts_with(b"GET /00001/cold-00001.bin "));
    assert_eq!(other.next().map(|ask| ask.ticket), Some(2));
    assert!(one.next().is_none() && other.next().is_none());
}

#[test]
fn served_files_come_back_after_eviction() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    files.create_missing(&Interrupt::default()).unwrap();
    let supply = Evicted::start(&files, files.asks(&"http://h/".parse().unwrap())).unwrap();
    let taken: Vec<Ask> = std::iter::from_fn(|| supply.next()).collect();
    assert_eq!(taken.len(), 3);
    supply.done(1);
    supply.finish().unwrap();
    assert_eq!(supply.next().map(|ask| ask.ticket), Some(1));
}

#[test]
fn a_file_that_cannot_be_evicted_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let supply = Evicted::start(&files, Vec::new()).unwrap();
    supply.done(2);
    let told = supply.finish().unwrap_err().to_string();
    assert!(told.contains("cold-00002.bin"), "{told}");
}
