// Which pixels mattered: hide a part of a face, and see how much of the answer goes. `mien.recognise.explain` once more.

import { roundHalfEven } from "./values.js";

/** The hidden square's side and its steps, as shares of the face's side; squares that the network is shown at once. */
const PATCH = 1 / 5, STEP = 1 / 16, BATCH = 16;
/** RGB of what spoke for the answer and against it, and their share of a pixel where they are strongest. */
const FOR = [255, 30, 30], AGAINST = [40, 90, 255], STRONGEST = 0.65;

/**
 * The mean fall of the answer's probability over the squares that hid a pixel: Float64Array of h x w, -1..1.
 *
 * `face`: Uint8Array of C x h x w. `classify` resolves with the probabilities of each of several faces.
 */
export async function hiddenParts(classify, face, { channels, height, width }) {
  const longer = Math.max(height, width);
  const side = Math.max(1, roundHalfEven(PATCH * longer));
  const stride = Math.max(1, roundHalfEven(STEP * longer));
  const covers = [];
  for (let top = stride - side; top < height; top += stride) {
    for (let left = stride - side; left < width; left += stride) covers.push(pixelsOf(top, left, side, height, width));
  }
  const area = height * width;
  const grays = Array.from({ length: channels }, (_, channel) => gray(face.subarray(channel * area, (channel + 1) * area)));
  const [probabilities] = await classify([face]);
  const probability = Math.max(...probabilities);
  const answer = probabilities.indexOf(probability);
  const fallen = new Float64Array(area);
  const times = new Uint32Array(area);
  for (let start = 0; start < covers.length; start += BATCH) {
    const some = covers.slice(start, start + BATCH);
    const leftOver = await classify(some.map((cover) => hidden(face, cover, grays)));
    some.forEach((cover, index) => {
      for (const pixel of cover) {
        fallen[pixel] += probability - leftOver[index][answer];
        times[pixel] += 1;
      }
    });
  }
  return fallen.map((fall, pixel) => fall / times[pixel]);
}

/** A face, Uint8Array of C x h x w, under its map: RGBA of h x w, red what spoke for the answer, blue against. */
export function painted(face, mattered, { channels, height, width }) {
  const area = height * width;
  const most = mattered.reduce((highest, value) => Math.max(highest, Math.abs(value)), 1e-6);
  const pixels = new Uint8ClampedArray(4 * area).fill(255);
  mattered.forEach((value, pixel) => {
    let level = 0;
    for (let channel = 0; channel < channels; channel++) level += face[channel * area + pixel] / channels;
    const share = (STRONGEST * Math.abs(value)) / most;
    const colour = value > 0 ? FOR : AGAINST;
    for (const [at, part] of colour.entries()) pixels[4 * pixel + at] = level * (1 - share) + part * share;
  });
  return pixels;
}

/** The indices of a square's pixels, as far as it lies on the face. */
function pixelsOf(top, left, side, height, width) {
  const pixels = [];
  for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
    for (let x = Math.max(0, left); x < Math.min(width, left + side); x++) pixels.push(y * width + x);
  }
  return pixels;
}

function gray(levels) {
  return roundHalfEven(levels.reduce((sum, level) => sum + level, 0) / levels.length);
}

function hidden(face, cover, grays) {
  const shown = face.slice();
  const area = face.length / grays.length;
  for (const [channel, level] of grays.entries()) for (const pixel of cover) shown[channel * area + pixel] = level;
  return shown;
}
