// Expressions over time: a stacked plot of each face's probabilities, and a table of the faces' appearances.

import { coloursOf } from "./colours.js";
import { element, show } from "./elements.js";
import { percent } from "./marks.js";
import { mapped, mostProbable } from "./values.js";

const AWAY_S = 1.1; // seconds without a sample that leave a gap in the plot; generous, for slow services
const LOOK_S = 0.1; // seconds of plot that the last sample before a gap gets
const MOST_TRACKS = 6;
const PANEL = 64; // pixels
const [LEFT, RIGHT, BETWEEN, AXIS] = [44, 8, 22, 24];

/** The samples {time, probabilities} of each face, by its track. */
export class History {
  tracks = new Map();
  #keep;

  /** `keep`: seconds after which samples are forgotten. */
  constructor(keep = Infinity) {
    this.#keep = keep;
  }

  add(time, faces) {
    for (const { track_id: number, probabilities } of faces) {
      if (!this.tracks.has(number)) this.tracks.set(number, []);
      this.tracks.get(number).push({ time, probabilities });
    }
    for (const [number, samples] of this.tracks) {
      while (samples.length > 0 && samples[0].time < time - this.#keep) samples.shift();
      if (samples.length === 0) this.tracks.delete(number);
    }
  }

  /** For each face in order of appearance: its first and last time, mean probabilities and expression. */
  appearances() {
    return [...this.tracks].map(([number, samples]) => {
      const sums = samples.reduce((sum, { probabilities }) => mapped(probabilities, (value, name) => value + (sum[name] ?? 0)), {});
      const average = mapped(sums, (sum) => sum / samples.length);
      const [expression] = mostProbable(average);
      const alike = samples.filter(({ probabilities }) => mostProbable(probabilities)[0] === expression).length;
      return { number, from: samples[0].time, to: samples.at(-1).time, samples, expression, probabilities: average, share: alike / samples.length };
    });
  }
}

export class Timeline {
  #root;
  #canvas;
  #colours; // by expression, in the model's order
  #last = null;
  #described = -Infinity;
  #later;

  constructor(root, expressions) {
    this.#root = root;
    this.#canvas = root.querySelector("canvas");
    this.#colours = coloursOf(expressions);
    const entry = ([name, colour]) => {
      const mark = element("span", { class: "dot", "aria-hidden": "true" });
      mark.style.backgroundColor = colour;
      return element("li", {}, mark, name);
    };
    root.querySelector(".legend").replaceChildren(...[...this.#colours].map(entry));
    const again = () => this.#last && !this.#root.hidden && this.draw(...this.#last);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new ResizeObserver(again).observe(root);
  }

  /** Plot a history between two times in seconds; `now` draws a vertical line at a time. */
  draw(history, { from, to, now = null, note = "" }) {
    this.#last = [history, { from, to, now, note }];
    const longest = history.appearances().sort((one, other) => other.samples.length - one.samples.length);
    const faces = longest.slice(0, MOST_TRACKS).sort((one, other) => one.number - other.number);
    show(faces.length > 0, this.#root);
    if (faces.length === 0) return;
    this.#root.querySelector("figcaption .quiet").textContent = note;
    const ratio = globalThis.devicePixelRatio ?? 1;
    const width = this.#canvas.clientWidth;
    const height = faces.length * (PANEL + BETWEEN) + AXIS;
    this.#canvas.width = width * ratio;
    this.#canvas.height = height * ratio;
    this.#canvas.style.height = `${height}px`;
    const context = this.#canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.#root);
    const paint = { context, ink: style.color, faint: style.getPropertyValue("--line") };
    const x = (time) => LEFT + ((time - from) / Math.max(to - from, 1e-6)) * (width - LEFT - RIGHT);
    faces.forEach((face, place) => this.#panel(paint, face, place * (PANEL + BETWEEN) + BETWEEN, x, width));
    axis(paint, from, to, x, height - AXIS);
    if (now !== null) {
      context.fillStyle = paint.ink;
      context.fillRect(x(now) - 1, BETWEEN, 2, height - AXIS - BETWEEN);
    }
    this.#describe(faces);
  }

  /** The timeline as a PNG with an opaque background. */
  toBlob() {
    const { width, height } = this.#canvas;
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    const context = copy.getContext("2d");
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, width, height);
    context.drawImage(this.#canvas, 0, 0);
    return new Promise((resolve) => copy.toBlob(resolve));
  }

  #panel({ context, ink, faint }, face, top, x, width) {
    context.fillStyle = faint;
    context.fillRect(LEFT, top, width - LEFT - RIGHT, PANEL);
    context.save();
    context.beginPath();
    context.rect(LEFT, top, width - LEFT - RIGHT, PANEL);
    context.clip();
    for (const run of runs(face.samples)) {
      run.push({ ...run.at(-1), time: run.at(-1).time + LOOK_S });
      const lower = run.map(() => 0);
      this.#colours.forEach((colour, name) => {
        const upper = run.map(({ probabilities }, index) => lower[index] + (probabilities[name] ?? 0));
        context.beginPath();
        run.forEach(({ time }, index) => context.lineTo(x(time), top + PANEL * (1 - upper[index])));
        for (let index = run.length - 1; index >= 0; index--) context.lineTo(x(run[index].time), top + PANEL * (1 - lower[index]));
        context.fillStyle = colour;
        context.fill();
        upper.forEach((value, index) => (lower[index] = value));
      });
    }
    context.restore();
    context.fillStyle = ink;
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText(`Face ${face.number}: mostly ${face.expression}`, LEFT, top - 6);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.fillText("100 %", LEFT - 6, top + 9);
    context.fillText("0", LEFT - 6, top + PANEL);
  }

  /** Describe the plot for screen readers, but not with every frame. */
  #describe(faces) {
    clearTimeout(this.#later);
    const wait = this.#described + 2000 - performance.now();
    if (wait > 0) {
      this.#later = setTimeout(() => this.#describe(faces), wait);
      return;
    }
    this.#described = performance.now();
    const told = faces.map(({ number, expression, share }) => `face ${number} mostly ${expression}, ${percent(share)} of its time`);
    this.#canvas.setAttribute("aria-label", `Expressions over time: ${told.join("; ")}`);
  }
}

/** Fill the table of a video's faces. */
export function tabulate(body, history) {
  const rows = history.appearances().map(({ number, from, to, expression, share }) => {
    const cells = [clock(from), clock(to), expression, percent(share)].map((text) => element("td", {}, text));
    return element("tr", {}, element("th", { scope: "row" }, String(number)), ...cells);
  });
  body.replaceChildren(...rows);
}

/** Split samples into runs without gaps longer than `AWAY_S`. */
function runs(samples) {
  const found = [];
  for (const sample of samples) {
    const run = found.at(-1);
    if (run && sample.time - run.at(-1).time <= AWAY_S) run.push(sample);
    else found.push([sample]);
  }
  return found;
}

function axis({ context, ink }, from, to, x, top) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  const wanted = Math.max(2, (x(to) - x(from)) / 70);
  const step = steps.find((one) => (to - from) / one <= wanted) ?? 7200;
  context.fillStyle = ink;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  for (let time = Math.ceil(from / step) * step; time <= to + 1e-9; time += step) {
    const place = Math.min(x(time), x(to) - 12);
    context.fillRect(x(time), top, 1, 4);
    context.fillText(from < 0 && Math.abs(time) < 1e-9 ? "now" : clock(time, step < 1), place, top + 17);
  }
}

/** 75 -> "1:15". */
export function clock(seconds, tenths = true) {
  const sign = seconds < 0 ? "−" : "";
  const positive = Math.abs(seconds);
  const minutes = Math.floor(positive / 60);
  const rest = tenths ? (positive % 60).toFixed(1).padStart(4, "0") : String(Math.round(positive % 60)).padStart(2, "0");
  return `${sign}${minutes}:${rest}`;
}
