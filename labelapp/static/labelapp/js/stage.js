// Puts the server's newest turns and dock in place, and leaves alone what did not change.
// Knows ids and versions; the markup is the server's, already made safe there.
export class SignedOut extends Error {}

export function applyStage(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  const turns = document.getElementById("turns");
  const wanted = [...fresh.querySelectorAll("#turns > section")];
  const ids = new Set(wanted.map((section) => section.id));
  for (const section of [...turns.children]) if (!ids.has(section.id)) section.remove();
  wanted.forEach((section, place) => {
    const present = document.getElementById(section.id);
    const node = document.adoptNode(section);
    if (!present) turns.insertBefore(node, turns.children[place] ?? null);
    else if (present.dataset.version !== node.dataset.version) present.replaceWith(node);
  });
  return replaceDock(fresh.getElementById("dock"));
}

function replaceDock(next) {
  const present = document.getElementById("dock");
  if (!next || !present) return false;
  for (const fresh of next.querySelectorAll("template[data-fresh]")) renew(document.getElementById(fresh.dataset.fresh), fresh);
  const isSame = ["dock", "turn", "version"].every((name) => present.dataset[name] === next.dataset[name]);
  if (isSame) return false;
  present.replaceWith(document.adoptNode(next));
  return true;
}

// What the panel beside the stage says of it.
function renew(node, fresh) {
  if (!node) return;
  const next = node.cloneNode(false);
  next.append(document.importNode(fresh.content, true));
  if (!node.isEqualNode(next)) node.replaceChildren(...next.childNodes);
}

export async function fetchStage(url) {
  const signal = AbortSignal.timeout(15_000);
  const response = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin", redirect: "manual", signal });
  if (response.type === "opaqueredirect") throw new SignedOut();
  if (!response.ok) throw new Error(`stage answered ${response.status}`);
  return response.json();
}
