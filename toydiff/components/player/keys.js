// Keys. They are the player's when the focus is in it, and also when nothing has the focus: a teacher with a clicker
// just presses. Of several players the one used last answers, or else the first one that can be seen.

// On the window, because every player on the page is a module of its own.
const players = (window.toydiffPlayers ??= { all: new Set(), last: null });

const TYPING = "input, textarea, select, [contenteditable], [role=slider], [role=listbox], [role=combobox], [role=tab]";

export function listenToKeys(root, isVisible, act) {
  const me = { root, isVisible };
  players.all.add(me);

  const actions = {
    " ": () => act.play(),
    ArrowLeft: (many) => act.skip(many ? -10 : -1),
    ArrowRight: (many) => act.skip(many ? 10 : 1),
    Home: () => act.seek(0),
    End: () => act.seek(Infinity),
    Escape: () => act.escape(),
  };

  function onKey(event) {
    const action = actions[event.key];
    if (!action || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const inside = event.composedPath().includes(root);
    if (!inside && !(nothingHasFocus() && answering() === me)) return;
    const target = event.composedPath()[0];
    if (event.key === " " && target.tagName === "BUTTON") return; // the browser presses it
    if (!inside && target.matches?.(TYPING)) return;
    if (action(event.shiftKey) === false) return; // nothing to do: the key is not used
    event.preventDefault();
  }

  const use = () => (players.last = me);
  document.addEventListener("keydown", onKey);
  root.addEventListener("pointerdown", use);
  root.addEventListener("focusin", use);
  return () => {
    document.removeEventListener("keydown", onKey);
    players.all.delete(me);
    if (players.last === me) players.last = null;
  };
}

function nothingHasFocus() {
  const focus = document.activeElement;
  // After a click on the text, the part of Streamlit's page that scrolls has the focus.
  const page = document.querySelector("[data-testid=stMain]");
  // After a click on a link, the link has it, and has no use for these keys.
  return !focus || focus.tagName === "A" || [document.body, document.documentElement, page].includes(focus);
}

function answering() {
  if (players.last?.isVisible()) return players.last;
  const top = ({ root }) => root.getBoundingClientRect().top;
  return [...players.all].filter((player) => player.isVisible()).sort((a, b) => top(a) - top(b))[0];
}
