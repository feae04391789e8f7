// The status page: events in, figures, chart and box out.

import { Chart } from "./chart.js";
import { connect } from "./connection.js";
import init, { preview } from "./finality_page.js";
import { clock, number, seconds, set, showAway, showLive, showStatus } from "./view.js";

const by = (id) => document.getElementById(id);

const EXAMPLE = `[
  {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["espresso", false]},
  {"jsonrpc": "2.0", "id": 2, "method": "eth_getBalance", "params": ["0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc", "espresso"]},
  {"jsonrpc": "2.0", "id": 3, "method": "eth_chainId", "params": []}
]`;

const chart = new Chart();
let head = null;
let heardAt = null;
let live = false;

async function onStatus(status) {
  showStatus(status);
  showLive();
  head = status.head;
  heardAt = Date.now() / 1000;
  chart.add({
    at: seconds(status.at),
    head: status.head?.number ?? null,
    latest: status.node?.latest ?? null,
    finalized: status.node?.finalized?.number ?? null,
  });
  showPreview();
  if (!live) {
    live = true;
    await addHistory();
  }
}

async function addHistory() {
  try {
    const answer = await fetch("v1/history");
    chart.addHistory((await answer.json()).samples);
  } catch {
    // The chart begins with what the page sees by itself.
  }
}

function onAway() {
  live = false;
  showAway(heardAt);
}

// The box. Line ends are those that the browser gives a text field: line feeds.
const VERDICTS = {
  untouched: ["ok", "No tag: nothing is changed", "The node gets"],
  rewritten: ["ok", "Tags are replaced", "The node gets"],
  refused: ["bad", "Refused", "The client gets"],
};
let rewriter = "loading";
let shown = "";

function showPreview() {
  if (rewriter === "loading") return;
  if (rewriter !== "ready") {
    show("bad", "Not available", "The node gets", rewriter, []);
    return;
  }
  const tags = by("tags").value.split(",").map((tag) => tag.trim()).filter((tag) => tag !== "");
  let result;
  try {
    result = preview(by("body").value, tags, by("scope").value, head ? JSON.stringify(head) : undefined);
  } catch (problem) {
    show("bad", "Not a setting that the filter takes", "The node gets", String(problem), []);
    return;
  }
  const { verdict, pieces, reason, http_status: httpStatus } = result;
  result.free();
  const [level, text, title] = VERDICTS[verdict];
  const refusal = reason === "" ? "" : `HTTP ${httpStatus}: ${reason}`;
  show(level, text, title, refusal, pieces);
}

function show(level, verdict, title, refusal, pieces) {
  const now = JSON.stringify([verdict, refusal, pieces]);
  if (now === shown) return;
  shown = now;
  by("verdict").dataset.level = level;
  set("verdict", verdict);
  set("result-title", title);
  set("refusal", refusal);
  by("refusal").hidden = refusal === "";
  by("result").replaceChildren(...pieces.map((piece, index) => {
    if (index % 2 === 0) return document.createTextNode(piece);
    const mark = document.createElement("mark");
    mark.textContent = piece;
    return mark;
  }));
}

by("body").value = EXAMPLE;
by("box").addEventListener("input", showPreview);
by("box").addEventListener("submit", (event) => event.preventDefault());

connect(onStatus, onAway);

try {
  await init();
  rewriter = "ready";
} catch (problem) {
  rewriter = problem.message;
}
showPreview();
