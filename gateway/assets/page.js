// In the head of every page. Like all scripts of the gateway's pages it is part of the page, so that it can't be lost on its own.

// Reloads the page once the gateway answers. Earlier, the browser would replace it with its own error page.
function reloadLater() {
  setTimeout(async () => {
    const answer = await fetch("/.vdi/icon.svg", { cache: "no-store" }).catch(() => null);
    if (answer?.ok) location.reload();
    else reloadLater();
  }, 2000);
}

// Listens to events from the gateway for as long as the page is open.
function follow(path, listeners) {
  const events = new EventSource(path);
  for (const [name, listener] of Object.entries(listeners)) {
    events.addEventListener(name, ({ data }) => listener(data));
  }
  // Browsers reconnect by themselves, but not after an answer that is no event stream. Reloading shows what it is.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) reloadLater();
  });
  return events;
}

// A page whose end was lost would stay incomplete: the browser considers it still loading, and never refreshes it.
setTimeout(() => {
  if (document.readyState === "loading") reloadLater();
}, 10_000);
