// What is kept on this device: localStorage, or the page's own memory where the browser shuts it, as it may in another site's frame.
// Knows names and texts; whose they are is the callers' business.
function keeper(of) {
  const memory = new Map();
  const attempt = (act, instead) => { try { return act(of()); } catch { return instead(); } };
  return {
    getItem: (name) => attempt((store) => store.getItem(name), () => null) ?? memory.get(name) ?? null,
    setItem: (name, text) => attempt((store) => { store.setItem(name, text); memory.delete(name); }, () => memory.set(name, text)), // shut, or full
    removeItem: (name) => { memory.delete(name); attempt((store) => store.removeItem(name), () => undefined); },
  };
}

export const device = keeper(() => window.localStorage);
export const tab = keeper(() => window.sessionStorage);
