// What a tab remembers of its session, until it is closed: loading the page again, or another server, leaves it alone.

const PLACE = "toydiff-session";

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null; // storage is forbidden, or somebody else wrote there
  }
}

export default function ({ data, setTriggerValue }) {
  const before = remembered();
  try {
    sessionStorage.setItem(PLACE, JSON.stringify(data));
  } catch {
    return; // then a tab that is loaded again begins anew
  }
  if (typeof before?.key === "string" && before.key !== data.key) setTriggerValue("before", before);
}
