// The line on the upper edge of the dock: one sentence that stands until the dock goes away, and a link where it names a way out.
// Knows the line only; what is unsaved or offline is written there by the outbox, where nothing was said.
const place = () => document.getElementById("dock-line");

export function line(sentence, { isRisk = true, wayOut = null } = {}) {
  const node = place();
  if (!node) return;
  node.dataset.said = "1";
  node.hidden = false;
  node.textContent = sentence;
  node.classList.toggle("risk", isRisk);
  if (wayOut) node.append(" ", linkTo(wayOut));
}

function linkTo({ url, words }) {
  const link = document.createElement("a");
  link.href = url;
  link.textContent = words;
  return link;
}

export function takeBack() {
  delete place()?.dataset.said;
}
