// Holds the desktop in the page's frame, and loads it anew where it stays without a websocket: a client that was lost in part on
// its way can't do that itself. Whether it has one is seen here, and not at the gateway, which can't tell this tab's from
// another's, and sees none that goes to another replica or past it.
const holder = {
  frame: document.getElementById("desktop"),
  /** What is known of the document in the frame. */
  seen: null,
  tries: 0,
};

/** In seconds: how long nothing may come of a desktop that has no websocket, at one try after the other. */
const PATIENCE = [5, 10, 20, 40];
/** So many times longer it may take while its page is still loading: nobody sees how much of a large file has come. */
const WHILE_LOADING = 6;
/** A desktop whose websocket has been there for so long has all tries again. */
const STEADY = 60;

function loadDesktop() {
  const frame = holder.frame.cloneNode();
  // What stands behind the # is the desktop's.
  frame.src = frame.dataset.path + location.hash;
  const seen = { sockets: new Set(), workers: 0, isLoaded: false, state: "", since: performance.now() };
  frame.addEventListener("load", () => {
    seen.isLoaded = true;
    frame.focus();
  });
  holder.frame.replaceWith(frame);
  Object.assign(holder, { frame, seen });
  // The empty document that a frame begins with leaves its window to the desktop's, with all that is changed in it.
  watch(frame.contentWindow, seen);
}

/** Sees the websockets that a window's scripts open from now on, and whether there are workers, whose ones it doesn't see. */
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

/** What has become of the document in the frame, and whether its websockets would be known. */
function look({ view, workers, isWatched }) {
  try {
    const resources = view.performance.getEntriesByType("resource");
    return {
      came: resources.length,
      isBroken: resources.some(({ responseStatus }) => responseStatus === 0 || responseStatus >= 500),
      isSure: view.length === 0 && workers === 0 && isWatched(),
      use: view.navigator.userActivation,
    };
  } catch {
    // In place of a page that did not come, the browser shows one of its own, which is another site's.
    return { came: 0, isBroken: true, isSure: true };
  }
}

/** Called once a second while the session runs and the gateway is heard of. */
function checkDesktop() {
  const { seen, tries } = holder;
  const { came, isBroken, isSure, use } = look(seen);
  const state = [seen.isLoaded, came, seen.sockets.size].join();
  if (state !== seen.state) Object.assign(seen, { state, since: performance.now() });
  const still = (performance.now() - seen.since) / 1000;
  if (seen.sockets.size > 0) {
    if (still >= STEADY) holder.tries = 0;
    return;
  }
  const patience = PATIENCE[tries] * (seen.isLoaded ? 1 : WHILE_LOADING);
  // Somebody may well use what is not known to be dead, and clicks in vain at what is.
  const isUsed = isBroken && isSure ? use?.isActive : use?.hasBeenActive;
  if (tries < PATIENCE.length && still >= patience && (isBroken || isSure) && !isUsed) {
    holder.tries += 1;
    loadDesktop();
  }
}

/** The desktop is not expected to answer. */
function excuseDesktop() {
  holder.seen.since = performance.now();
}
