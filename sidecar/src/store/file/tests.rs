use std::{fs::File, io::ErrorKind, sync::Arc};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::{
    super::{
        Identity,
        testing::{self, record},
    },
    *,
};

fn read(path: &Path) -> Option<Record> {
    super::super::read(path).unwrap().map(|file| file.record)
}

/// The calls of one save, in their order.
const SAVE: [&str; 5] = ["create", "write", "sync", "rename", "sync_folder"];

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It fails and does nothing.
    Fails,
    /// It does half of its work, as far as there is a half, and fails.
    FailsHalfway,
    /// The process is killed before it.
    KilledBefore,
    /// The process is killed after it.
    KilledAfter,
}

#[derive(Debug)]
struct Script {
    /// What a failing call says.
    error: ErrorKind,
    calls: Vec<&'static str>,
    /// The call, counted from zero, that the fault hits.
    at: Option<(usize, Fault)>,
    killed: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self { error: ErrorKind::StorageFull, calls: Vec::new(), at: None, killed: false }
    }
}

/// The operating system's operations, one of which goes wrong.
#[derive(Debug, Clone, Default)]
struct FaultyFiles(Arc<Mutex<Script>>);

impl FaultyFiles {
    fn arm(&self, at: usize, fault: Fault) {
        let mut script = self.0.lock();
        let calls = script.calls.len();
        script.at = Some((calls + at, fault));
    }

    fn disarm(&self) {
        self.0.lock().at = None;
    }

    fn calls(&self) -> Vec<&'static str> {
        self.0.lock().calls.clone()
    }

    fn call<T>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce(),
    ) -> io::Result<T> {
        let mut script = self.0.lock();
        let error = script.error;
        let broken = || io::Error::from(error);
        if script.killed {
            return Err(broken());
        }
        let index = script.calls.len();
        script.calls.push(name);
        let Some((_, fault)) = script.at.filter(|(at, _)| *at == index) else {
            return work();
        };
        match fault {
            Fault::Fails => {}
            Fault::FailsHalfway => half(),
            Fault::KilledBefore => script.killed = true,
            Fault::KilledAfter => {
                script.killed = true;
                drop(work());
            }
        }
        Err(broken())
    }
}

impl Files for FaultyFiles {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.call("create", || OsFiles.create(path), || {})
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let mut twin = file.try_clone()?;
        let half = bytes.get(..bytes.len() / 2).unwrap();
        self.call(
            "write",
            || OsFiles.write(file, bytes),
            || OsFiles.write(&mut twin, half).unwrap(),
        )
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.call("sync", || OsFiles.sync(file), || {})
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", || OsFiles.rename(from, to), || {})
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.call("sync_folder", || OsFiles.sync_folder(folder), || {})
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.call("remove", || OsFiles.remove(path), || {})
    }
}

fn open(path: &Path, files: &FaultyFiles) -> FileStore {
    FileStore::open_with(path, Box::new(files.clone()), Contents::whole).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn it_keeps_what_a_store_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    crate::store::testing::one_record_that_never_goes_down(|| FileStore::open(&path).unwrap());
}

#[test]
fn a_save_is_synced_before_and_after_the_rename() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let files = FaultyFiles::default();
    let mut store = open(&path, &files);
    assert_eq!(files.calls(), ["create", "write", "sync", "remove", "sync_folder"]);
    store.save(record(5)).unwrap();
    assert_eq!(files.calls()[5..], SAVE);
    assert_eq!(names(folder.path()), ["store.json", "store.json.lock"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777 & !0o644, 0);
    drop(store);
    assert_eq!(FileStore::open(&path).unwrap().record(), Some(&record(5)));
}

#[test]
fn a_fault_at_each_call_leaves_the_old_or_the_new_record() {
    for at in 0..SAVE.len() {
        for fault in [Fault::Fails, Fault::FailsHalfway, Fault::KilledBefore, Fault::KilledAfter] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.json");
            let files = FaultyFiles::default();
            let mut store = open(&path, &files);
            store.save(record(5)).unwrap();
            files.arm(at, fault);
            let error = store.save(record(6)).unwrap_err();
            assert!(matches!(error, StoreError::Write { .. }), "{error}");
            assert_eq!(store.record(), Some(&record(5)), "{at} {fault:?}");
            let on_disk = read(&path).unwrap();
            let renamed = at == 4 || (at == 3 && fault == Fault::KilledAfter);
            assert_eq!(on_disk, record(if renamed { 6 } else { 5 }), "{at} {fault:?}");
            if matches!(fault, Fault::Fails | Fault::FailsHalfway) {
                assert_eq!(names(folder.path()), ["store.json", "store.json.lock"]);
                files.disarm();
                // What may be on the disk is not lowered; the same number and a higher one go
                // through.
                assert_eq!(store.save(record(5)).is_err(), renamed, "{at} {fault:?}");
                store.save(record(6)).unwrap();
                store.save(record(7)).unwrap();
            }
            drop(store);
            let mut store = FileStore::open(&path).unwrap();
            assert_eq!(names(folder.path()), ["store.json", "store.json.lock"]);
            store.save(record(8)).unwrap();
        }
    }
}

#[test]
fn a_full_disk_and_one_that_became_read_only_delay_and_lose_nothing() {
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::QuotaExceeded] {
        for at in 0..SAVE.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.json");
            let files = FaultyFiles::default();
            let mut store = open(&path, &files);
            store.save(record(5)).unwrap();
            files.0.lock().error = kind;
            for number in 6..9 {
                files.arm(at, Fault::FailsHalfway);
                let error = store.save(record(number)).unwrap_err();
                let StoreError::Write { source, .. } = &error else { panic!("{error}") };
                assert_eq!(source.kind(), kind, "{at}");
                assert!(read(&path).unwrap().number >= 5);
                assert_eq!(names(folder.path()), ["store.json", "store.json.lock"]);
            }
            files.disarm();
            store.save(record(9)).unwrap();
            assert_eq!(read(&path), Some(record(9)));
        }
    }
}

#[test]
fn a_clock_that_steps_back_lowers_nothing_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut store = FileStore::open(&path).unwrap();
    let at = |number, seconds| Record {
        updated_at: Timestamp::from_second(seconds).unwrap(),
        ..record(number)
    };
    store.save(at(5, 2_000_000_000)).unwrap();
    store.save(at(6, 1_000)).unwrap();
    // The file's own time falls, too.
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(store);
    let mut store = FileStore::open(&path).unwrap();
    assert!(matches!(store.save(at(5, 3_000_000_000)), Err(StoreError::Regression { .. })));
    store.save(at(7, 0)).unwrap();
    assert_eq!(read(&path), Some(at(7, 0)));
}

#[test]
fn the_number_never_falls_except_by_reset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut store = FileStore::open(&path).unwrap();
    store.save(record(0)).unwrap();
    store.save(record(9)).unwrap();
    let error = store.save(record(8)).unwrap_err();
    assert!(matches!(error, StoreError::Regression { stored: 9, given: 8 }), "{error}");
    assert_eq!(read(&path), Some(record(9)));

    let error = store.reset(10, None).unwrap_err();
    assert!(matches!(error, StoreError::Raise { stored: 9, given: 10 }), "{error}");
    let id = store.id();
    assert_eq!(store.ceiling(), Some(9));
    store.reset(9, None).unwrap();
    store.reset(3, Some(40)).unwrap();
    assert_eq!(store.ceiling(), Some(3));
    let reset = read(&path).unwrap();
    assert_eq!((reset.number, reset.hash, reset.restart_height), (3, None, Some(40)));
    assert_eq!(reset.identity, Some(testing::IDENTITY), "the chain is still known");
    assert_eq!(reset.fallback_height, Some(39), "below the lower of the two heights");
    // A reset is told from a loss by the generation, in the same store.
    let error = store.save(record(10)).unwrap_err();
    assert!(matches!(error, StoreError::Regression { .. }), "of the earlier generation: {error}");
    store.save(Record { generation: 2, ..record(4) }).unwrap();
    drop(store);
    let store = FileStore::open(&path).unwrap();
    assert_eq!(store.record().map(Record::order), Some((2, 4)));
    assert_eq!(store.id(), id);
    assert!(store.reset_is_followed());
}

#[test]
fn of_a_reset_by_all_replicas_only_what_is_not_above_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut store = FileStore::open(&path).unwrap();
    store.take_over(1, 5).unwrap();
    assert_eq!(store.record(), None, "nothing is stored");
    let stored = Record {
        restart_height: Some(40),
        fallback_height: Some(39),
        audit: super::super::Audit { audited: Some(38), ..Default::default() },
        ..record(9)
    };
    store.save(stored.clone()).unwrap();
    store.take_over(1, 9).unwrap();
    let kept = read(&path).unwrap();
    assert!(kept.updated_at > stored.updated_at);
    assert_eq!(kept, Record { generation: 1, updated_at: kept.updated_at, ..stored.clone() });

    store.take_over(2, 8).unwrap();
    let lowered = Record {
        generation: 2,
        number: 8,
        hash: None,
        l1_origin: None,
        restart_height: None,
        fallback_height: None,
        audit: super::super::Audit::default(),
        ..stored
    };
    let found = read(&path).unwrap();
    assert_eq!(found, Record { updated_at: found.updated_at, ..lowered });
}

#[test]
fn the_go_proxy_gets_no_height_of_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut store = FileStore::open(&path).unwrap();
    store.save(record(9)).unwrap();
    store.reset(3, Some(1)).unwrap();
    assert_eq!(read(&path).unwrap().fallback_height, None);
}

#[test]
fn another_chain_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(&folder.path().join("store.json")).unwrap();
    store.save(record(5)).unwrap();
    let mut other = record(6);
    other.identity = Some(Identity { chain_id: 10, ..testing::IDENTITY });
    let error = store.save(other).unwrap_err();
    assert!(matches!(error, StoreError::OtherChain { .. }), "{error}");
    let mut unknown = record(6);
    unknown.identity = None;
    store.save(unknown).unwrap();
    assert_eq!(store.record().unwrap().identity, Some(testing::IDENTITY));
}

#[test]
fn a_file_of_the_go_proxy_becomes_ours_with_the_first_save() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espresso_store.json");
    fs::write(
        &path,
        r#"{"l2_block_number":10,"fallback_hotshot_height":0,"updated_at":"2026-03-27T10:11:12Z"}"#,
    )
    .unwrap();
    let mut store = FileStore::open(&path).unwrap();
    assert_eq!(store.record().unwrap().restart_height, Some(0));
    assert!(!store.reset_is_followed(), "nobody knows its id");
    assert!(store.save(record(9)).is_err());
    store.save(record(10)).unwrap();
    assert_eq!(read(&path), Some(record(10)));
}

#[test]
fn a_second_writer_is_refused_also_by_another_route() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut store = FileStore::open(&path).unwrap();
    store.save(record(5)).unwrap();
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for route in [&path, &link, &folder.path().join("../").join(folder.path()).join("store.json")] {
        let error = FileStore::open(route).unwrap_err();
        assert!(
            matches!(error, StoreError::Locked { holder: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
    }
    drop(store);
    let mut store = FileStore::open(&link).unwrap();
    store.save(record(6)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link is not replaced");
    assert_eq!(read(&path), Some(record(6)));
}

#[test]
fn what_cannot_be_a_state_file_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty.json"), "").unwrap();
    fs::write(at("cut.json"), &format::render(&record(5), None).unwrap()[..200]).unwrap();
    fs::write(at("long.json"), vec![b' '; 100_000]).unwrap();
    fs::write(at("file"), "x").unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("dangling.json")).unwrap();
    for (path, words) in [
        (folder.path().to_owned(), "is a directory"),
        (at("missing/store.json"), "create the directory first"),
        (at("file/store.json"), "cannot be"),
        (at("dangling.json"), "is a dangling symbolic link"),
        (PathBuf::from("/dev/null"), "not a regular file"),
        (PathBuf::from(".."), "is a directory"),
        (PathBuf::new(), "names no file"),
        (at("empty.json"), "it is empty"),
        (at("cut.json"), "EOF while parsing"),
        (at("long.json"), "it is "),
    ] {
        let error = FileStore::open(&path).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{path:?}: {error}");
    }
    FileStore::open_for_reset(&at("cut.json")).unwrap().reset(4, None).unwrap();
    assert_eq!(FileStore::open(&at("cut.json")).unwrap().record().unwrap().number, 4);
}

#[test]
fn a_file_may_be_as_long_as_the_limit_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut text = format::render(&record(5), None).unwrap();
    let written = String::from_utf8(text.clone()).unwrap();
    assert!(!written.contains("generation"), "a first one is left out: {written}");
    text.resize(usize::try_from(format::MAX_BYTES).unwrap(), b' ');
    fs::write(&path, &text).unwrap();
    assert_eq!(read(&path), Some(record(5)));
    text.push(b' ');
    fs::write(&path, &text).unwrap();
    let error = FileStore::open(&path).unwrap_err();
    let too_long =
        matches!(error, StoreError::Corrupt { source: format::FormatError::TooLong, .. });
    assert!(too_long, "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_found_at_once() {
    for at in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let files = FaultyFiles::default();
        files.0.lock().error = ErrorKind::PermissionDenied;
        files.arm(at, Fault::Fails);
        let error =
            FileStore::open_with(&folder.path().join("s.json"), Box::new(files), Contents::whole)
                .unwrap_err();
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains("make it writable"), "{error}");
    }
}

#[test]
fn a_start_on_a_full_disk_goes_on_with_the_stored_head() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        for at in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.json");
            FileStore::open(&path).unwrap().save(record(5)).unwrap();
            let files = FaultyFiles::default();
            files.0.lock().error = kind;
            files.arm(at, Fault::Fails);
            let mut store = open(&path, &files);
            assert_eq!(store.record(), Some(&record(5)));
            assert!(matches!(store.problem(), Some(StoreError::Full { .. })), "{at}");
            files.arm(0, Fault::Fails);
            assert!(store.save(record(6)).is_err(), "it is still full");
            files.disarm();
            store.save(record(6)).unwrap();
            assert_eq!(read(&path), Some(record(6)));
        }
    }
    // Without a stored head there is nothing to serve.
    let folder = tempfile::tempdir().unwrap();
    let files = FaultyFiles::default();
    files.0.lock().error = ErrorKind::StorageFull;
    files.arm(0, Fault::Fails);
    let path = folder.path().join("store.json");
    let opened = FileStore::open_with(&path, Box::new(files), Contents::whole);
    assert!(matches!(opened, Err(StoreError::Full { .. })));
    // Other errors do not end by themselves.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    FileStore::open(&path).unwrap().save(record(5)).unwrap();
    let files = FaultyFiles::default();
    files.0.lock().error = ErrorKind::PermissionDenied;
    files.arm(0, Fault::Fails);
    let opened = FileStore::open_with(&path, Box::new(files), Contents::whole);
    assert!(matches!(opened, Err(StoreError::Unwritable { .. })));
}

#[test]
fn leftovers_of_killed_writes_are_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        [".store.json.tmp-1-1", ".store.json.tmp-99-7", ".other.json.tmp-1-1", "store.json.bak"]
    {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    drop(FileStore::open(&folder.path().join("store.json")).unwrap());
    assert_eq!(names(folder.path()), [".other.json.tmp-1-1", "store.json.bak", "store.json.lock"]);
}

#[test]
fn a_file_that_another_program_wrote_meanwhile_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut store = FileStore::open(&path).unwrap();
    store.save(record(5)).unwrap();
    let theirs =
        r#"{"l2_block_number":90,"fallback_hotshot_height":1,"updated_at":"2026-03-27T10:11:12Z"}"#;
    fs::write(folder.path().join("theirs"), theirs).unwrap();
    fs::rename(folder.path().join("theirs"), &path).unwrap();
    let error = store.save(record(6)).unwrap_err();
    assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
    fs::remove_file(&path).unwrap();
    store.save(record(6)).unwrap();
    // What cannot be looked at is not taken for a file that is gone.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert!(matches!(store.save(record(7)), Err(StoreError::Unreadable { .. })));
}

/// One event of a random schedule.
#[derive(Debug, Clone, Copy)]
enum Event {
    Save(u64),
    Reopen,
    /// A save with a fault at one of its calls.
    FaultySave(u64, usize, Fault),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let fault = prop_oneof![
        Just(Fault::Fails),
        Just(Fault::FailsHalfway),
        Just(Fault::KilledBefore),
        Just(Fault::KilledAfter),
    ];
    let event = prop_oneof![
        (0..20_u64).prop_map(Event::Save),
        Just(Event::Reopen),
        (0..20_u64, 0..SAVE.len(), fault)
            .prop_map(|(number, at, fault)| Event::FaultySave(number, at, fault)),
    ];
    prop::collection::vec(event, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_lowers_the_number(events in events()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        let mut files = FaultyFiles::default();
        let mut store = Some(open(&path, &files));
        let mut on_disk = None;
        let mut acknowledged = None;
        for event in events {
            let number = match event {
                Event::Save(number) | Event::FaultySave(number, ..) => Some(number),
                Event::Reopen => None,
            };
            if let Event::FaultySave(_, at, fault) = event {
                files.arm(at, fault);
            }
            if let Some(number) = number && store.as_mut().unwrap().save(record(number)).is_ok() {
                acknowledged = acknowledged.max(Some(number));
            }
            files.disarm();
            let killed = files.0.lock().killed;
            if killed || matches!(event, Event::Reopen) {
                drop(store.take());
                files = FaultyFiles::default();
                store = Some(open(&path, &files));
            }
            let now = read(&path).map(|record| record.number);
            prop_assert!(now >= on_disk, "{event:?} lowered {on_disk:?} to {now:?}");
            prop_assert!(now >= acknowledged, "{event:?} lost {acknowledged:?}");
            on_disk = now;
        }
    }
}
