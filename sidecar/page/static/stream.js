// A stream of the sidecar: server-sent events, begun again whenever they end.

// The sidecar speaks once a second; silence for so long means that it is not there.
const SILENCE = 6_000;
const RETRY = 2_000;

// Next to this file's folder, for a page as for a worker.
const url = (path) => new URL(`../v1/${path}`, import.meta.url);

// Calls `onStatus` with each status, and `onAway` once when the sidecar stops answering.
export function stream(onStatus, onAway) {
  let events;
  let watchdog;
  let away = false;

  const heard = (status) => {
    away = false;
    onStatus(status);
  };

  const lost = () => {
    if (!away) {
      away = true;
      onAway();
    }
  };

  const open = () => {
    events = new EventSource(url("events"));
    events.addEventListener("status", (event) => {
      listen();
      heard(JSON.parse(event.data));
    });
    events.addEventListener("error", again);
    listen();
  };

  const listen = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENCE);
  };

  // Events may be refused because too many pages are open: then the status is asked for.
  const again = async () => {
    clearTimeout(watchdog);
    events.close();
    try {
      const answer = await fetch(url("status"), { signal: AbortSignal.timeout(SILENCE) });
      if (!answer.ok) throw new Error(String(answer.status));
      heard(await answer.json());
    } catch {
      lost();
    }
    setTimeout(open, RETRY);
  };

  open();
}
