// Shows a status. Every text goes in as text: what a dependency says can never become markup.

const NONE = "–";
const numbers = new Intl.NumberFormat("en-US");
const clocks = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const by = (id) => document.getElementById(id);

export function number(value) {
  return value === null || value === undefined ? NONE : numbers.format(value);
}

// The time of day of Unix seconds.
export function clock(seconds) {
  return clocks.format(new Date(seconds * 1000));
}

export function seconds(timestamp) {
  return Date.parse(timestamp) / 1000;
}

// Nothing is touched that stays the same: selections and screen readers are left in peace.
export function set(id, text) {
  const element = by(id);
  if (element.textContent !== text) element.textContent = text;
}

function setLevel(id, level, text) {
  by(id).dataset.level = level;
  set(id, text);
}

// Says something to screen readers, once.
function announce(text) {
  set("announcement", text);
}

function duration(total) {
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${total % 60} s`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${Math.floor((total % 3600) / 60)} min`;
  return `${Math.floor(total / 86400)} d ${Math.floor((total % 86400) / 3600)} h`;
}

function ago(status, timestamp) {
  return `${duration(Math.max(0, Math.round(seconds(status.at) - seconds(timestamp))))} ago`;
}

// What may be done with the head, in words, and how good that is.
function state(head) {
  switch (head?.status) {
    case undefined: return ["wait", "No head yet: tagged requests are refused"];
    case "ok": return ["ok", "Serving tagged requests"];
    case "pruned": return ["ok", "Serving; the node has pruned the head's block"];
    case "diverged": return ["bad", "The node has another block there: tagged requests are refused"];
    case "node_behind": return ["bad", "The node is behind the head: tagged requests are refused"];
    case "cut_off": return ["bad", "The published head is not known: tagged requests are refused"];
    case "unproven": return ["bad", "The head is not in HotShot: tagged requests are refused"];
    case "node_unchecked": return ["wait", "The node was not asked yet: tagged requests are refused"];
    default: return ["wait", head.status];
  }
}

const SOURCES = { espresso: "Espresso", ethereum: "Ethereum" };
// What is proven of a block, where that differs.
const BY = { hash: " by the hash that is signed", inputs: " by its inputs" };

export function showStatus(status) {
  const { head, hotshot, node } = status;
  set("chain", status.chain ? `chain ${status.chain.chain_id}` : "");
  document.title = head ? `${number(head.number)} · Finality sidecar` : "Finality sidecar";

  const [level, text] = state(head);
  if (by("state").textContent !== text) announce(text);
  setLevel("state", level, text);
  set("number", number(head?.number));
  set("hex", head?.hex ?? "");
  set("hash", head ? head.hash ?? "Its hash is not known yet" : "");
  set("reason", sentence(status.reason));
  set("reason-code", status.reason_code ?? "");
  set("reason-since", status.reason_since ? `since ${clock(seconds(status.reason_since))}, ${ago(status, status.reason_since)}` : "");
  showProblems(problems(status));

  set("lag", status.lag ? `${number(status.lag.blocks)} ${status.lag.blocks === 1 ? "block" : "blocks"}` : NONE);
  set("lag-seconds", status.lag ? `${duration(status.lag.seconds)} of block time` : "");
  set("mode", SOURCES[head?.mode] ?? NONE);
  set("source", head ? `confirmed by ${SOURCES[head.source] ?? head.source}${proof(status)}, ${ago(status, head.updated_at)}` : "");
  const up = `in ${duration(Math.round(seconds(status.at) - seconds(status.started_at)))}, since the start`;
  set("confirmed", number(status.batches?.confirmed));
  set("since", up);
  const mismatches = status.batches?.mismatch;
  setLevel("mismatches", mismatches > 0 ? "bad" : "", number(mismatches));
  set("mismatch-since", status.last_mismatch ? `last at block ${number(status.last_mismatch.number)}` : "since the start");
  set("cursor", number(hotshot?.cursor));
  set("height", hotshot?.height == null ? "" : `of ${number(hotshot.height)} blocks${catchUp(hotshot.catch_up)}${proven(status.proofs)}`);
  set("l1", number(status.l1_finalized?.number));
  set("ethereum", node?.finalized ? `L2 block ${number(node.finalized.number)}` : "");

  showDependencies(status);
  showReplicas(status);
  set("build", status.build ? `finality-sidecar ${status.build}` : "");
}

function catchUp(progress) {
  if (!progress) return "";
  const left = progress.seconds_left == null ? "" : `, ${duration(progress.seconds_left)} left`;
  return `; caught up by ${progress.percent.toFixed(1)} %${left}`;
}

function proven(proofs) {
  if (!proofs || proofs.mode === "off") return "";
  if (proofs.problem) return "; not compared with L1";
  return proofs.audited == null ? "" : `; proven on L1 below ${number(proofs.audited)}`;
}

// HotShot's proof of a block is no proof of what Ethereum has finalized above it.
function proof({ head, block }) {
  return head.source === "espresso" ? BY[block?.proven] ?? "" : "";
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// What an operator should look at, each with how bad it is.
function problems({ last_mismatch: mismatch, last_contradiction: contradiction, ...status }) {
  const found = [];
  if (status.last_store_error) found.push(["bad", `The head cannot be saved: ${status.last_store_error}`]);
  if (mismatch) {
    const open = status.next === null || mismatch.number >= status.next;
    found.push([open ? "bad" : "wait",
      `${open ? "Mismatch" : "There was a mismatch, resolved since,"} at block ${number(mismatch.number)}: HotShot confirmed `
      + `${mismatch.batch_hash}, the node has ${mismatch.node_hash} (${mismatch.difference}); first seen `
      + `${ago(status, mismatch.since)}${mismatch.transaction ? `, in HotShot's transaction ${mismatch.transaction}` : ""}`]);
  }
  if (contradiction) {
    found.push(["bad", `Ethereum finalized another block ${number(contradiction.number)} than the confirmed one: `
      + `${contradiction.node_hash} instead of ${contradiction.verified_hash}, ${ago(status, contradiction.at)}`]);
  }
  if (status.node?.finalized_refused) found.push(["wait", `The node's finalized block is not admitted: ${status.node.finalized_refused}`]);
  if (status.batchers?.error) found.push(["wait", `The authorized batchers could not be read: ${status.batchers.error}`]);
  return found;
}

function showProblems(found) {
  const list = by("problems");
  list.hidden = found.length === 0;
  resize(list, found.length, () => document.createElement("li"));
  found.forEach(([level, text], index) => {
    const item = list.children[index];
    item.dataset.level = level;
    if (item.textContent !== text) item.textContent = text;
  });
}

const NAMES = { node: "Full node", consensus: "op-node", query: "HotShot query service", l1: "L1 node", parent: "Parent chain node" };

function showDependencies(status) {
  const list = by("dependencies");
  resize(list, status.dependencies.length, dependency);
  status.dependencies.forEach((report, index) => {
    const failures = `${number(report.failures)} ${report.failures === 1 ? "failure" : "failures"}`;
    const answered = report.last_ok ? `${failures} since the last answer ${ago(status, report.last_ok)}` : `${failures}, no answer yet`;
    const error = report.last_error;
    fill(list.children[index], report.ok === null ? "wait" : report.ok ? "ok" : "bad", {
      name: NAMES[report.name] ?? report.name,
      state: report.ok === null ? "Not asked yet" : report.ok ? "Answers" : "Fails",
      url: report.url,
      answered: report.ok === false ? answered : "",
      error: error ? `Last error ${ago(status, error.at)}: ${error.message}` : "",
      note: report.note ?? "",
    });
  });
}

const CLUSTER = {
  starting: ["wait", "Not asked yet"],
  connected: ["ok", "Answers"],
  silent: ["wait", "Silent"],
  cut_off: ["bad", "Silent: the head is not used"],
  regressed: ["bad", "Has lost the head"],
  quorum_short: ["wait", "Too few replicas"],
};

// What replicas publish together, and who is behind.
function showReplicas({ cluster }) {
  by("replicas-card").hidden = !cluster;
  if (!cluster) return;
  const list = by("replicas");
  resize(list, 1 + cluster.replicas.length, dependency);
  const [level, text] = CLUSTER[cluster.state] ?? ["wait", cluster.state];
  fill(list.children[0], level, {
    name: "etcd",
    state: text,
    answered: `Published: ${number(cluster.published)}; verified here: ${number(cluster.verified)}`,
    error: cluster.error ? `Last error: ${cluster.error}` : "",
  });
  cluster.replicas.forEach((replica, index) => {
    fill(list.children[1 + index], replica.behind ? "wait" : "ok", {
      name: "Replica",
      state: replica.behind ? `${number(replica.behind)} ${replica.behind === 1 ? "block" : "blocks"} behind` : "Level",
      url: replica.replica,
      answered: `Verified: ${number(replica.verified)}`,
    });
  });
}

function fill(item, level, parts) {
  item.querySelector("[data-part=state]").dataset.level = level;
  for (const element of item.children) {
    const text = parts[element.dataset.part] ?? "";
    if (element.textContent !== text) element.textContent = text;
    element.hidden = text === "";
  }
}

function dependency() {
  const item = document.createElement("li");
  const add = (name, part, classes) => {
    const element = document.createElement(name);
    element.dataset.part = part;
    element.className = classes;
    item.append(element);
  };
  add("strong", "name", "");
  add("span", "state", "pill");
  add("p", "url", "mono muted");
  add("p", "answered", "");
  add("p", "error", "muted");
  add("p", "note", "muted");
  return item;
}

// As many children as wanted.
function resize(list, length, make) {
  while (list.children.length > length) list.lastElementChild.remove();
  while (list.children.length < length) list.append(make());
}

export function showLive() {
  if (by("connection").dataset.level === "bad") announce("The sidecar answers again");
  setLevel("connection", "ok", "Live");
  by("away").hidden = true;
  delete by("main").dataset.away;
}

// `since`: when the last status came, in Unix seconds; null before the first.
export function showAway(since) {
  setLevel("connection", "bad", since === null ? "Away" : `Away since ${clock(since)}`);
  const text = since === null
    ? "The sidecar does not answer. The page keeps trying."
    : `The sidecar has not answered since ${clock(since)}. What you see is from then; the page keeps trying.`;
  set("away", text);
  by("away").hidden = false;
  by("main").dataset.away = "";
  announce(text);
}
