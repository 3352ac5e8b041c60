// The model's card as sentences and a table of facts.

import { IN_WORDS } from "./doubt.js";
import { element } from "./elements.js";
import { limit, percent } from "./marks.js";

// People agree with FER-2013's labels on 65 ± 5 % of its faces (Goodfellow et al. 2013).
const FER_2013 = ": small gray pictures from the web, on whose labels people do not agree well either";

/** A sentence on the pictures that make any answer uncertain; empty if the card sets no limits for them. */
function alsoMarked({ uncertain_beyond: limits }) {
  const names = Object.keys(IN_WORDS).filter((name) => limits?.[name] != null);
  return names.length > 0 ? ` It marks faces that are ${names.map((name) => IN_WORDS[name]).join(", or ")}, too.` : "";
}

/** Fill the elements of the page that describe the model. */
export function describe(root, { card, version, place, cardPage }) {
  const put = (name, text) => {
    for (const one of root.querySelectorAll(`[data-card=${name}]`)) one.textContent = text;
  };
  const { validation, test_of_the_run: test } = card.scores ?? {};
  put("version", version ?? "");
  put("count", ["two", "three", "four", "five", "six", "seven", "eight"][card.expressions.length - 2] ?? String(card.expressions.length));
  const right = test?.official_accuracy ?? validation?.accuracy;
  if (right !== undefined) {
    const on = test ? "test faces that it never saw" : "faces that it was not trained on";
    const which = card.provenance?.data?.source === "fer2013" ? FER_2013 : "";
    const majority = validation?.majority?.accuracy;
    const people = majority == null ? "" : ` It says what most people say on ${percent(majority)} of the faces on which most of ten people agree.`;
    put("accuracy", `It gives the label of ${percent(right)} of ${on}${which}.${people} On faces of other ages, origins, angles and lights it may do worse.`);
  }
  const doubted = validation?.uncertain;
  if (doubted?.accuracy !== undefined && doubted.accuracy !== null) {
    const marked = card.uncertain_below < 1 ? `answers under ${limit(card.uncertain_below)}` : "every answer of this model";
    put("doubt", `A “?” marks ${marked}: ${percent(doubted.accuracy)} of those are right, and ${percent(doubted.accuracy_of_others)} of the others.${alsoMarked(card)}`);
  }
  const facts = {
    Model: card.name,
    Expressions: card.expressions.join(", "),
    "Trained on": card.provenance?.data?.source,
    "Accuracy on validation": validation && `${share(validation.accuracy)} of ${validation.faces.toLocaleString("en")} faces`,
    "Accuracy on test": test && `${share(test.official_accuracy)}; ${share(test.deduplicated_accuracy)} without copies of training faces`,
    "Agrees with most annotators": validation?.majority && `on ${share(validation.majority.accuracy)} of ${validation.majority.faces.toLocaleString("en")} validation faces`,
    "Calibration error": validation && share((validation.majority ?? validation).calibration_error),
    Input: `${card.input.width} x ${card.input.height} pixels, ${card.input.channels === 1 ? "gray" : "colour"}`,
    "Uncertain below": share(card.uncertain_below),
    Licence: card.licence,
    Digest: card.digest,
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  root.querySelector(".facts").replaceChildren(
    ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
  const link = root.querySelector("#card-page");
  link.hidden = !cardPage;
  if (cardPage) link.querySelector("a").href = cardPage;
  const where = privacy(place);
  for (const one of root.querySelectorAll("[data-privacy]")) one.textContent = where;
  root.querySelector("#place").textContent = where;
}

function privacy(place) {
  if (place === "browser") return "Runs in this browser: pictures never leave your device.";
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  return here ? "Runs on this computer: pictures never leave it." : `Pictures are sent to ${location.hostname}, looked at and forgotten.`;
}

function share(value) {
  return `${(100 * value).toFixed(1)} %`;
}
