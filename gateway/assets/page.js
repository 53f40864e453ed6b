// In the head of every page. As all scripts of the gateway's pages it is a part of the page: there is none that could be lost on
// its way while the page itself arrives.

// Loads the page anew once the gateway answers. Before that, the browser would show an error page of its own in its place.
function again() {
  setTimeout(async () => {
    const answer = await fetch("/.vdi/icon.svg", { cache: "no-store" }).catch(() => null);
    if (answer?.ok) location.reload();
    else again();
  }, 2000);
}

// Listens to what the gateway tells as it happens, for as long as the page is open.
function follow(path, listeners) {
  const events = new EventSource(path);
  for (const [name, listener] of Object.entries(listeners)) {
    events.addEventListener(name, ({ data }) => listener(data));
  }
  // A browser asks again by itself, but not after an answer that is no stream. What it is, the page itself shows.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) again();
  });
  return events;
}

// A page whose end was lost stays as far as it came: to the browser it goes on loading, and no refresh ever comes due.
setTimeout(() => {
  if (document.readyState === "loading") again();
}, 10_000);
