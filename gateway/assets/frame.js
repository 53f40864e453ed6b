// The page around the desktop: keeps its owner signed in, warns before the desktop stops, and shows what happens then.
const element = (id) => document.getElementById(id);
const dialog = element("still-there");
const focusDesktop = () => holder.frame.focus();

loadDesktop();

const post = (path) => fetch(path, { method: "POST", headers: { "content-type": "text/plain" } });

// Less than half of the hour for which a token is valid.
const RENEWAL = 20 * 60 * 1000;
setInterval(() => post("/.vdi/renew").catch(() => {}), RENEWAL);

element("stay").addEventListener("click", async () => {
  dialog.close();
  focusDesktop();
  await post("/.vdi/stay");
});
// Escape is an answer too: somebody pressed it.
dialog.addEventListener("cancel", () => post("/.vdi/stay"));

const inWords = (seconds) => (seconds < 90 ? `in ${Math.max(seconds, 0)} seconds` : `in ${Math.round(seconds / 60)} minutes`);

function show(text, offersMore = false) {
  // Setting the same text again would make screen readers repeat it.
  if (element("notice-text").textContent !== text) element("notice-text").textContent = text;
  element("extend").hidden = !offersMore;
  element("notice").hidden = text === "";
}

// Why the session can't be extended, once somebody has tried. If it can, the next event has a later end.
let refused = "";
element("extend").addEventListener("click", async () => {
  element("extend").hidden = true;
  focusDesktop();
  const answer = await post("/.vdi/extend");
  if (!answer.ok) {
    refused = await answer.text();
    show(`This session can't be extended: ${refused}`);
  }
});

const LAST_MINUTES = 15 * 60;
let replica = null;
let isRunning = false;
// When the gateway last sent an event, which it does every fifteen seconds.
let lastEvent = performance.now();
const EVENT_TIMEOUT = 20 * 1000;
let interrupted = null;

const events = follow("/.vdi/events", {
  session(data) {
    const view = JSON.parse(data);
    clearTimeout(interrupted);
    if (performance.now() - lastEvent > EVENT_TIMEOUT) holder.tries = 0;
    lastEvent = performance.now();
    if (!view.stays) {
      return location.reload();
    }
    isRunning = view.isRunning;
    if (!isRunning) {
      return show(view.text);
    }
    const isEnding = view.endsIn !== null && view.endsIn < LAST_MINUTES;
    show(isEnding ? `This desktop ends ${inWords(view.endsIn)}. ${refused}` : "", view.extends && !refused);
    if (view.idleEndsIn === null) {
      dialog.close();
    } else {
      element("when").textContent = inWords(view.idleEndsIn);
      if (!dialog.open) dialog.showModal();
    }
    // The replica with the desktop's connection is gone, and another one has answered.
    if (replica !== null && replica !== view.replica) {
      holder.tries = 0;
      loadDesktop();
    }
    replica = view.replica;
  },
  gone: () => location.reload(),
});

events.addEventListener("error", () => {
  clearTimeout(interrupted);
  interrupted = setTimeout(() => show("The connection was lost. Reconnecting …"), 4000);
});

setInterval(() => (isRunning && performance.now() - lastEvent < EVENT_TIMEOUT ? checkDesktop() : pauseChecks()), 1000);
