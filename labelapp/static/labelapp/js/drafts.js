// Text that was typed and not sent yet: kept on this device, and the comment also on the server.
// Knows text boxes; sending a message is the outbox's.
import { words } from "./words.js";

const key = (conversation) => `draft:${conversation}`;

export function attach(conversation, dock) {
  const box = dock?.querySelector("textarea");
  if (!box || !conversation) return;
  if (!box.value) box.value = localStorage.getItem(key(conversation)) ?? "";
  box.addEventListener("input", () => localStorage.setItem(key(conversation), box.value));
}

export function clear(conversation) {
  localStorage.removeItem(key(conversation));
}

export function attachComment(form) {
  if (!form) return;
  const box = form.querySelector("textarea");
  const state = form.querySelector("[data-comment-state]");
  let timer = 0;
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
      const body = new URLSearchParams({ comment: box.value, csrfmiddlewaretoken: token });
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } }).catch(() => null);
      if (answer?.ok) {
        state.textContent = words.commentKept;
        const twin = document.getElementById("end-comment");
        if (twin) twin.value = box.value;
      }
    }, 800);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}
