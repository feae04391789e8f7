//! What many requests that never end take of the module's memory.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use finality_filter::memory;

use crate::{envoy::*, host::host, requests::*};

/// Counts what this thread, so this VM and its host, has allocated.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.set(ALLOCATED.get() - layout.size().cast_signed());
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Streams of the attack, and what each sends: all that may be held, without a method.
const STREAMS: u32 = 620;

fn unfinished() -> Vec<u8> {
    format!(r#"{{"id":7,"params":[{}"#, r#""espresso","#.repeat(23_800)).into_bytes()
}

/// The contexts of as many requests as there are.
fn streams() -> std::ops::Range<u32> {
    3000..3000 + STREAMS
}

/// Lets the first part of a body of unknown length come. Returns the answer, if there is one.
fn begin(stream: u32, body: &[u8]) -> Option<crate::host::Reply> {
    host(|host| {
        host.request_headers = post("").without("content-length").headers;
        host.replies.clear();
    });
    callbacks::create(stream, ROOT);
    callbacks::request_headers(stream, 2, false);
    let size = host(|host| {
        host.request_body = body.to_vec();
        host.request_body.len()
    });
    callbacks::request_body(stream, size, false);
    host(|host| {
        host.request_body = Vec::new();
        host.replies.pop()
    })
}

#[test]
fn bodies_that_never_end_take_a_limited_amount_of_memory() {
    start_with_head(CHUNKED, 100);
    let unfinished = unfinished();
    let before = ALLOCATED.get();
    let answers: Vec<_> = streams().filter_map(|stream| begin(stream, &unfinished)).collect();
    let allocated = usize::try_from(ALLOCATED.get() - before).unwrap();
    // Beside what is accounted for, each request takes some bytes, and so do the answers here.
    assert!(memory::held() <= memory::LIMIT, "{}", memory::held());
    assert!(allocated < memory::held() + memory::held() / 8, "{allocated} bytes");
    let accepted = streams().len() - answers.len();
    assert!(accepted >= 30, "{accepted}");
    for answer in &answers {
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains(r#""id":7,"error":{"code":-32005,"#), "{}", answer.body);
        assert!(answer.body.contains(r#""reason":"overloaded""#), "{}", answer.body);
    }
    assert_eq!(metric("refused_overloaded_total"), answers.len() as u64);

    // Meanwhile others go on, with tags and without, short bodies and long ones.
    let long = |block: &str| format!("[{}]", [TAGGED; 1000].join(",").replace("espresso", block));
    for (sent, expected) in [
        (TAGGED.to_owned(), REWRITTEN.to_owned()),
        (UNTAGGED.to_owned(), UNTAGGED.to_owned()),
        (long("latest"), long("latest")),
        (long("espresso"), long("0x64")),
    ] {
        assert_eq!(send(&post(&sent).chunked(1000)).body(), expected);
    }

    // Those that end make room.
    for stream in streams() {
        callbacks::delete(stream);
    }
    assert_eq!(memory::held(), 0);
    assert_eq!(begin(2000, &unfinished), None);
}

#[test]
fn the_account_is_of_the_vm_and_not_of_a_plugin() {
    start_with_head(CHUNKED, 100);
    let unfinished = unfinished();
    let mut stream = 1000;
    while begin(stream, &unfinished).is_none() {
        stream += 1;
    }
    assert!(configure(2, CHUNKED));
    host(|host| host.request_headers = post("").without("content-length").headers);
    callbacks::create(2000, 2);
    callbacks::request_headers(2000, 2, false);
    host(|host| host.request_body.clone_from(&unfinished));
    callbacks::request_body(2000, unfinished.len(), false);
    assert_eq!(host(|host| host.replies.len()), 1);
}

#[test]
fn bodies_that_envoy_holds_take_no_memory_of_the_module() {
    const STRICT: &str = r#"{"sidecar_cluster":"s","freshness":"strict"}"#;
    let streams = || streams().take(60);
    for configuration in [CONFIG, STRICT] {
        start_with_head(configuration, 100);
        let body = unfinished();
        let ended = [body.strip_suffix(b",").unwrap(), b"]}"].concat();
        host(|host| host.request_trailers = vec![("x".to_owned(), Vec::new())]);
        let before = ALLOCATED.get();
        for stream in streams() {
            assert_eq!(begin(stream, &body), None);
        }
        let allocated = usize::try_from(ALLOCATED.get() - before).unwrap();
        assert!(allocated < 1000 * streams().count(), "{allocated} bytes, {configuration}");
        assert_eq!(memory::held(), 0);

        // Those that end, by trailers, and then wait for the sidecar.
        for stream in streams() {
            host(|host| host.request_body.clone_from(&ended));
            callbacks::request_trailers(stream, 1);
            host(|host| host.request_body = Vec::new());
        }
        let waiting = host(|host| std::mem::take(&mut host.callouts)).len();
        assert_eq!(waiting, if configuration == STRICT { streams().count() } else { 0 });
        let allocated = usize::try_from(ALLOCATED.get() - before).unwrap();
        assert!(allocated < 1000 * streams().count(), "{allocated} bytes, {configuration}");
    }
}
