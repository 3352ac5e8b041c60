// The list of faces: for each its expression, its probability and a bar for each expression.

import { coloursOf } from "./colours.js";
import { IN_WORDS } from "./doubt.js";
import { element, show } from "./elements.js";
import { limit, percent, surely } from "./marks.js";

const MOST = 60;
const THUMB = 96; // pixels

export class FacesPanel {
  #root;
  #list;
  #expressions;
  #uncertainBelow;
  #cards = new Map();

  constructor(root, card) {
    this.#root = root;
    this.#list = root.querySelector("ol");
    this.#expressions = card.expressions;
    this.#uncertainBelow = card.uncertain_below;
  }

  /**
   * Show faces; a face that was shown before (same track or same place) keeps its card, so that its bars animate.
   *
   * `picture`: what thumbnails are cut from, and `size`, its width and height in the faces' pixels; or null.
   * `none`: what is said where there is no face.
   */
  show(faces, { picture = null, size = null, none = "No face was found.", explain = null } = {}) {
    const shown = faces.slice(0, MOST).map((face, index) => [face.track_id ?? index + 1, face]);
    shown.sort(([one], [other]) => one - other);
    for (const [number, card] of this.#cards) {
      if (shown.some(([other]) => other === number)) continue;
      card.root.remove();
      this.#cards.delete(number);
    }
    for (const [place, [number, face]] of shown.entries()) {
      const known = this.#cards.get(number);
      const card = known ?? new FaceCard(number, this.#expressions);
      this.#cards.set(number, card);
      card.update(face, explain);
      if (picture && (!known || face.track_id === undefined)) card.cut(picture, face.box, size);
      if (this.#list.children[place] !== card.root) this.#list.insertBefore(card.root, this.#list.children[place] ?? null);
    }
    this.#say(".none", faces.length === 0, none);
    const reasons = [...new Set(shown.map(([, face]) => face.why_uncertain).filter(Boolean))].map((why) => {
      if (why !== "probability") return `the face is ${IN_WORDS[why]}`;
      return this.#uncertainBelow >= 1 ? "this model is sure of nothing" : `its best answer is under ${limit(this.#uncertainBelow)}`;
    });
    this.#say(".doubt", reasons.length > 0, `“?”, not sure: ${reasons.join("; ")}.`);
    this.#root.querySelector("h2").textContent = faces.length > 0 ? `Faces (${faces.length})` : "Faces";
  }

  #say(place, wanted, text) {
    const line = this.#root.querySelector(place);
    show(wanted, line);
    if (line.textContent !== text) line.textContent = text;
  }
}

class FaceCard {
  #name = element("strong");
  #sure = element("span", { class: "quiet" });
  #thumb = element("canvas", { width: THUMB, height: THUMB, "aria-hidden": "true" });
  #why = element("div", { class: "why" });
  #bars;

  constructor(number, expressions) {
    this.#bars = new Map([...coloursOf(expressions)].map(([name, colour]) => [name, bar(name, colour)]));
    this.root = element(
      "li",
      { class: "face" },
      element("div", { class: "head" }, this.#thumb, element("h3", {}, element("span", { class: "quiet" }, `Face ${number}`), this.#name, this.#sure)),
      element("ul", { class: "bars" }, ...[...this.#bars.values()].map(({ row }) => row)),
      this.#why,
    );
  }

  update(face, explain) {
    this.#name.textContent = `${face.expression}${face.uncertain ? "?" : ""}`;
    const bad = face.why_uncertain && face.why_uncertain !== "probability";
    this.#sure.textContent = bad ? IN_WORDS[face.why_uncertain] : surely(face);
    for (const [name, { row, fill, figure }] of this.#bars) {
      const share = face.probabilities[name] ?? 0;
      fill.style.transform = `scaleX(${share})`;
      figure.textContent = name === face.expression ? surely(face) : percent(share);
      row.classList.toggle("best", name === face.expression);
    }
    this.#why.replaceChildren();
    if (face.explanation) {
      const alt = "The face as the network saw it: red pixels spoke for the answer, blue ones against it";
      this.#why.append(element("img", { src: face.explanation.image, alt }), element("p", { class: "quiet" }, "What the network saw: red spoke for the answer, blue against it."));
    } else if (explain) {
      const button = element("button", { type: "button", class: "link" }, "Why?");
      button.addEventListener("click", explain);
      this.#why.append(button);
    }
  }

  /** The face as a small picture: a square around its box. */
  cut(picture, box, size) {
    const natural = picture.videoWidth || picture.naturalWidth || picture.width;
    const scale = natural / size.width;
    const side = 1.25 * Math.max(box.width, box.height) * scale;
    const [left, top] = [(box.x + box.width / 2) * scale - side / 2, (box.y + box.height / 2) * scale - side / 2];
    const context = this.#thumb.getContext("2d");
    context.clearRect(0, 0, THUMB, THUMB);
    context.drawImage(picture, left, top, side, side, 0, 0, THUMB, THUMB);
  }
}

function bar(name, colour) {
  const fill = element("span", { class: "fill" });
  fill.style.backgroundColor = colour;
  const figure = element("span", { class: "figure" });
  return {
    fill,
    figure,
    row: element("li", {}, element("span", { class: "name" }, name), element("span", { class: "track", "aria-hidden": "true" }, fill), figure),
  };
}
