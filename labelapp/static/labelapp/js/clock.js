// Times in the reader's own zone and in the page's language: <time data-local> says which parts are shown.
// Knows clocks; without this file the page shows the server's zone, and says which it is.
const day = { day: "numeric", month: "short" };
const clock = { hour: "2-digit", minute: "2-digit" };
const PARTS = { day, clock, "day-clock": { ...day, ...clock } };

const language = document.documentElement.lang;
const own = navigator.languages.find((each) => each.split("-")[0] === language) ?? language; // with its region's habits

for (const node of document.querySelectorAll("time[data-local]")) {
  node.textContent = new Intl.DateTimeFormat(own, PARTS[node.dataset.local]).format(new Date(node.dateTime));
}
