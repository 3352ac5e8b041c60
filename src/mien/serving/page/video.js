// The video tab: a file's faces over time as a plot and a table, and marked while it plays.

import { show, within } from "./elements.js";
import { cover, fit } from "./marks.js";
import { Problem } from "./problem.js";
import { asFace, save, stem, toCsv } from "./rows.js";
import { History, tabulate } from "./timeline.js";
import { visible } from "./values.js";

const CARRIED_S = 0.15; // seconds for which the boxes of an analysed frame stay, until the next one

export class Video {
  #desk;
  #root;
  #parts;
  #table;
  #file = null;
  #done = null;
  #history = null;
  #frames = null;
  #stopper = null;

  constructor(root, desk, table) {
    this.#desk = desk;
    this.#root = root;
    this.#table = table;
    this.#parts = {
      welcome: within(root, ".welcome"), frame: within(root, ".frame"), video: within(root, "video"),
      canvas: within(root, "canvas"), progress: within(root, ".progress"), bar: within(root, "progress"),
      actions: within(root, ".actions"),
    };
    const { video } = this.#parts;
    for (const event of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(event, () => this.#draw());
    video.addEventListener("loadedmetadata", () => fit(this.#parts.frame, video));
    video.addEventListener("play", () => this.#follow());
    new ResizeObserver(() => this.#draw()).observe(video);
    within(root, "[data-stop]").addEventListener("click", () => this.#stopper?.abort());
    within(root, "[data-save=csv]").addEventListener("click", () =>
      save(`${stem(this.#file.name)}.csv`, toCsv(this.#done.rows, desk.card.expressions), "text/csv"),
    );
    within(root, "[data-save=json]").addEventListener("click", () => this.#saveJson());
    within(root, "[data-save=plot]").addEventListener("click", async () =>
      save(`${stem(this.#file.name)}-timeline.png`, await desk.timeline.toBlob()),
    );
  }

  open() {
    this.#desk.problem(null);
    this.#desk.panel.show([], { none: "They appear here when the video was looked at." });
    this.#draw();
  }

  close() {
    this.#parts.video.pause();
    show(false, this.#table);
  }

  /** Load a video and analyse it. */
  async take(file) {
    this.#stopper?.abort();
    const stopper = (this.#stopper = new AbortController());
    const { welcome, frame, video, progress, bar, actions } = this.#parts;
    [this.#file, this.#done, this.#frames] = [file, null, null];
    this.#desk.problem(null);
    URL.revokeObjectURL(video.src);
    video.src = URL.createObjectURL(file);
    video.setAttribute("aria-label", visible(file.name));
    bar.value = 0;
    show(false, welcome, actions, this.#table);
    show(true, frame, progress);
    this.open();
    try {
      const done = await this.#desk.backend.video(file, {
        signal: stopper.signal,
        onProgress: (share) => stopper === this.#stopper && (bar.value = share),
      });
      if (stopper === this.#stopper) this.#finish(done);
    } catch (error) {
      if (stopper !== this.#stopper) return;
      show(true, welcome);
      show(false, frame, progress);
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) console.error(error);
      this.#desk.problem(`${file.name}: ${error.message}`);
    }
  }

  #finish(done) {
    const { progress, actions } = this.#parts;
    this.#done = done;
    this.#history = new History();
    this.#frames = new Map();
    for (const row of done.rows) {
      const face = asFace(row, this.#desk.card.expressions);
      this.#history.add(row.time_s, [face]);
      this.#frames.set(row.time_s, [...(this.#frames.get(row.time_s) ?? []), face]);
    }
    tabulate(within(this.#table, "tbody"), this.#history);
    show(false, progress);
    show(true, actions);
    const count = this.#history.tracks.size;
    this.#desk.tell(`${this.#file.name}: ${count === 0 ? "no face" : count === 1 ? "1 face" : `${count} faces`}; the table has when and what`);
    this.#draw();
  }

  /** Save the JSON that `mien predict --json` prints, without the counts of frames. */
  #saveJson() {
    const { name, digest } = this.#desk.card;
    const faces = this.#history.appearances().map(({ number, from, to, expression, probabilities }) => ({
      track_id: number, first_s: from, last_s: to, expression, probabilities,
    }));
    const content = { model: { name, digest }, videos: [{ file: this.#file.name, duration_s: this.#done.duration, faces }] };
    save(`${stem(this.#file.name)}.json`, JSON.stringify(content, null, 2), "application/json");
  }

  /** The faces at the video's current time. */
  #facesNow() {
    const time = this.#parts.video.currentTime;
    let best = null;
    for (const at of this.#frames.keys()) if (at <= time + 0.02) best = at;
    return best !== null && time - best <= CARRIED_S ? this.#frames.get(best) : [];
  }

  #draw() {
    const { video, canvas } = this.#parts;
    canvas.width = canvas.width; // empties it
    if (!this.#done || this.#root.hidden) return;
    const faces = this.#facesNow();
    const [now, size] = [video.currentTime, { width: video.videoWidth, height: video.videoHeight }];
    if (size.width > 0) cover(canvas, video, faces, size, this.#desk.card);
    const none = this.#history.tracks.size > 0 ? "No face at this time." : "No face was found in this video.";
    this.#desk.panel.show(faces, { picture: size.width > 0 ? video : null, size, none });
    const to = Math.max(this.#done.duration, Number.isFinite(video.duration) ? video.duration : 0);
    this.#desk.timeline.draw(this.#history, { from: 0, to, now });
    show(this.#history.tracks.size > 0, this.#table);
  }

  /** Redraw with every screen refresh while the video plays. */
  #follow() {
    if (this.#parts.video.paused || this.#root.hidden) return;
    this.#draw();
    requestAnimationFrame(() => this.#follow());
  }
}
