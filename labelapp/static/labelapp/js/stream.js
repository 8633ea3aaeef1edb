// Two responses as they are written: append-only, drawn once per frame, as text alone.
// Knows one EventSource and the two cards; what happens afterwards is the caller's.
const SILENCE = 25_000; // a half-open connection says nothing for ever: then the caller looks how it stands

export class TurnStream {
  #source;
  #waiting = { A: "", B: "" };
  #frame = 0;
  #lostAt = 0;
  #lostTimer = 0;
  #quietTimer = 0;

  constructor(section, { onEnd, onLost, onBack, onFirst }) {
    this.section = section;
    this.handlers = { onEnd, onLost, onBack, onFirst };
    this.#source = new EventSource(section.dataset.stream);
    this.#source.addEventListener("open", () => this.#back());
    this.#source.addEventListener("error", () => this.#error());
    this.#on("delta", ({ side, text }) => this.#append(side, text));
    this.#on("reset", ({ side }) => this.#clear(side));
    this.#on("done", ({ side }) => this.#done(side));
    this.#on("failed", ({ side }) => { if (!side) this.#end("failed"); });
    this.#on("ready", () => this.#end("ready"));
    this.#heard();
  }

  close() {
    this.#source.close();
    clearTimeout(this.#lostTimer);
    clearTimeout(this.#quietTimer);
    cancelAnimationFrame(this.#frame);
  }

  #heard() {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#end("quiet"), SILENCE);
  }

  #on(kind, handle) {
    this.#source.addEventListener(kind, (event) => { this.#heard(); handle(JSON.parse(event.data || "{}")); });
  }

  #card(side) { return this.section.querySelector(`[data-side="${side}"]`); }

  #append(side, text) {
    if (!(side in this.#waiting)) return;
    this.#waiting[side] += text;
    this.handlers.onFirst();
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    for (const side of ["A", "B"]) {
      const box = this.#card(side)?.querySelector("[data-stream-text]");
      if (box && this.#waiting[side]) {
        if (!box.firstChild) box.append("");
        box.firstChild.appendData(this.#waiting[side]);
      }
      this.#waiting[side] = "";
    }
  }

  #clear(side) {
    for (const each of side ? [side] : ["A", "B"]) {
      this.#waiting[each] = "";
      this.#card(each)?.querySelector("[data-stream-text]")?.replaceChildren();
    }
  }

  #done(side) { this.#card(side)?.removeAttribute("aria-busy"); }

  #end(how) {
    this.#draw();
    this.close();
    this.handlers.onEnd(how);
  }

  #back() {
    clearTimeout(this.#lostTimer);
    this.#lostTimer = 0;
    if (this.#lostAt) { this.#lostAt = 0; this.handlers.onBack(); }
  }

  #error() {
    if (!this.#lostTimer) this.#lostTimer = setTimeout(() => { this.#lostAt = Date.now(); this.handlers.onLost(); }, 5000);
    if (this.#source.readyState === EventSource.CLOSED) { this.close(); setTimeout(() => this.handlers.onEnd("unknown"), 3000); }
  }
}
