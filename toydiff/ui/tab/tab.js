// What a tab remembers of its session, until it is closed: loading the page again, or another server, leaves it alone.

const PLACE = "toydiff-session";
const PATIENCE = 500; // ms for another tab to say that it is there

// One for all pages of the app that this document shows. The other tabs of this browser listen on the same channel.
const tab = (window.toydiffTab ??= { key: null, channel: new BroadcastChannel(PLACE), others: new Set() });
tab.channel.onmessage = ({ data }) => {
  if (data?.whose === tab.key) tab.channel.postMessage({ mine: tab.key });
  if (data?.mine) tab.others.add(data.mine);
};

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null; // storage is forbidden, or somebody else wrote there
  }
}

export default function ({ data, setTriggerValue }) {
  const before = remembered();
  tab.key = data.key;
  try {
    sessionStorage.setItem(PLACE, JSON.stringify(data));
  } catch {
    return; // then a tab that is loaded again begins anew
  }
  if (typeof before?.key !== "string" || before.key === data.key) return;
  // A tab that was duplicated took the key along: then its first owner answers. A page that was left does not, even if
  // the browser keeps it, and its connection, for the Back button.
  tab.others.delete(before.key);
  tab.channel.postMessage({ whose: before.key });
  setTimeout(() => {
    if (!tab.others.has(before.key)) setTriggerValue("before", before);
  }, PATIENCE);
}
