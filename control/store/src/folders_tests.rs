use super::*;

fn image(index: u64) -> Image {
    let mut image = Image::default();
    image.conf_state.voters = vec![7];
    image.state.pass(index, 1);
    image
}

fn current(number: u64) -> Current {
    Current::fresh(number, false)
}

fn point(folders: &Folders, current: Current) {
    folders.point(folders.prepare(current).unwrap()).unwrap();
}

/// What counts, as a start finds it that removes what does not.
fn start(state: &Path) -> Option<Current> {
    let (folders, found) = Folders::open(state).unwrap();
    folders.remove_leftovers(found).unwrap();
    found
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_the_folder_that_counts_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (folders, none) = Folders::open(&state).unwrap();
    assert_eq!(none, None);
    for number in [1, 2, 3] {
        folders.make(number, &image(number)).unwrap();
    }
    // A kill before the first one counts leaves nothing.
    assert_eq!(start(&state), None);
    assert_eq!(names(&state), [""; 0]);
    for number in [1, 2, 3] {
        folders.make(number, &image(number)).unwrap();
    }
    point(&folders, Current { installed: true, ..current(2) });
    assert_eq!(start(&state), Some(Current { installed: true, ..current(2) }));
    assert_eq!(names(&state), ["0000000000000002", "current"]);
}

#[test]
fn a_database_of_the_first_layout_becomes_a_folder_wherever_the_move_was_cut_off() {
    let check = |cut: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("db"), b"data").unwrap();
        cut(&state);
        for _ in 0..2 {
            let (folders, found) = Folders::open(&state).unwrap();
            assert_eq!(found, Some(Current { image: false, ..current(1) }));
            assert_eq!(fs::read(folders.sled(1).join("db")).unwrap(), b"data");
            assert_eq!(names(dir.path()), ["state"]);
            assert_eq!(names(&state), ["0000000000000001", "current"]);
        }
    };
    let prepare = |state: &Path| {
        let folders = Folders { dir: migrating(state) };
        fs::create_dir_all(folders.path(1)).unwrap();
        folders
    };
    let point = |folders: &Folders| point(folders, Current { image: false, ..current(1) });
    check(&|_| ());
    check(&|state| _ = prepare(state));
    check(&|state| point(&prepare(state)));
    check(&|state| {
        let folders = prepare(state);
        point(&folders);
        fs::rename(state, folders.sled(1)).unwrap();
    });
}

#[test]
fn a_file_of_changes_is_kept_when_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (folders, _) = Folders::open(dir.path()).unwrap();
    folders.make(1, &image(1)).unwrap();
    let batch = Batch { image: image(2), ..Batch::default() };
    (1..=3).for_each(|file| folders.append(1, file, 1, &batch).unwrap());
    point(&folders, Current { changes: 2, ..current(1) });
    assert_eq!(start(dir.path()), Some(Current { changes: 2, ..current(1) }));
    assert_eq!(names(&dir.path().join("0000000000000001")), ["changes-1", "changes-2", "image"]);
    // What the version before this one wrote.
    let text = "palinurus-state\nformat = 1\nfolder = 0000000000000001\nimage = true\ninstalled = false\n";
    fs::write(folders.pointer(), text).unwrap();
    assert_eq!(start(dir.path()), Some(current(1)));
    let text = text.replace("format = 1", "format = 3");
    fs::write(folders.pointer(), text).unwrap();
    assert!(matches!(Folders::open(dir.path()), Err(StoreError::TooNew { found: 3, known: FORMAT, .. })));
}

#[test]
fn a_pointer_with_another_digit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (folders, _) = Folders::open(dir.path()).unwrap();
    (1..=3).for_each(|number| folders.make(number, &image(number)).unwrap());
    point(&folders, Current { changes: 3, ..current(2) });
    let whole = fs::read(folders.pointer()).unwrap();
    // The title and the format come before what they say of the rest.
    for at in "palinurus-state\nformat = 2\n".len()..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(folders.pointer(), flipped).unwrap();
        let refused = Folders::open(dir.path()).err();
        assert!(matches!(refused, Some(StoreError::Corrupt { .. })), "byte {at}: {refused:?}");
    }
    fs::write(folders.pointer(), whole).unwrap();
    assert_eq!(start(dir.path()), Some(Current { changes: 3, ..current(2) }));
}

#[test]
fn a_pointer_that_makes_no_sense_is_refused_by_name() {
    fn check(text: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("current"), text).unwrap();
        let refused = Folders::open(dir.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refused, format!("{}: {expected}; {ADVICE}", dir.path().join("current").display()));
    }
    check("", "this does not say which state counts");
    check("palinurus-state\nformat = 1\n", "the line \"folder = …\" is missing");
    let start = "palinurus-state\nformat = 1\nfolder = 00000000000000a1\nimage = true\n";
    check(start, "the line \"installed = …\" is missing");
    check(&format!("{start}installed = yes\n"), "installed is neither true nor false");
    check(&format!("{start}installed = true\n"), "the folder 00000000000000a1 that it names is missing");
    let start = format!("{}installed = true\n", start.replace("format = 1", "format = 2"));
    check(&start, "the line \"changes = …\" is missing");
    check(&format!("{start}changes = -1\n"), "changes is not a number");
    check(&format!("{start}changes = 1\n"), "it does not match its checksum");
}
