// The code stands behind the #, which browsers send to nobody. It is taken out of the address bar before anything else,
// and kept nowhere.
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const element = (id) => document.getElementById(id);
const button = element("enter");

function say(title, text) {
  element("title").textContent = title;
  element("text").textContent = text;
}

// A code works once, and its answer may be lost: who can say this may show it again.
const attempt = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function enter() {
  button.hidden = true;
  say("Signing in …", "The desktop opens in a moment.");
  const ask = { method: "POST", body: `${code}\n${attempt}`, headers: { "content-type": "text/plain" } };
  const answer = await fetch("/.vdi/enter", ask).catch(() => null);
  if (answer?.ok) {
    return location.replace("/");
  }
  if (answer && answer.status < 500) {
    return say("This link does not work any more", await answer.text());
  }
  // Until it is answered that the code's time is over.
  say("The gateway can't be reached", "Trying again …");
  setTimeout(enter, 2000);
}

// Whose desktop the code is for. The gateway checks it; this is only to be read.
function owner() {
  const claims = code.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes)).email;
}

if (!code) {
  say("This link is not complete", "Nothing stands behind the # in its address. Ask for a new link.");
} else if (document.querySelector("[data-asks]")) {
  // Another site has sent the browser here, and it may be to somebody else's desktop.
  try {
    say("Open this desktop?", `Another site's link leads to the desktop of ${owner()}. Do not type secrets into a desktop that is not yours.`);
    button.hidden = false;
    button.addEventListener("click", enter);
  } catch {
    say("This link does not work", "It is not one of this gateway's.");
  }
} else {
  enter();
}
