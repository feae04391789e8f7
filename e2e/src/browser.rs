//! A headless Chromium with tabs, driven over its DevTools protocol.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::{
    process::Process,
    wait::{PATIENCE, until},
};

/// Loads only the page under test, and reaches nothing outside this machine.
const FLAGS: [&str; 14] = [
    "--headless",
    // The sandbox does not start for root, and the only pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--mute-audio",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
    "--force-color-profile=srgb",
];

/// Light or dark, as the user prefers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on light ground.
    Light,
    /// Light text on dark ground.
    Dark,
}

/// A key that is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// To the next control.
    Tab,
    /// Opens and follows.
    Enter,
}

/// The browser and its tabs, one of which is used at a time. It ends when dropped.
#[derive(Debug)]
pub struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Of the tab in use.
    session: Option<String>,
    tabs: Vec<String>,
    last_id: u64,
    /// Events that the browser sent.
    events: Vec<Value>,
    _process: Process,
}

impl Browser {
    /// Starts the browser with an empty page.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(program: &Path, folder: &Path) -> Self {
        let profile = folder.join("chromium");
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", profile.display()));
        flags.push("about:blank".into());
        let mut process = Process::start("chromium", program, flags, folder);
        let port = profile.join("DevToolsActivePort");
        let address = until("Chromium to start", PATIENCE, async || {
            assert_eq!(process.ended(), None, "Chromium ended");
            let text = std::fs::read_to_string(&port).ok()?;
            let (port, path) = text.split_once('\n')?;
            Some(format!("ws://127.0.0.1:{port}{path}"))
        })
        .await;
        let (socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let mut browser = Self {
            socket,
            session: None,
            tabs: Vec::new(),
            last_id: 0,
            events: Vec::new(),
            _process: process,
        };
        browser.new_tab().await;
        browser
    }

    /// Opens an empty tab, and uses it.
    ///
    /// # Panics
    /// When the browser does not.
    pub async fn new_tab(&mut self) {
        self.session = None;
        let target = self.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", target).await;
        let session = session["sessionId"].as_str().unwrap().to_owned();
        self.tabs.push(session.clone());
        self.session = Some(session);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            self.call(&format!("{domain}.enable"), json!({})).await;
        }
    }

    /// How many tabs were opened.
    #[must_use]
    pub fn tabs(&self) -> usize {
        self.tabs.len()
    }

    /// Uses the tab that was opened as that one, from 0.
    pub fn use_tab(&mut self, index: usize) {
        self.session = Some(self.tabs[index].clone());
    }

    /// Runs a script in this tab before each page's own.
    pub async fn run_first(&mut self, script: &str) {
        let script = json!({"source": script});
        self.call("Page.addScriptToEvaluateOnNewDocument", script).await;
    }

    /// One command of the protocol; its result.
    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("Chromium is there").unwrap();
                let Message::Text(text) = message else { continue };
                let mut message: Value = serde_json::from_str(&text).unwrap();
                if message["id"] != json!(id) {
                    self.events.push(message);
                    continue;
                }
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
        };
        let answer = timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| panic!("waited for Chromium's answer to {method}"))
    }

    /// Goes to a page.
    ///
    /// # Panics
    /// When there is none.
    pub async fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url})).await;
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        self.until("document.readyState === 'complete'").await;
    }

    /// The value of a JavaScript expression in the page.
    ///
    /// # Panics
    /// When it throws.
    pub async fn value(&mut self, expression: &str) -> Value {
        let command =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", command).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// The text of an element.
    ///
    /// # Panics
    /// When there is no such element.
    pub async fn text(&mut self, id: &str) -> String {
        let text = self.value(&format!("document.getElementById('{id}').textContent")).await;
        text.as_str().unwrap().to_owned()
    }

    /// Waits until a JavaScript condition holds.
    ///
    /// # Panics
    /// When it throws, or does not come to hold.
    pub async fn until(&mut self, condition: &str) {
        until(condition, PATIENCE, async || {
            (self.value(condition).await == json!(true)).then_some(())
        })
        .await;
    }

    /// Presses a key.
    pub async fn press(&mut self, key: Key) {
        let (name, code, text) = match key {
            Key::Tab => ("Tab", 9, None),
            Key::Enter => ("Enter", 13, Some("\r")),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code});
            if let Some(text) = text.filter(|_| kind == "keyDown") {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Replaces the contents of a text field, as a paste does.
    pub async fn paste(&mut self, id: &str, text: &str) {
        self.value(&format!("document.getElementById('{id}').focus()")).await;
        self.value(&format!("document.getElementById('{id}').select()")).await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// The size of the window, and the scheme that the user prefers.
    pub async fn show_as(&mut self, width: u32, height: u32, scheme: Scheme) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", feature).await;
    }

    /// Writes a picture of the page as PNG: the whole page, or its upper part of that height.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub async fn picture(&mut self, file: &Path, height: Option<u32>) {
        let size = self.value("[innerWidth, document.documentElement.scrollHeight]").await;
        let height = height.map_or(size[1].clone(), Value::from);
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let command = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", command).await;
        let bytes = BASE64.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// Role and name of what the page shows to a screen reader.
    pub async fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({})).await;
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().into_iter().flatten();
        nodes
            .filter(|node| node["ignored"] == json!(false))
            .map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// Errors and warnings of the console, uncaught exceptions and refusals of the content security
    /// policy, as far as they have come.
    pub fn complaints(&self) -> Vec<String> {
        let complaint = |event: &Value| {
            let parameters = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" => Some(parameters["args"].to_string()),
                "Log.entryAdded" => {
                    let entry = &parameters["entry"];
                    Some(format!("{} {}", entry["text"], entry["url"]))
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(complaint).collect()
    }

    /// The URLs of everything that the page asked for.
    pub fn requests(&self) -> Vec<String> {
        let url = |event: &Value| {
            let asked = event["method"] == json!("Network.requestWillBeSent");
            asked.then(|| event["params"]["request"]["url"].as_str().unwrap().to_owned())
        };
        self.events.iter().filter_map(url).collect()
    }
}

/// Where pictures of the page go, if they are wanted.
#[must_use]
pub fn pictures() -> Option<PathBuf> {
    std::env::var_os("FINALITY_E2E_PICTURES").map(PathBuf::from)
}
