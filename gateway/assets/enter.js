// The code stands behind the #, which browsers send to nobody. It is taken out of the address bar before anything else,
// and sent once.
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

function say(title, text) {
  document.getElementById("title").textContent = title;
  document.getElementById("text").textContent = text;
}

async function enter() {
  if (!code) {
    return say("This link is not complete", "Nothing stands behind the # in its address. Ask for a new link.");
  }
  const answer = await fetch("/.vdi/enter", { method: "POST", body: code, headers: { "content-type": "text/plain" } });
  if (answer.ok) {
    return location.replace("/");
  }
  say("This link does not work any more", await answer.text());
}

enter().catch(() => say("The gateway can't be reached", "Check the connection, and ask for a new link."));
