// Connects at once, keeps the remote screen as large as the window, and connects again when the connection is lost.
import RFB from 'novnc/core/rfb.js';

const screen = document.getElementById('screen');
const status = document.getElementById('status');
const message = document.getElementById('message');
const retry = document.getElementById('retry');

// Relative to this page, so that it also works below a path of a gateway.
const address = new URL('websockify', location.href);
address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
address.search = address.hash = '';
const quality = Math.min(9, Number(new URLSearchParams(location.search).get('quality') ?? 9) || 0);

let rfb, timer, wait = 1, connectedBefore = false;

function show(text, canRetry) {
  message.textContent = text;
  retry.hidden = !canRetry;
  status.classList.remove('hidden');
}

function connect() {
  clearTimeout(timer);
  show(connectedBefore ? 'Connecting again …' : 'Connecting to your desktop …');
  // lighttpd answers with the protocol "binary", which a browser only takes when it was asked for
  rfb = new RFB(screen, address.href, { shared: true, wsProtocols: ['binary'] });
  rfb.resizeSession = true;
  rfb.scaleViewport = true; // while the remote screen still has its old size
  // 9 shows gradients without bands; ?quality=6 is for slow lines
  rfb.qualityLevel = quality;
  rfb.background = 'transparent';
  rfb.addEventListener('connect', () => {
    connectedBefore = true;
    wait = 1;
    status.classList.add('hidden');
    rfb.focus();
  });
  rfb.addEventListener('disconnect', () => {
    show(connectedBefore ? 'The connection was lost; connecting again soon.'
                         : 'Your desktop does not answer yet; trying again soon.', true);
    timer = setTimeout(connect, wait * 1000);
    wait = Math.min(wait * 2, 15);
  });
  // From the desktop to this computer; browsers allow it on secure pages, with the window in front.
  rfb.addEventListener('clipboard', (event) => navigator.clipboard?.writeText(event.detail.text).catch(() => {}));
}

// From this computer to the desktop, where the browser asks once and not at every paste.
async function offerClipboard() {
  try {
    const permission = await navigator.permissions.query({ name: 'clipboard-read' });
    if (permission.state !== 'denied') rfb.clipboardPasteFrom(await navigator.clipboard.readText());
  } catch { /* not offered by this browser, or not allowed */ }
}

retry.addEventListener('click', connect);
addEventListener('online', () => status.classList.contains('hidden') || connect());
addEventListener('focus', offerClipboard);
connect();
