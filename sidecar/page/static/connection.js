// The connection to the sidecar. Browsers open six connections to a host, so all tabs of one share
// a stream; a tab that cannot have a part in it has its own.

import { stream } from "./stream.js";

// The worker speaks once a second, or answers that the sidecar is away.
const SILENCE = 10_000;

const WORKER = new URL("worker.js", import.meta.url).href;

// Calls `onStatus` with each status, and `onAway` once when the sidecar stops answering.
export function connect(onStatus, onAway) {
  let worker;
  try {
    worker = new SharedWorker(trusted(WORKER), { type: "module" });
  } catch {
    stream(onStatus, onAway);
    return;
  }
  const channel = new BroadcastChannel(WORKER);
  let watchdog;
  let away = false;
  let left = false;

  const hear = ({ data }) => {
    if (left) return;
    listen();
    if (data.status) {
      away = false;
      onStatus(data.status);
    } else if (data.away && !away) {
      away = true;
      onAway();
    }
  };

  const listen = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(ask, SILENCE);
  };

  // A tab that was suspended finds its timer over, and the worker well.
  const ask = () => {
    worker.port.postMessage("last");
    watchdog = setTimeout(leave, SILENCE);
  };

  const leave = () => {
    if (left) return;
    left = true;
    clearTimeout(watchdog);
    channel.close();
    worker.port.close();
    stream(onStatus, onAway);
  };

  channel.onmessage = hear;
  worker.port.onmessage = hear;
  worker.onerror = leave;
  listen();
}

// The page's policy lets one name make URLs of scripts: this one, of the worker alone.
function trusted(url) {
  const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL: () => url });
  return policy?.createScriptURL("") ?? url;
}
