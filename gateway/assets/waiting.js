// Shows what becomes of the session, and moves on to the desktop once it is up.
const element = (id) => document.getElementById(id);
const events = new EventSource("/.vdi/events");

events.addEventListener("session", ({ data }) => {
  const view = JSON.parse(data);
  if (view.isRunning) {
    return location.reload();
  }
  element("phase").textContent = view.title;
  element("message").textContent = view.text;
  element("then").textContent = view.then;
  element("bar").hidden = !view.isComing;
  element("onward").hidden = view.isComing;
});
events.addEventListener("gone", () => location.reload());
