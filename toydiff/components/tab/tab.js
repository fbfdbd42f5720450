// The tab's memory of its session, in sessionStorage: it survives a reload and a change of server, not the tab.

const PLACE = "toydiff-session";
const PATIENCE = 500; // ms for another tab to say that it is there
const QUIET = 400; // ms since something was pressed: Streamlit may lose a click when another request follows at once

// One object for all pages of the app in this document. The other tabs of this browser listen on the same channel.
const tab = (window.toydiffTab ??= created());

function created() {
  const one = { data: {}, channel: new BroadcastChannel(PLACE), others: new Set(), pressed: -QUIET };
  const press = () => (one.pressed = performance.now());
  for (const event of ["pointerdown", "pointerup", "keydown"]) document.addEventListener(event, press, true);
  return one;
}

tab.channel.onmessage = ({ data }) => {
  if (data?.whose === tab.data.key) tab.channel.postMessage({ mine: data.whose });
  if (data?.mine) tab.others.add(data.mine);
};

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null; // storage is forbidden, or another program wrote there
  }
}

function remember() {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ ...tab.data, before: tab.before }));
  } catch {} // storage is forbidden: then a tab that is loaded again begins anew
}

export default function ({ data, parentElement, setTriggerValue }) {
  const found = remembered();
  const before = found?.before ?? found; // a tab that is reloaded before it has an answer asks for the same session
  const waits = typeof before?.key === "string" && before.key !== data.key && before.key !== data.answered;
  const here = () => tab.data.key === data.key && tab.page === parentElement;
  const asks = waits && !here(); // once on each page of the app, because a change of page may lose the answer
  Object.assign(tab, { data, page: parentElement, before: waits ? before : undefined });
  remember();
  if (!asks) return;
  // A duplicated tab has the key of another tab: that one answers, and keeps its session. A page that was left does not
  // answer, even if the browser keeps it, and its connection, for the Back button.
  tab.others.delete(before.key);
  tab.channel.postMessage({ whose: before.key });
  function ask() {
    if (!here()) return; // a newer page or session of this tab asks
    if (performance.now() - tab.pressed < QUIET) return void setTimeout(ask, QUIET);
    if (!tab.others.has(before.key)) return setTriggerValue("before", before);
    tab.before = undefined;
    remember();
  }
  setTimeout(ask, PATIENCE);
}
