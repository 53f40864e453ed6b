// Around the desktop: keeps its owner signed in, says when it is about to stop, and shows what comes after it.
const element = (id) => document.getElementById(id);
const dialog = element("still-there");
const desktop = element("desktop");

// What stands behind the # is the desktop's.
if (location.hash) {
  desktop.src += location.hash;
}
desktop.addEventListener("load", () => desktop.focus());

const post = (path) => fetch(path, { method: "POST", headers: { "content-type": "text/plain" } });

// Less than half of the hour that a token is good for.
const RENEWAL = 20 * 60 * 1000;
setInterval(() => post("/.vdi/renew").catch(() => {}), RENEWAL);

element("stay").addEventListener("click", async () => {
  dialog.close();
  desktop.focus();
  await post("/.vdi/stay");
});
// Escape is an answer too: somebody has pressed it.
dialog.addEventListener("cancel", () => post("/.vdi/stay"));

const inWords = (seconds) => (seconds < 90 ? `in ${Math.max(seconds, 0)} seconds` : `in ${Math.round(seconds / 60)} minutes`);

function say(text, offersMore = false) {
  // The same words again would be read out again.
  if (element("said").textContent !== text) element("said").textContent = text;
  element("extend").hidden = !offersMore;
  element("notice").hidden = text === "";
}

// Why there is no more time, once somebody has asked for it. Where there is, the next event has a later end.
let refused = "";
element("extend").addEventListener("click", async () => {
  element("extend").hidden = true;
  desktop.focus();
  const answer = await post("/.vdi/extend");
  if (!answer.ok) {
    refused = await answer.text();
    say(`There is no more time: ${refused}`);
  }
});

const LAST_MINUTES = 15 * 60;
let replica = null;
let interrupted = null;

const events = new EventSource("/.vdi/events");

events.addEventListener("session", ({ data }) => {
  const view = JSON.parse(data);
  clearTimeout(interrupted);
  if (!view.stays) {
    return location.reload();
  }
  if (!view.isRunning) {
    return say(view.text);
  }
  const isEnding = view.endsIn !== null && view.endsIn < LAST_MINUTES;
  say(isEnding ? `This desktop ends ${inWords(view.endsIn)}. ${refused}` : "", view.extends && !refused);
  if (view.idleEndsIn === null) {
    dialog.close();
  } else {
    element("when").textContent = inWords(view.idleEndsIn);
    if (!dialog.open) dialog.showModal();
  }
  // The gateway that had the desktop's connection is gone, and another one has answered.
  if (replica !== null && replica !== view.replica) {
    desktop.src = desktop.src;
  }
  replica = view.replica;
});

events.addEventListener("gone", () => location.reload());

events.addEventListener("error", () => {
  clearTimeout(interrupted);
  interrupted = setTimeout(() => say("The connection is interrupted; trying again …"), 4000);
  if (events.readyState === EventSource.CLOSED) again();
});

// The browser has given up, as it does after an answer that is no stream. Once there is any answer, the page itself shows it.
function again() {
  setTimeout(() => post("/.vdi/renew").then(() => location.reload(), again), 2000);
}
