// Shows what becomes of the sessions. The gateway makes the list, and has made text of everything that is in it.
const sessions = document.getElementById("sessions");
const events = new EventSource("/.vdi/sessions");
events.addEventListener("sessions", ({ data }) => {
  const focused = document.activeElement?.getAttribute("href");
  sessions.innerHTML = data;
  if (focused) sessions.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
});
events.addEventListener("error", () => {
  // The sign-in is over, or the gateway is gone: the page itself says which.
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
});
