// Sentences and keys that the server wrote into the page. Knows two data islands, nothing of when to speak.
const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "{}");

export const words = read("words");
export const keyMap = read("key-map");
export const hasSingleKeys = document.getElementById("talk")?.dataset.singleKeys !== "false";
