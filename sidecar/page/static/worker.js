// The one stream of all tabs, in a shared worker, which lives as long as one of them.

import { stream } from "./stream.js";

// Tabs come and go without a word, so they listen to a channel.
const tabs = new BroadcastChannel(self.location.href);
let last = {};

const tell = (message) => {
  last = message;
  tabs.postMessage(message);
};

self.addEventListener("connect", ({ ports: [port] }) => {
  // A new tab, or one that has heard nothing for a while.
  port.onmessage = () => port.postMessage(last);
  port.postMessage(last);
});

stream((status) => tell({ status }), () => tell({ away: true }));
