// What a tab remembers of its session, until it is closed: loading the page again, or another server, leaves it alone.

const PLACE = "toydiff-session";
const PATIENCE = 500; // ms for another tab to say that it is there

// One for all pages of the app that this document shows. The other tabs of this browser listen on the same channel.
const tab = (window.toydiffTab ??= { data: {}, channel: new BroadcastChannel(PLACE), others: new Set() });
tab.channel.onmessage = ({ data }) => {
  if (data?.whose === tab.data.key) tab.channel.postMessage({ mine: data.whose });
  if (data?.mine) tab.others.add(data.mine);
};

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null; // storage is forbidden, or somebody else wrote there
  }
}

function remember() {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ ...tab.data, before: tab.before }));
  } catch {} // storage is forbidden: then a tab that is loaded again begins anew
}

export default function ({ data, setTriggerValue }) {
  const found = remembered();
  const before = found?.before ?? found; // loaded again before it could ask, the tab asks for the same one
  tab.data = data;
  const asks = !tab.before && typeof before?.key === "string" && before.key !== data.key;
  if (asks) tab.before = before;
  remember();
  if (!asks) return;
  // A tab that was duplicated took the key along: then its first owner answers. A page that was left does not, even if
  // the browser keeps it, and its connection, for the Back button.
  tab.others.delete(before.key);
  tab.channel.postMessage({ whose: before.key });
  setTimeout(() => {
    tab.before = undefined;
    remember();
    if (!tab.others.has(before.key)) setTriggerValue("before", before);
  }, PATIENCE);
}
