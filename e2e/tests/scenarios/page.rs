//! Scenario 12: the status page of a running devnet in Chromium. `cargo xtask pictures` takes its
//! pictures for the README.

use finality_e2e::{
    browser::{Browser, Key, Scheme, pictures},
    devnet::Devnet,
    edge::Edge,
    etcd::Etcd,
    fake_sidecar::Says,
    hotshot::Fault,
    nitro::parent::ParentChain,
    process,
    sidecar::{Settings, Sidecar},
    tools,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The width of a desktop and of a phone.
const WIDE: (u32, u32) = (1100, 900);
const NARROW: (u32, u32) = (400, 800);
/// Blocks before a picture is taken: a few, or enough for a chart if the picture is for the README.
const FEW: u64 = 6;
const MANY: u64 = 150;

/// The page of this devnet, with figures.
async fn page(net: &Devnet) -> (Browser, TempDir) {
    page_at(&net.sidecar.url("/")).await
}

async fn page_at(url: &str) -> (Browser, TempDir) {
    let folder = process::folder();
    let program = tools::chromium().unwrap_or_else(|error| panic!("{error}"));
    let mut browser = Browser::start(&program, folder.path()).await;
    browser.show_as(WIDE.0, WIDE.1, Scheme::Light).await;
    browser.open(url).await;
    browser.until("document.getElementById('connection').textContent === 'Live'").await;
    (browser, folder)
}

fn shown(number: u64) -> String {
    // No devnet lasts until a number needs a separator.
    assert!(number < 1000);
    format!("document.getElementById('number').textContent === '{number}'")
}

/// The page logs no errors and sends requests only to the sidecar.
fn assert_quiet(browser: &Browser, net: &Devnet) {
    assert_eq!(browser.complaints(), [""; 0]);
    let own = net.sidecar.url("/");
    for url in browser.requests() {
        assert!(url.starts_with(&own), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_shows_the_head_as_it_advances() {
    let net = Devnet::emulated().start().await;
    let (mut browser, _folder) = page(&net).await;
    for _ in 0..3 {
        net.produce(1).await;
        let head = net.head_reaches(net.height().await).await;
        browser.until(&shown(head)).await;
    }
    assert_eq!(browser.text("state").await, "Serving tagged requests");
    browser.until("document.getElementById('reason-code').textContent === 'up_to_date'").await;
    assert_eq!(browser.text("mode").await, "Espresso");
    browser.until("document.getElementById('lag').textContent === '0 blocks'").await;
    assert_eq!(browser.text("mismatches").await, "0");
    let hash = net.sidecar.head().await.unwrap().hash.unwrap();
    assert_eq!(browser.text("hash").await, hash);
    browser.until("document.querySelectorAll('#dependencies [data-level=ok]').length === 4").await;
    browser.until("document.querySelector('#plot .head')?.getAttribute('d').includes('L')").await;

    // L2 continues and HotShot does not: the page shows the reason and the distance.
    net.build(2).await;
    browser.until("document.getElementById('lag').textContent === '2 blocks'").await;
    let reason = format!("HotShot has no batch for block {} yet", net.height().await - 1);
    browser.until(&format!("document.getElementById('reason').textContent === '{reason}'")).await;

    // A dependency that fails is named, and its message is shown as text.
    net.hotshot.set_fault(Some(Fault::Status(500)));
    browser.until("document.querySelectorAll('#dependencies [data-level=bad]').length === 1").await;
    let failing = "document.querySelector('#dependencies li:has([data-level=bad])').textContent";
    let failing = browser.value(failing).await;
    assert!(failing.as_str().unwrap().contains("500"), "{failing}");
    net.hotshot.set_fault(None);
    browser.until("document.querySelectorAll('#dependencies [data-level=bad]').length === 0").await;
    assert_quiet(&browser, &net);
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_shows_replicas_and_who_is_missing() {
    let net = Devnet::emulated().start().await;
    let folders = [process::folder(), process::folder(), process::folder()];
    let etcd = Etcd::start(folders[2].path()).await;
    let more = vec![("--store", etcd.store()), ("--publish-quorum", "2".into())];
    let settings = Settings { more, ..net.sidecar.settings().clone() };
    let replicas = [0, 1].map(|index| Sidecar::new(settings.clone(), folders[index].path()));
    for replica in &replicas {
        replica.start().await;
    }
    net.produce(2).await;
    let (mut browser, _folder) = page_at(&replicas[0].url("/")).await;
    browser.until(&shown(net.height().await)).await;
    browser.until("document.querySelectorAll('#replicas [data-level=ok]').length === 3").await;
    // Its lease ends with it, and the other one is too few.
    replicas[1].stop().await;
    net.produce(1).await;
    browser.until("document.querySelector('#replicas li').textContent.includes('Too few')").await;
    browser.until("document.querySelectorAll('#replicas li').length === 2").await;
    browser.until("document.getElementById('reason-code').textContent === 'quorum_short'").await;
    assert_eq!(browser.complaints(), [""; 0]);

    // Alone, there are no replicas to show.
    let (mut browser, _folder) = page(&net).await;
    browser.until("document.getElementById('replicas-card').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_shows_what_of_a_nitro_block_is_proven() {
    let net = Devnet::nitro().parent(ParentChain::Nitro).start().await;
    net.produce(2).await;
    let (mut browser, _folder) = page_at(&net.sidecar.url("/")).await;
    browser.until(&shown(net.height().await)).await;
    let source = browser.text("source").await;
    assert!(source.starts_with("confirmed by Espresso by the hash that is signed, "), "{source}");
    // Node, L1, its parent chain and HotShot.
    browser.until("document.querySelectorAll('#dependencies [data-level=ok]').length === 4").await;
    let name = "[...document.querySelectorAll('#dependencies li')].map((it) => it.textContent)";
    let names = browser.value(name).await.to_string();
    assert!(names.contains("Parent chain node"), "{names}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_box_shows_what_the_node_gets() {
    let net = Devnet::emulated().start().await;
    let (mut browser, _folder) = page(&net).await;
    let head = net.head_reaches(net.height().await).await;
    browser.until(&shown(head)).await;
    // A node that records what it gets, behind an Envoy with the same head.
    let edge = Edge::builder().says(Says::head(head)).start().await;
    edge.resolves_to(Ok(head)).await;

    let batch = "[ {\"params\" : [\"é\", \"espresso\" ],\n\t\"method\":\"eth_call\",\"id\":1},\
        {\"id\":\"2\",\"method\":\"eth_getLogs\",\"params\":[{\"fromBlock\":\"\\u0065spresso\",\"toBlock\":\"latest\"}]},\
        {\"id\":3,\"method\":\"eth_sign\",\"params\":[\"espresso\"]}]";
    browser.paste("body", batch).await;
    browser.until("document.querySelectorAll('#result mark').length === 2").await;
    let answer = edge.client().post(batch).await.unwrap();
    assert_eq!(answer.head(), Some(head));
    assert_eq!(browser.text("result").await, answer.text());
    assert_eq!(browser.text("verdict").await, "Tags are replaced");

    // Other tags, another scope.
    browser.paste("tags", "latest").await;
    let replaced = batch.replace("latest", &finality_e2e::client::hex(head));
    browser.until("document.querySelectorAll('#result mark').length === 1").await;
    assert_eq!(browser.text("result").await, replaced);
    browser.paste("tags", "espresso").await;
    let choose = "scope.value = 'block-parameters'; \
        scope.dispatchEvent(new Event('input', { bubbles: true }))";
    browser.value(&format!("const scope = document.getElementById('scope'); {choose}")).await;
    let named = r#"{"id":1,"method":"eth_getBalance","params":["espresso","0x1"]}"#;
    browser.paste("body", named).await;
    browser.until("document.getElementById('verdict').textContent.startsWith('No tag')").await;
    assert_eq!(browser.text("result").await, named);

    // A body that the filter refuses, with its answer.
    let cut = r#"{"id":1,"method":"eth_getBalance","params":["0x1","espresso""#;
    browser.paste("body", cut).await;
    browser.until("document.getElementById('verdict').textContent === 'Refused'").await;
    let answer = edge.client().post(cut).await.unwrap();
    assert_eq!(browser.text("result").await, answer.text());
    assert!(browser.text("refusal").await.starts_with(&format!("HTTP {}", answer.status)));
    assert_quiet(&browser, &net);
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_notices_that_the_sidecar_goes_away_and_comes_back() {
    let net = Devnet::emulated().start().await;
    let (mut browser, _folder) = page(&net).await;
    let away = "document.getElementById('connection').textContent.startsWith('Away since')";
    let live = "document.getElementById('connection').textContent === 'Live'";
    // Stopped with a page open, and killed.
    net.sidecar.stop().await;
    browser.until(away).await;
    let banner = browser.text("away").await;
    assert!(banner.starts_with("The sidecar has not answered since "), "{banner}");
    assert_eq!(browser.value("document.getElementById('away').hidden").await, json!(false));
    net.sidecar.start().await;
    browser.until(live).await;
    assert_eq!(browser.value("document.getElementById('away').hidden").await, json!(true));
    net.sidecar.kill();
    browser.until(away).await;
    net.sidecar.start().await;
    browser.until(live).await;
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;
    browser.until(&shown(head)).await;
    // The browser itself notes the requests that failed (it requests the icon at any time), and
    // nothing else.
    let own = net.sidecar.url("/");
    for complaint in browser.complaints() {
        assert!(complaint.contains("net::ERR") && complaint.contains(&own), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_is_for_keyboards_screen_readers_and_small_screens() {
    let net = Devnet::emulated().start().await;
    let (mut browser, _folder) = page(&net).await;
    browser.until("document.querySelector('#plot .head') !== null").await;

    // Every control can be reached in order, and shows its focus.
    let focus = "(() => { const at = document.activeElement; \
        const name = at.id || at.tagName + ' ' + at.textContent; \
        return [name, getComputedStyle(at).outlineStyle]; })()";
    let mut reached = Vec::new();
    for _ in 0..30 {
        browser.press(Key::Tab).await;
        let focused = browser.value(focus).await;
        let name = focused[0].as_str().unwrap().to_owned();
        if reached.contains(&name) || name.starts_with("BODY") {
            break;
        }
        assert_eq!(focused[1], "solid", "{name}");
        if name.starts_with("SUMMARY") {
            browser.press(Key::Enter).await;
            browser.until("document.querySelectorAll('#chart-rows td').length >= 4").await;
        }
        reached.push(name);
    }
    let expected = [
        "A Skip to the content",
        "SUMMARY Show as a table",
        "DIV ",
        "body",
        "tags",
        "scope",
        "result",
        "A Status",
        "A Head",
        "A Metrics",
    ];
    assert_eq!(reached.len(), expected.len(), "{reached:?}");
    for (reached, expected) in reached.iter().zip(expected) {
        assert!(reached.starts_with(expected), "{reached} is not {expected}");
    }

    // Every input, moving part and picture has a name.
    let named = ["textbox", "combobox", "link", "image", "img", "region", "heading", "navigation"];
    let accessible = browser.accessible().await;
    for (role, name) in &accessible {
        assert!(!named.contains(&role.as_str()) || !name.is_empty(), "{role}: {accessible:?}");
    }
    for wanted in ["JSON-RPC request body", "Tags, comma-separated", "Where tags are replaced"] {
        assert!(accessible.iter().any(|(_, name)| name == wanted), "{wanted}: {accessible:?}");
    }

    // Contrast of all text is at least 4.5 to 1, in both schemes; nothing is wider than the screen.
    for scheme in [Scheme::Light, Scheme::Dark] {
        for (width, height) in [WIDE, NARROW] {
            browser.show_as(width, height, scheme).await;
            let overflow = browser.value("document.documentElement.scrollWidth - innerWidth").await;
            assert!(overflow.as_i64().unwrap() <= 0, "{overflow} at {width}");
            let poor = browser.value(POOR_CONTRAST).await;
            assert_eq!(poor, Value::Array(Vec::new()), "{scheme:?}");
        }
    }
    assert_quiet(&browser, &net);
}

/// More than the connections that a browser opens to a host.
const TABS: usize = 9;
const LIVE: &str = "document.getElementById('connection').textContent === 'Live'";

#[tokio::test(flavor = "multi_thread")]
async fn s12_page_in_many_tabs_needs_one_stream() {
    const STREAMS: &str = "espresso_http_requests_total{path=\"/v1/events\",code=\"200\"}";
    let net = Devnet::emulated().start().await;
    let (mut browser, _folder) = page(&net).await;
    let page = net.sidecar.url("/");
    while browser.tabs() < TABS {
        browser.new_tab().await;
        browser.open(&page).await;
        browser.until(LIVE).await;
    }
    net.produce(1).await;
    let head = net.head_reaches(net.height().await).await;
    for tab in 0..TABS {
        browser.use_tab(tab);
        browser.until(&shown(head)).await;
    }
    assert_eq!(net.sidecar.metric(STREAMS).await, Some(1.0));
    assert_quiet(&browser, &net);

    // All of them see it go away and come back.
    net.sidecar.stop().await;
    for tab in 0..TABS {
        browser.use_tab(tab);
        browser.until("document.getElementById('connection').dataset.level === 'bad'").await;
    }
    net.sidecar.start().await;
    for tab in 0..TABS {
        browser.use_tab(tab);
        browser.until(LIVE).await;
    }
    // They are live again before the stream is: by the status.
    let streams = until("their stream", PATIENCE, async || net.sidecar.metric(STREAMS).await).await;
    assert_eq!(streams, 1.0);

    // A tab that cannot share has a stream of its own.
    for broken in ["delete globalThis.SharedWorker", BROKEN_WORKER] {
        browser.new_tab().await;
        browser.run_first(broken).await;
        browser.open(&page).await;
        browser.until(LIVE).await;
    }
    until("their streams", PATIENCE, async || {
        (net.sidecar.metric(STREAMS).await == Some(3.0)).then_some(())
    })
    .await;
}

/// A shared worker whose script is not there.
const BROKEN_WORKER: &str = "{
    const Worker = SharedWorker;
    const { href } = new URL('page/none.js', location.href);
    const policy = trustedTypes.createPolicy('worker', { createScriptURL: () => href });
    globalThis.SharedWorker = function () { return new Worker(policy.createScriptURL(''), { type: 'module' }); };
    trustedTypes.createPolicy = () => undefined;
}";

/// Any width from the smallest phone on, with the longest texts that may be in a tile.
#[tokio::test(flavor = "multi_thread")]
async fn s12_page_breaks_no_word_at_any_width() {
    let net = Devnet::emulated().start().await;
    let (mut browser, _folder) = page(&net).await;
    browser.until("document.getElementById('reason-code').textContent === 'up_to_date'").await;
    let since = browser.text("reason-since").await;
    assert!(since.starts_with("since ") && since.ends_with(" ago"), "{since}");
    for contents in ["", LONG_CONTENTS] {
        // The page writes again with the next event.
        let broken = format!("{contents}; {BROKEN_WORDS}");
        for width in (320..1300).step_by(20).chain([1920]) {
            browser.show_as(width, 800, Scheme::Light).await;
            let found = browser.value(&broken).await;
            assert_eq!(found, Value::Array(Vec::new()), "at {width}");
        }
    }
}

/// What a rollup may come to.
const LONG_CONTENTS: &str = r#"
    for (const value of document.querySelectorAll('.facts dt + dd')) value.textContent = '123,456,789,012';
    document.getElementById('lag').textContent = '123,456,789 blocks';
    document.getElementById('source').textContent = 'confirmed by Espresso, 23 h 59 min ago';
    document.getElementById('height').textContent = 'of 123,456,789,012 blocks; caught up by 99.9 %, 23 h 59 min left'"#;

/// Words of tiles that are on two lines, or stick out.
const BROKEN_WORDS: &str = r#"[...document.querySelectorAll('.facts dt, .facts dd')].flatMap((element) => {
    const box = element.closest('.card').getBoundingClientRect();
    return [...element.childNodes].flatMap((node) => [...node.data.matchAll(/\S+/g)].flatMap((word) => {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
        const { left, right } = range.getBoundingClientRect();
        return lines.size > 1 || left < box.left || right > box.right ? [word[0]] : [];
    }));
})"#;

/// Texts whose contrast to their background is below 4.5.
const POOR_CONTRAST: &str = r#"(() => {
    const rgb = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = (color) => {
        const [r, g, b] = color.map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = rgb(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter((element) =>
        element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
    return texts.flatMap((element) => {
        const style = getComputedStyle(element);
        const color = rgb(element instanceof SVGElement ? style.fill : style.color).slice(0, 3);
        const [a, b] = [luminance(color), luminance(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return contrast < 4.5 ? [`${contrast.toFixed(2)} ${element.textContent.slice(0, 40)}`] : [];
    });
})()"#;

/// Takes pictures of a page with something to see, if a folder for them is given.
#[tokio::test(flavor = "multi_thread")]
async fn s12_page_has_its_picture_taken() {
    let folder = pictures();
    let net = Devnet::emulated().start().await;
    let (mut browser, own) = page(&net).await;
    for block in 0..if folder.is_some() { MANY } else { FEW } {
        net.mine_l1(1).await;
        let blocks = net.build(1).await;
        net.batcher.post(&blocks);
        // HotShot pauses for a while, so that there is something to see.
        if block % 3 == 2 && !(60..84).contains(&block) {
            net.mine_hotshot(1).await;
        }
        let finalized = net.height().await.saturating_sub(40);
        net.rollup.op_node.set_finalized(finalized.max(net.rollup.op_node.highest_finalized()));
        // A step of the page is the picture's clock.
        let latest = net.height().await;
        browser
            .until(&format!("document.getElementById('chart-latest').textContent === '{latest}'"))
            .await;
    }
    browser.until("document.querySelectorAll('#result mark').length === 2").await;
    let folder = folder.unwrap_or_else(|| own.path().into());
    for (scheme, name) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
        browser.show_as(WIDE.0, WIDE.1, scheme).await;
        // The README shows the upper part.
        let end = "Math.ceil(document.querySelector('.card:has(#plot)').getBoundingClientRect().bottom) + 16";
        let end = browser.value(end).await.as_u64().and_then(|end| u32::try_from(end).ok());
        let file = folder.join(format!("status-page-{name}.png"));
        browser.picture(&file, Some(end.unwrap())).await;
        browser.picture(&folder.join(format!("status-page-{name}-whole.png")), None).await;
        browser.show_as(NARROW.0, NARROW.1, scheme).await;
        browser.picture(&folder.join(format!("status-page-{name}-narrow.png")), None).await;
        // PNG, and not of a single color.
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{}", bytes.len());
    }
    assert_quiet(&browser, &net);
}
