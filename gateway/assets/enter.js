// The code is in the fragment, which browsers never send. It is removed from the address bar first, and stored nowhere.
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const element = (id) => document.getElementById(id);
const button = element("enter");

function show(title, text) {
  element("title").textContent = title;
  element("text").textContent = text;
}

// A code works once, but its answer may be lost: in the same attempt, it may be sent again.
const attempt = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function enter() {
  button.hidden = true;
  show("Signing in …", "The desktop opens in a moment.");
  const ask = { method: "POST", body: `${code}\n${attempt}`, headers: { "content-type": "text/plain" } };
  const answer = await fetch("/.vdi/enter", ask).catch(() => null);
  if (answer?.ok) {
    return location.replace("/");
  }
  if (answer && answer.status < 500) {
    return show("This link no longer works", await answer.text());
  }
  // Until the answer is that the code has expired.
  show("The gateway can't be reached", "Trying again …");
  setTimeout(enter, 2000);
}

// The owner of the desktop, only to be shown. The gateway verifies the code.
function owner() {
  const claims = code.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes)).email;
}

if (!code) {
  show("This link is incomplete", "The part after the # in its address is missing. Ask for a new link.");
} else if (document.querySelector("[data-asks]")) {
  // Another site has sent the browser here, perhaps to somebody else's desktop.
  try {
    show("Open this desktop?", `You followed a link from another site. It opens the desktop of ${owner()}. Do not enter secrets on a desktop that is not yours.`);
    button.hidden = false;
    button.addEventListener("click", enter);
  } catch {
    show("This link does not work", "It was not made by this gateway.");
  }
} else {
  enter();
}
