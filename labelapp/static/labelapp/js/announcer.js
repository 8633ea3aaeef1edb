// One sentence per event for screen readers. Knows two live regions; never streams or percentages.
const regions = { polite: "announcer", urgent: "announcer-urgent" };

function speak(id, sentence) {
  const region = document.getElementById(id);
  if (!region) return;
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = sentence; });
}

export const announce = (sentence) => speak(regions.polite, sentence);
export const alertUrgently = (sentence) => speak(regions.urgent, sentence);
