// Keeps the desktop in the page's frame, and reloads it if it has no websocket: a client of which a part was lost on its way can't
// do that itself. Websockets are watched here and not at the gateway, which can't tell this tab's from another tab's, and doesn't see
// those that go through another replica or bypass it.
const holder = {
  frame: document.getElementById("desktop"),
  /** What has been observed of the document in the frame. */
  seen: null,
  tries: 0,
};

/** In seconds, for one try after another: how long a desktop without a websocket may make no progress. */
const PATIENCE = [5, 10, 20, 40];
/** This many times longer while its page is still loading: the progress of a large file can't be observed. */
const WHILE_LOADING = 6;
/** In seconds: after a websocket has been open for this long, all tries are available again. */
const STEADY = 60;

function loadDesktop() {
  const frame = holder.frame.cloneNode();
  // The fragment belongs to the desktop.
  frame.src = frame.dataset.path + location.hash;
  const seen = { sockets: new Set(), workers: 0, isLoaded: false, state: "", since: performance.now() };
  frame.addEventListener("load", () => {
    seen.isLoaded = true;
    frame.focus();
  });
  holder.frame.replaceWith(frame);
  Object.assign(holder, { frame, seen });
  // The desktop's document takes over the window of the empty document that a frame starts with, with all changes made to it.
  watch(frame.contentWindow, seen);
}

/** Observes the websockets that a window's scripts open from now on, and counts workers, whose websockets can't be observed. */
function watch(view, seen) {
  seen.view = view;
  seen.isWatched = () => view.WebSocket === WatchedSocket;
  const WatchedSocket = new Proxy(view.WebSocket, {
    construct(...call) {
      const socket = Reflect.construct(...call);
      socket.addEventListener("open", () => seen.sockets.add(socket));
      socket.addEventListener("close", () => seen.sockets.delete(socket));
      return socket;
    },
  });
  view.WebSocket = WatchedSocket;
  view.Worker = new Proxy(view.Worker, {
    construct(...call) {
      seen.workers += 1;
      return Reflect.construct(...call);
    },
  });
}

/** The state of the document in the frame, and whether all its websockets can be observed. */
function inspect({ view, workers, isWatched }) {
  try {
    const resources = view.performance.getEntriesByType("resource");
    return {
      loaded: resources.length,
      isBroken: resources.some(({ responseStatus }) => responseStatus === 0 || responseStatus >= 500),
      isSure: view.length === 0 && workers === 0 && isWatched(),
      use: view.navigator.userActivation,
    };
  } catch {
    // In place of a page that did not load, the browser shows its own error page, which has another origin.
    return { loaded: 0, isBroken: true, isSure: true };
  }
}

/** Called once a second while the session is running and the gateway sends events. */
function checkDesktop() {
  const { seen, tries } = holder;
  const { loaded, isBroken, isSure, use } = inspect(seen);
  const state = [seen.isLoaded, loaded, seen.sockets.size].join();
  if (state !== seen.state) Object.assign(seen, { state, since: performance.now() });
  const still = (performance.now() - seen.since) / 1000;
  if (seen.sockets.size > 0) {
    if (still >= STEADY) holder.tries = 0;
    return;
  }
  const patience = PATIENCE[tries] * (seen.isLoaded ? 1 : WHILE_LOADING);
  // A desktop that may be alive is not reloaded if somebody has ever used it; a dead one only not at the moment of a click.
  const isUsed = isBroken && isSure ? use?.isActive : use?.hasBeenActive;
  if (tries < PATIENCE.length && still >= patience && (isBroken || isSure) && !isUsed) {
    holder.tries += 1;
    loadDesktop();
  }
}

/** Called instead while the desktop is not expected to answer. */
function pauseChecks() {
  holder.seen.since = performance.now();
}
