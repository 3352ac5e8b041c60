// Recognition in the browser, in a worker, so that the page stays responsive. No picture leaves the browser.
//
// Takes {id, task: "open", ...urls} and {id, task: "recognise", picture, detector, film}; answers {id, answer} or
// {id, problem}, a sentence; and while it opens, {share}: of what it loads, 0..1.

import { NO_PICTURE } from "./problem.js";
import { angleOf, crop, cropSide, readyCrop } from "./detection.js";
import { badPicture, improbable } from "./doubt.js";
import { findFaces, looked } from "./finder.js";

const MOST_PIXELS = 50_000_000;
let ort, card, detector, classifier;

const tasks = {
  async open({ runtime, detectorFile, modelFile, cardContent, bytes }) {
    const files = [`${runtime}/ort-wasm-simd-threaded.wasm`, detectorFile, modelFile];
    const [wasm, ...models] = await loaded(files, bytes);
    ort = await import(`${runtime}/ort.wasm.bundle.min.mjs`);
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency ?? 1) : 1;
    ort.env.logLevel = "error";
    card = cardContent;
    const open = (model) => ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    [detector, classifier] = [await open(models[0]), await open(models[1])];
  },

  async recognise({ picture, detector: wanted, film }) {
    const pixels = await opened(picture);
    const ready = wanted === "none";
    const found = ready
      ? whole(pixels)
      : (await findFaces(detect, pixels, { thorough: !film })).sort(fromLeftToRight);
    const crops = found.map((face) =>
      ready ? readyCrop(pixels, card.input) : crop(pixels, face, card.crop, card.input),
    );
    const probabilities = await classify(crops);
    const faces = found.map((face, index) => {
      const side = ready ? Math.min(pixels.width, pixels.height) : cropSide(face, card.crop);
      const doubt = badPicture(card.uncertain_beyond, face, crops[index], card.input, side, ready);
      return asFace(face, probabilities[index], doubt, pixels);
    });
    const { width, height } = pixels;
    return { width, height, looked_at: ready ? null : looked(pixels), faces };
  },
};

/** The contents of files, loaded at the same time; tells how much of their `bytes` is here. */
async function loaded(files, bytes) {
  let here = 0;
  self.postMessage({ share: 0 });
  return Promise.all(files.map(async (file) => {
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    const parts = [];
    const reader = answer.body.getReader();
    for (let part; !(part = await reader.read()).done; ) {
      parts.push(part.value);
      here += part.value.length;
      self.postMessage({ share: Math.min(1, here / bytes) });
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }));
}

/** Decode a file or frame as a viewer shows it: upright, transparency on white. */
async function opened(picture) {
  const bitmap = picture instanceof ImageBitmap ? picture : await decoded(picture);
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new Refused(`${width} x ${height} pixels are too many (the limit is ${MOST_PIXELS / 1e6} megapixels); make it smaller`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

async function decoded(file) {
  if (file.size === 0) throw new Refused("the file is empty; copy it again or remove it");
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Refused(NO_PICTURE);
  }
}

/** Run YuNet on planar BGR; resolves with its outputs by name. */
function detect({ data, width, height }) {
  return detector.run({ input: new ort.Tensor("float32", data, [1, 3, height, width]) });
}

function fromLeftToRight({ box: [x, y, width] }, { box: [otherX, otherY, otherWidth] }) {
  return x + width / 2 - (otherX + otherWidth / 2) || y - otherY;
}

function whole({ width, height }) {
  return [{ box: [0, 0, width, height], score: 1 }];
}

/** Run the classifier; resolves with the calibrated probabilities of each crop (the temperature is in the graph). */
async function classify(crops) {
  if (crops.length === 0) return [];
  const { channels, height, width } = card.input;
  const data = new Uint8Array(crops.length * crops[0].length);
  crops.forEach((one, index) => data.set(one, index * one.length));
  const faces = new ort.Tensor("uint8", data, [crops.length, channels, height, width]);
  const { probabilities } = await classifier.run({ faces }, ["probabilities"]);
  const count = card.expressions.length;
  return crops.map((_, index) => [...probabilities.data.subarray(index * count, (index + 1) * count)]);
}

/** A face with the fields of mien's `Face.to_dict`. */
function asFace(face, probabilities, doubt, picture) {
  const { box, score } = face;
  const [left, top] = [Math.max(0, box[0]), Math.max(0, box[1])];
  const [right, bottom] = [Math.min(picture.width, box[0] + box[2]), Math.min(picture.height, box[1] + box[3])];
  const probability = Math.max(...probabilities);
  const why = doubt ?? improbable(probability, card.uncertain_below);
  return {
    box: { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) },
    angle: angleOf(face, card.crop),
    detection_score: Math.min(1, score),
    expression: card.expressions[probabilities.indexOf(probability)],
    probability,
    uncertain: why !== null,
    why_uncertain: why,
    probabilities: Object.fromEntries(card.expressions.map((name, index) => [name, probabilities[index]])),
  };
}

/** Errors whose message is shown to people unchanged. */
class Refused extends Error {}

self.onmessage = async ({ data: { id, task, ...given } }) => {
  try {
    self.postMessage({ id, answer: await tasks[task](given) });
  } catch (error) {
    const problem = error instanceof Refused ? error.message : `this browser could not compute it (${error.message})`;
    self.postMessage({ id, problem });
  }
};
