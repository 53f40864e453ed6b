// Shows the current list of sessions. The gateway renders it, and has escaped everything in it.
const sessions = document.getElementById("sessions");
const states = () => [...sessions.querySelectorAll("tr[data-name]")].map((row) => `${row.dataset.name}: ${row.dataset.state}`);

follow("/.vdi/sessions", {
  sessions(list) {
    const focused = document.activeElement?.getAttribute("href");
    const before = states();
    sessions.innerHTML = list;
    // For screen readers: only what has changed, not the whole list.
    const news = states().filter((state) => !before.includes(state));
    if (news.length > 0) document.getElementById("news").textContent = news.join(". ");
    if (focused) sessions.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  },
});
