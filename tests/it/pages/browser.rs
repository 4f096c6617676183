//! A page of the web UI in a browser: opened, asked and pressed, and what it complained of
//! meanwhile.

use super::chromium::{Chromium, Seen};
use crate::harness::{Agent, DEADLINE};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Between two looks at a page.
const LOOK: Duration = Duration::from_millis(30);

/// Looks for texts with less contrast than the guidelines for accessible content ask for: 4.5, and
/// 3 for large letters. What cannot be used just now may be faint.
const CONTRAST: &str = "(() => {
    const parts = (text) => {
      const [r, g, b, a = 1] = text.match(/-?[\\d.]+(?:e-?\\d+)?/g).map(Number);
      const most = text.startsWith('rgb') ? 255 : 1;
      return [r / most, g / most, b / most, a];
    };
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
    const behind = (element) => {
      const layers = [];
      for (let own = element; own; own = own.parentElement) {
        const color = parts(getComputedStyle(own).backgroundColor);
        if (color[3] > 0) layers.push(color);
        if (color[3] === 1) break;
      }
      return layers.reverse().reduce((sum, layer) => over(layer, sum), [1, 1, 1]);
    };
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const faint = new Set();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.data.trim();
      const element = texts.currentNode.parentElement;
      if (text === '' || element.closest(':disabled, script, noscript') || !element.checkVisibility()) continue;
      const style = getComputedStyle(element);
      const color = parts(style.color);
      for (let own = element; own; own = own.parentElement) color[3] *= getComputedStyle(own).opacity;
      if (color[3] === 0) continue;
      const back = behind(element);
      const [dim, bright] = [light(over(color, back)), light(back)].sort((one, other) => one - other);
      const ratio = (bright + 0.05) / (dim + 0.05);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      if (ratio < (isLarge ? 3 : 4.5)) faint.add(`${text.slice(0, 40)}: ${style.color} has a contrast of ${ratio.toFixed(2)}`);
    }
    return { faint: [...faint], isDark: light(behind(document.documentElement)) < 0.2 };
})()";

/// What our command line says against a line that a page shows; none for lines of other programs.
pub(super) fn refused(line: &str) -> Option<String> {
    if !line.starts_with("trivet ") {
        return None;
    }
    let script = format!("printf '%s\\0' {line}");
    let words = Command::new("sh").args(["-c", &script]).output();
    let words = String::from_utf8(words.expect("a shell").stdout).expect("text");
    let words = words.split_terminator('\0').map(OsString::from);
    cli::parse(words).err().map(|refusal| refusal.text)
}

/// A page that shares nothing with those of other tests but the process.
pub(super) struct Browser {
    chromium: Arc<Chromium>,
    context: Value,
    session: String,
    seen: Arc<Mutex<Seen>>,
    origin: String,
}

impl Browser {
    /// An empty page that will look at an agent; none, loudly, where there is no Chromium.
    pub(super) async fn at(agent: &Agent) -> Option<Self> {
        let chromium = Chromium::shared().await?;
        let made = chromium
            .call("", "Target.createBrowserContext", json!({}))
            .await;
        let context = made["browserContextId"].clone();
        let target = json!({"url": "about:blank", "browserContextId": context, "newWindow": true});
        let target = chromium.call("", "Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = chromium.call("", "Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session");
        let page = Self {
            seen: chromium.look_at(session),
            session: session.to_owned(),
            chromium,
            context,
            origin: agent.url("http", ""),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        // Several pages are looked at at the same time, each as if it were the only one.
        let focus = json!({"enabled": true});
        page.call("Emulation.setFocusEmulationEnabled", focus).await;
        page.size(1280, 900).await;
        Some(page)
    }

    /// Carries out a command of the protocol.
    pub(super) async fn call(&self, method: &str, parameters: Value) -> Value {
        self.chromium.call(&self.session, method, parameters).await
    }

    /// Sets the size of the window.
    pub(super) async fn size(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets whether the system's colors are dark.
    pub(super) async fn colors(&self, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Loads the page at `path` of the web UI anew and waits until it shows something.
    pub(super) async fn open(&self, path: &str) {
        let url = format!("{}/ui{path}", self.origin);
        let broken_off = || self.seen.lock().expect("no panic").broken_off;
        loop {
            let before = broken_off();
            self.call("Page.navigate", json!({"url": url})).await;
            let is_shown = self.wait("document.querySelector('main h1, main .empty') !== null");
            let is_broken_off = async {
                while broken_off() == before {
                    sleep(LOOK).await;
                }
            };
            // Without its frame the page cannot ask again itself.
            tokio::select! {
                biased;
                () = is_shown => return,
                () = is_broken_off => {}
            }
        }
    }

    /// Goes to `path` in the page that is loaded, as a link does, and waits until all of it is
    /// there.
    pub(super) async fn go(&self, path: &str) {
        let went = format!(
            "new Promise((done) => {{ history.pushState(null, '', {}); dispatchEvent(new PopStateEvent('popstate')); \
             requestAnimationFrame(() => requestAnimationFrame(() => done(true))); }})",
            json!(format!("/ui{path}"))
        );
        self.value(&went).await;
        self.wait(
            "document.querySelector('main h1') !== null && document.querySelector('main [aria-busy]') === null",
        )
        .await;
    }

    /// The value of an expression in the page, which may be a promise.
    pub(super) async fn value(&self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters).await;
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// What the main part of the page says.
    pub(super) async fn text(&self) -> String {
        let text = self.value("document.querySelector('main').innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    pub(super) async fn wait(&self, expression: &str) {
        let start = Instant::now();
        // A page that is just replaced answers nothing.
        let safe = format!(
            "(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"
        );
        while self.value(&safe).await != true {
            if start.elapsed() > DEADLINE {
                let (text, problems) = (self.text().await, self.problems());
                let asked = "document.querySelector('dialog[open]')?.innerText";
                let asked = self.value(asked).await;
                panic!(
                    "{expression} did not come true; the page says:\n{text}\n{asked}\n{problems:?}"
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the main part of the page says `text`.
    pub(super) async fn wait_text(&self, text: &str) {
        let wanted = json!(text);
        self.wait(&format!(
            "document.querySelector('main').innerText.includes({wanted})"
        ))
        .await;
    }

    /// Presses the button or link with this label as soon as that is possible: in a question if one
    /// is open, and rather in the main part of the page than in its menu.
    pub(super) async fn press(&self, label: &str) {
        let find = format!(
            "['dialog[open]', 'main', 'body'].flatMap((own) => [...document.querySelectorAll(`${{own}} button, ${{own}} a`)])\
             .find((own) => own.textContent.trim() === {} && !own.disabled \
             && (own.closest('dialog') || !document.querySelector('dialog[open]')))",
            json!(label)
        );
        self.act(&find, "own.click()").await;
    }

    /// Does something with an element as soon as there is one, before the page can draw again.
    async fn act(&self, find: &str, what: &str) {
        self.wait(&format!(
            "((own) => Boolean(own) && ({what}, true))({find})"
        ))
        .await;
    }

    /// The command line that the open question shows, which must be one, and then its answer: the
    /// button with this label.
    pub(super) async fn confirm(&self, command: &str, label: &str) -> String {
        let shown = "document.querySelector('dialog[open] .command code').textContent";
        self.wait(&format!("{shown}.startsWith({})", json!(command)))
            .await;
        let line = self.value(shown).await.as_str().expect("a line").to_owned();
        assert_eq!(refused(&line), None, "{line}");
        self.press(label).await;
        self.wait("document.querySelector('dialog[open]') === null")
            .await;
        line
    }

    /// The command lines that the page shows.
    pub(super) async fn commands(&self) -> Vec<String> {
        let lines = "[...document.querySelectorAll('.command code')].map((own) => own.textContent)";
        let lines = self.value(lines).await;
        let lines = lines.as_array().expect("lines").iter();
        lines
            .map(|line| line.as_str().expect("a line").to_owned())
            .collect()
    }

    /// Puts text where a selector points, in place of what is there, as a paste does.
    pub(super) async fn paste(&self, selector: &str, text: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        self.act(&field, "own.focus(), own.select()").await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Makes a choice of a list, by the value that stands for it.
    pub(super) async fn choose(&self, selector: &str, value: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        let value = json!(value);
        let find = format!(
            "[{field}].find((own) => [...(own?.options ?? [])].some((one) => one.value === {value}))"
        );
        let what = format!("own.value = {value}, own.dispatchEvent(new Event('change'))");
        self.act(&find, &what).await;
    }

    /// Clicks what a selector points at, as soon as it is there.
    pub(super) async fn click(&self, selector: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        self.act(&field, "own.click()").await;
    }

    /// Presses a key.
    pub(super) async fn key(&self, key: &str) {
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            "Escape" => ("", 27),
            key => (key, 0),
        };
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let event =
                json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Whether a question is open.
    pub(super) async fn is_asked(&self) -> bool {
        let open = "document.querySelector('dialog[open]') !== null";
        self.value(open).await == true
    }

    /// What a screen reader would meet without a name, and parts of a whole page that it would not
    /// find.
    pub(super) async fn unnamed(&self, is_whole: bool) -> Vec<String> {
        const USED: [&str; 14] = [
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "checkbox",
            "radio",
            "slider",
            "spinbutton",
            "image",
            "meter",
            "table",
            "dialog",
            "navigation",
        ];
        let tree = self.call("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        let nodes: Vec<&Value> = nodes
            .iter()
            .filter(|node| node["ignored"] != true)
            .collect();
        let role = |node: &Value| {
            node["role"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let mut found: Vec<String> = nodes
            .iter()
            .filter(|node| USED.contains(&role(node).as_str()))
            .filter(|node| node["name"]["value"].as_str().is_none_or(str::is_empty))
            .map(|node| format!("{} without a name", role(node)))
            .collect();
        const PARTS: [&str; 6] = [
            "main",
            "navigation",
            "banner",
            "heading",
            "search",
            "status",
        ];
        let parts: &[&str] = if is_whole { &PARTS } else { &[] };
        for part in parts {
            if !nodes.iter().any(|node| role(node) == *part) {
                found.push(format!("there is no {part}"));
            }
        }
        found
    }

    /// Whether the page is dark, and texts that are hard to read before what is behind them.
    pub(super) async fn contrast(&self) -> (bool, Vec<String>) {
        let found = self.value(CONTRAST).await;
        let faint = found["faint"].as_array().expect("texts").iter();
        let faint = faint.map(|own| own.as_str().expect("a text").to_owned());
        (found["isDark"] == true, faint.collect())
    }

    /// How many pixels the page reaches beyond the window when it is drawn in its new size.
    pub(super) async fn beyond_window(&self) -> f64 {
        let beyond = self
            .value(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => \
                 done(document.documentElement.scrollWidth - innerWidth))))",
            )
            .await;
        beyond.as_f64().expect("a number")
    }

    /// A picture of the window.
    pub(super) async fn picture(&self, file: &Path) {
        let answer = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let data = answer["data"].as_str().expect("a picture");
        std::fs::write(file, BASE64.decode(data).expect("base64")).expect("a file");
    }

    /// What the page complained of since the last look.
    pub(super) fn problems(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no panic").problems)
    }

    /// What it complained of since the last look and could not help: the browser had broken
    /// something off.
    pub(super) fn excused(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no panic").excused)
    }

    /// The addresses that the page asked since the last look.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no panic").requests)
    }

    /// Leaves the page; fails if it wrote an error or asked another origin.
    pub(super) fn end_clean(self) {
        let problems = self.problems();
        assert!(problems.is_empty(), "{problems:#?}");
        let requests = self.requests();
        assert!(!requests.is_empty(), "the page asked for something");
        let inside = format!("{}/", self.origin);
        let foreign: Vec<&String> = requests
            .iter()
            .filter(|url| !url.starts_with(&inside) && !url.starts_with("about:"))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let context = json!({"browserContextId": self.context});
        self.chromium.tell("Target.disposeBrowserContext", context);
    }
}
