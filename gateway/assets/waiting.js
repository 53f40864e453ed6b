// Shows the state of the session, and opens the desktop once it is running.
const element = (id) => document.getElementById(id);

follow("/.vdi/events", {
  session(data) {
    const view = JSON.parse(data);
    if (view.isRunning) {
      return location.reload();
    }
    element("phase").textContent = view.title;
    element("message").textContent = view.text;
    element("then").textContent = view.then;
    element("bar").hidden = !view.isComing;
    element("onward").hidden = view.isComing;
  },
  gone: () => location.reload(),
});
