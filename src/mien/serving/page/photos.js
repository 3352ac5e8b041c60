// The photos tab: one photo is shown large with its faces marked, all of them in a strip of thumbnails.

import { element, show, within } from "./elements.js";
import { cover, label, marked } from "./marks.js";
import { NO_PICTURE, Problem } from "./problem.js";
import { asRow, save, stem, toCsv } from "./rows.js";
import { visible } from "./values.js";

const SMALL = 360; // pixels: smaller photos are shown enlarged

export class Photos {
  #desk;
  #root;
  #parts;
  #photos = [];
  #shown = null;
  #working = false;

  constructor(root, desk) {
    this.#desk = desk;
    this.#root = root;
    this.#parts = {
      welcome: within(root, ".welcome"), frame: within(root, ".frame"), image: within(root, "img"),
      canvas: within(root, "canvas"), busy: within(root, ".busy"), unseen: within(root, "[data-unseen]"), strip: within(root, ".strip"),
      actions: within(root, ".actions"), ready: within(root, "#ready"),
    };
    const { image, ready } = this.#parts;
    image.addEventListener("load", () => this.#draw());
    image.addEventListener("error", () => this.#unseen());
    new ResizeObserver(() => this.#draw()).observe(image);
    ready.addEventListener("change", () => this.#again());
    within(root, "[data-clear]").addEventListener("click", () => this.#clear());
    for (const [what, act] of Object.entries({ image: () => this.#saveImage(), csv: () => this.#saveCsv(), json: () => this.#saveJson() })) {
      within(root, `[data-save=${what}]`).addEventListener("click", act);
    }
  }

  /** Add photos and show the first of them. */
  add(files) {
    const added = files.map((file) => ({ file, url: URL.createObjectURL(file), answer: null, problem: notPicture(file) }));
    this.#photos.push(...added);
    this.#select(added[0]);
    this.#work();
  }

  /** Called when the tab is shown. */
  open() {
    this.#render();
  }

  close() {}

  get #detector() {
    return this.#parts.ready.checked ? "none" : "yunet";
  }

  /** Recognise the photos one after the other, the selected one first. */
  async #work() {
    if (this.#working) return;
    this.#working = true;
    const waits = (photo) => !photo.answer && !photo.problem;
    for (let photo; (photo = waits(this.#shown ?? {}) && this.#shown ? this.#shown : this.#photos.find(waits)); ) {
      const detector = this.#detector;
      try {
        const answer = await this.#desk.backend.recognise(photo.file, { detector });
        if (detector === this.#detector) photo.answer = answer;
      } catch (error) {
        if (!(error instanceof Problem)) console.error(error);
        photo.problem = error.message;
      }
      if (photo === this.#shown) {
        this.#render();
        this.#desk.tell(told(photo));
      }
      this.#drawStrip();
    }
    this.#working = false;
  }

  /** Say that the browser cannot display the photo. */
  #unseen() {
    if (!this.#shown) return;
    this.#shown.unseen = true;
    this.#render();
  }

  #again() {
    for (const photo of this.#photos) Object.assign(photo, { answer: null, problem: notPicture(photo.file) });
    this.#render();
    this.#work();
  }

  #select(photo) {
    this.#shown = photo;
    this.#render();
  }

  #clear() {
    for (const { url } of this.#photos) URL.revokeObjectURL(url);
    this.#photos = [];
    this.#select(null);
    within(this.#root, ".welcome input").focus();
  }

  #render() {
    const { welcome, frame, image, busy, unseen, actions, strip } = this.#parts;
    const photo = this.#shown;
    show(!photo, welcome);
    show(photo && !photo.unseen, frame);
    show(photo?.unseen, unseen);
    show(photo && !photo.answer && !photo.problem, busy);
    show(photo, actions);
    show(this.#photos.length > 1, strip);
    this.#desk.problem(photo?.problem ? `${photo.file.name || "The photo"}: ${photo.problem}` : null);
    if (photo && image.getAttribute("src") !== photo.url) {
      image.src = photo.url;
      image.classList.remove("small");
    }
    image.alt = photo ? told(photo) : "";
    this.#drawStrip();
    this.#draw();
  }

  #drawStrip() {
    const { strip } = this.#parts;
    while (strip.children.length > this.#photos.length) strip.lastChild.remove();
    this.#photos.forEach((photo, place) => {
      let button = strip.children[place]?.firstChild;
      if (button?.dataset.url !== photo.url) {
        const thumb = element("img", { src: photo.url, alt: "", loading: "lazy", decoding: "async" });
        button = element("button", { type: "button", "data-url": photo.url }, thumb);
        button.addEventListener("click", () => this.#select(photo));
        const item = element("li", {}, button);
        if (strip.children[place]) strip.children[place].replaceWith(item);
        else strip.append(item);
      }
      button.setAttribute("aria-label", told(photo));
      button.setAttribute("aria-pressed", String(photo === this.#shown));
      button.classList.toggle("failed", photo.problem !== null);
    });
  }

  /** Draw the photo's boxes and list its faces; called again once its image is loaded. */
  #draw() {
    const { image, canvas } = this.#parts;
    const photo = this.#shown;
    image.classList.toggle("small", image.naturalWidth > 0 && image.naturalWidth < SMALL);
    const answer = photo?.answer;
    const loaded = image.complete && image.naturalWidth > 0;
    canvas.width = canvas.width; // empties it
    if (answer && loaded) cover(canvas, image, answer.faces, answer, this.#desk.card);
    if (this.#root.hidden) return;
    const none = photo?.answer ? "No face was found in this photo." : photo?.problem ? "There is no answer for this photo." : "";
    const explain = (place) => this.#explain(photo, place);
    const picture = loaded ? image : null;
    if (photo) this.#desk.panel.show(answer?.faces ?? [], { picture, size: answer, none, explain });
    else this.#desk.panel.show([], { none: "They appear here, each with what its expression looks like." });
  }

  async #explain(photo, place) {
    const { faces } = photo.answer;
    try {
      const told = await this.#desk.backend.explain(photo.file, { detector: this.#detector, place });
      if (!told[place]) throw new Problem("Of this many faces only the first are explained.");
      faces.forEach((face, index) => (face.explanation ??= told[index]));
    } catch (error) {
      this.#desk.problem(error.message);
    }
    this.#draw();
  }

  get #answered() {
    return this.#photos.filter(({ answer }) => answer);
  }

  async #saveImage() {
    const { file, url, answer } = this.#shown;
    if (!answer) return;
    const image = Object.assign(new Image(), { src: url });
    await image.decode();
    const canvas = marked(image, answer.faces, answer, this.#desk.card.expressions);
    canvas.toBlob((blob) => save(`${stem(file.name)}-marked.png`, blob));
  }

  #saveCsv() {
    const rows = this.#answered.flatMap(({ file, answer }) => answer.faces.map((face) => asRow(file.name, 0, null, face)));
    save("mien.csv", toCsv(rows, this.#desk.card.expressions), "text/csv");
  }

  /** Save the JSON that `mien predict --json` prints. */
  #saveJson() {
    const { name, digest } = this.#desk.card;
    const content = {
      model: { name, digest },
      pictures: this.#answered.map(({ file, answer: { width, height, looked_at, faces } }) => {
        const plain = faces.map(({ explanation, ...face }) => face);
        return { file: file.name, width, height, looked_at, faces: plain };
      }),
      failed: this.#photos.filter(({ problem }) => problem).map(({ file, problem }) => ({ file: file.name, error: problem })),
    };
    save("mien.json", JSON.stringify(content, null, 2), "application/json");
  }
}

/** A problem if a file's type or name shows that it is no photo, else null; other faults show when it is read. */
function notPicture({ type }) {
  return !type || type.startsWith("image/") ? null : NO_PICTURE;
}

/** The faces of a photo in words, for screen readers. */
function told({ file, answer, problem }) {
  const name = visible(file.name || "photo");
  if (problem) return `${name}: ${problem}`;
  if (!answer) return name;
  const { faces } = answer;
  if (faces.length === 0) return `${name}: no face`;
  const each = faces.slice(0, 5).map((face, index) => `face ${index + 1} ${label(face)}`);
  return `${name}: ${faces.length === 1 ? "1 face" : `${faces.length} faces`}: ${each.join(", ")}`;
}
