// Shows what becomes of the sessions. The gateway makes the list, and has made text of everything that is in it.
const sessions = document.getElementById("sessions");
const states = () => [...sessions.querySelectorAll("tr[data-name]")].map((row) => `${row.dataset.name}: ${row.dataset.state}`);

follow("/.vdi/sessions", {
  sessions(list) {
    const focused = document.activeElement?.getAttribute("href");
    const before = states();
    sessions.innerHTML = list;
    // What is read out: what has changed, and not the whole list each time.
    const news = states().filter((state) => !before.includes(state));
    if (news.length > 0) document.getElementById("news").textContent = news.join(". ");
    if (focused) sessions.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  },
});
