// The draft of a plain form: gone once the form was sent and stored, which the page after it says.
// Knows the names of drafts; forms and their boxes are kept.js's.
import { device, tab } from "./storage.js";

export const noteSent = (key) => tab.setItem("sent", key);

// What was sent was stored, unless the page that follows says otherwise, or is the same form again.
export function settle(key = "") {
  const sent = tab.getItem("sent");
  if (sent && sent !== key && !document.querySelector("main [role=alert]")) device.removeItem(sent);
  tab.removeItem("sent");
}
