// One sentence per event for screen readers; two events at one moment are said one after the other.
// Knows two live regions; never streams or percentages.
const regions = { polite: "announcer", urgent: "announcer-urgent" };
const waiting = { announcer: [], "announcer-urgent": [] };

function speak(id, sentence) {
  const region = document.getElementById(id);
  if (!region) return;
  waiting[id].push(sentence);
  if (waiting[id].length > 1) return;
  region.textContent = "";
  setTimeout(() => { region.textContent = waiting[id].splice(0).join(" "); }, 50);
}

export const announce = (sentence) => speak(regions.polite, sentence);
export const alertUrgently = (sentence) => speak(regions.urgent, sentence);
