// The faces of a picture by YuNet, at several sizes, turned where need be: `mien.recognise.yunet` once more.
// A picture here is RGBA, opaque: {data, width, height, channels: 4}; a row {box, landmarks, score}.

import { crop } from "./detection.js";
import { byArea, halved, luma, quarterTurned, rounded } from "./sampling.js";
import { roundHalfEven } from "./values.js";

const STRIDES = [8, 16, 32];
const SMALLEST_INPUT = 64;
const [USUAL, FINE, LARGE] = [640, 1760, 2_100_000];
const STEP = 3;
const CERTAIN_PIXELS = 35;
const SURE = 0.7;
const [GUESS, SMALL, MOST_GUESSES] = [0.1, 64, 48];
const AROUND = { margin: 0.75, shift_y: 0, align: false };
const ENLARGED = { channels: 3, width: 128, height: 128 };
const [SHARED, WITHIN, NEARLY] = [0.3, 0.75, 0.1];
const [WELL, TURNED, BETTER] = [0.9, 320, 0.01];
const [EXTREME, FLAT, LEAST_SPREAD] = [0.001, 96, 8];

/**
 * The faces of a picture {box, landmarks, score, angle}, the surest first, in its pixels.
 *
 * `run` resolves YuNet's outputs by name for {data, width, height}, planar BGR; not `thorough`: one look, upright,
 * as films need it.
 */
export async function findFaces(run, picture, { thorough = true } = {}) {
  const copies = [picture];
  for (const size of sizes(picture, thorough)) copies.push(shrunk(copies.at(-1), size));
  const levels = spreading(copies.at(-1));
  let found = await upright(run, copies, levels, thorough);
  let turned = [];
  if (thorough && best(found) < WELL) {
    const [quarters, small] = await turn(run, picture, copies.at(-1), levels, best(found));
    if (quarters) {
      const rows = await upright(run, copies.map((copy) => quarterTurned(copy, quarters)), levels, thorough);
      turned = joined([...rows, ...small]).map((row) => ({ ...turnedBack(row, quarters, picture), angle: 90 * quarters }));
    } else found = joined([...found, ...small]);
  }
  return separate([...found.map((row) => ({ ...row, angle: 0 })), ...turned]);
}

/** How closely a picture is looked at: {size, smallest_face}, as `Looked` in Python. */
export function looked({ width, height }) {
  const longer = Math.max(width, height);
  const [size] = sizes({ width, height }, true);
  return { size, smallest_face: roundHalfEven((CERTAIN_PIXELS * longer) / size) };
}

/** The sizes at which a picture is looked at, the largest first. */
function sizes({ width, height }, thorough) {
  const usual = thorough && width * height > LARGE ? FINE : USUAL;
  const found = [Math.min(usual, Math.max(width, height))];
  while (thorough && found.at(-1) > USUAL) found.push(Math.max(USUAL, Math.ceil(found.at(-1) / STEP)));
  return found;
}

/** The faces of a picture as it stands, the surest first, by smaller and smaller copies of it. */
async function upright(run, [picture, ...smaller], levels, thorough) {
  const looks = [];
  for (const seen of smaller) {
    const rows = await look(run, seen, levels, thorough ? GUESS : SURE);
    const scale = [picture.width / seen.width, picture.height / seen.height];
    looks.push(...rows.filter(({ box, score }) => score >= SURE || longer(box) < SMALL).map((row) => moved(row, scale, [0, 0])));
  }
  const found = joined(looks);
  const sure = found.filter(({ score }) => score >= SURE);
  const guesses = found.filter(({ score }) => score < SURE).slice(0, MOST_GUESSES);
  if (guesses.length === 0) return sure;
  return joined([...sure, ...(await enlarged(run, picture, levels, guesses))]);
}

/** What guesses turn out to be when they are looked at enlarged, all on one sheet. */
async function enlarged(run, picture, levels, guesses) {
  const side = ENLARGED.width;
  const columns = Math.ceil(Math.sqrt(guesses.length));
  const sheet = blank(columns * side, Math.ceil(guesses.length / columns) * side);
  guesses.forEach((guess, place) => {
    const patch = crop(picture, guess, AROUND, ENLARGED);
    const [left, top] = [(place % columns) * side, Math.floor(place / columns) * side];
    for (let pixel = 0; pixel < side * side; pixel++) {
      const at = 4 * ((top + Math.floor(pixel / side)) * sheet.width + left + (pixel % side));
      for (let channel = 0; channel < 3; channel++) sheet.data[at + channel] = patch[channel * side * side + pixel];
    }
  });
  const found = [];
  for (const row of await look(run, sheet, levels, SURE)) {
    const place = middle(row.box).map((value) => value / side);
    const cell = place.map(Math.floor);
    const guess = guesses[cell[1] * columns + cell[0]];
    // A face that was guessed is in the middle half of its patch; what else is there is cut off.
    if (!guess || place.some((value, axis) => Math.abs(value - cell[axis] - 0.5) >= 0.25)) continue;
    const scale = (longer(guess.box) * (1 + 2 * AROUND.margin)) / side;
    const shift = middle(guess.box).map((value, axis) => value - (cell[axis] + 0.5) * side * scale);
    found.push(moved(row, [scale, scale], shift));
  }
  return found;
}

/** The quarters to the left that bring out a face best, 0 where none beats upright, and the faces so seen. */
async function turn(run, picture, smallest, levels, score) {
  const seen = shrunk(smallest, TURNED);
  const looks = [];
  for (let quarters = 0; quarters < 4; quarters++) {
    looks.push(await look(run, quarterTurned(seen, quarters), levels, SURE));
  }
  const scores = looks.map(best);
  scores[0] = Math.max(scores[0], score) + BETTER;
  const quarters = scores.indexOf(Math.max(...scores));
  const scale = [picture.width / seen.width, picture.height / seen.height];
  if (quarters % 2) scale.reverse();
  return [quarters, looks[quarters].map((row) => moved(row, scale, [0, 0]))];
}

/** The faces of a picture as it is and, where it has few gray levels, with these spread. */
async function look(run, seen, levels, least) {
  const found = await lookOnce(run, seen, least);
  return levels ? [...found, ...(await lookOnce(run, spread(seen, levels), least))] : found;
}

/** One look: the faces with a score of `least` or more, the surest first, in pixels of what is seen. */
async function lookOnce(run, seen, least) {
  const shown = planes(seen);
  const outputs = await run(shown);
  const rows = STRIDES.flatMap((stride) => candidates(outputs, stride, shown.width / stride, least));
  return separate(
    rows.filter(({ box, landmarks }) => {
      const [x, y] = middle(box);
      const within = x >= 0 && y >= 0 && x <= seen.width && y <= seen.height;
      return within && [...box, ...landmarks.flat()].every(Number.isFinite);
    }),
  );
}

function planes({ data, width: own, height: rows }) {
  const [width, height] = [own, rows].map((side) => Math.max(SMALLEST_INPUT, Math.ceil(side / 32) * 32));
  const input = new Float32Array(3 * width * height);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < own; x++) {
      for (let channel = 0; channel < 3; channel++) {
        input[((2 - channel) * height + y) * width + x] = data[(y * own + x) * 4 + channel];
      }
    }
  }
  return { data: input, width, height };
}

/** What one of YuNet's three grids takes for faces: box and landmarks lie relative to a cell. */
function candidates(outputs, stride, columns, least) {
  const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((name) => outputs[`${name}_${stride}`].data);
  const found = [];
  for (let cell = 0; cell < cls.length; cell++) {
    const score = Math.sqrt(unit(cls[cell]) * unit(obj[cell]));
    if (score < least) continue;
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    const [right, down, wide, high] = bbox.subarray(4 * cell, 4 * cell + 4);
    const [width, height] = [Math.exp(wide) * stride, Math.exp(high) * stride];
    const box = [(column + right) * stride - width / 2, (row + down) * stride - height / 2, width, height];
    const landmarks = [0, 1, 2, 3, 4].map((point) => {
      const at = 10 * cell + 2 * point;
      return [(column + kps[at]) * stride, (row + kps[at + 1]) * stride];
    });
    found.push({ box, landmarks, score });
  }
  return found;
}

/** Of boxes that are one face the surest alone, the surest first. */
function separate(rows) {
  return grouped(rows).map(([first]) => first);
}

/** The faces of several looks, the surest first; where looks are nearly as sure, the box is between theirs. */
function joined(rows) {
  return grouped(rows).map((group) => {
    const [first] = group;
    const weights = group.map(({ box, score }, place) =>
      place === 0 ? 1 : overlap(first.box, box) > SHARED ? Math.max(0, 1 - (first.score - score) / NEARLY) : 0,
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const mean = (value) => group.reduce((total, row, place) => total + weights[place] * value(row), 0) / sum;
    return {
      ...first,
      box: first.box.map((_, at) => mean(({ box }) => box[at])),
      landmarks: first.landmarks.map((pair, point) => pair.map((_, axis) => mean(({ landmarks }) => landmarks[point][axis]))),
    };
  });
}

/** Boxes that are one face, face by face; of a face, and of all, the surest first. */
function grouped(rows) {
  const groups = [];
  for (const row of [...rows].sort((one, other) => other.score - one.score)) {
    const group = groups.find(([first]) => same(first.box, row.box));
    if (group) group.push(row);
    else groups.push([row]);
  }
  return groups;
}

function same(one, other) {
  const shared = common(one, other);
  const smaller = Math.min(one[2] * one[3], other[2] * other[3]);
  return overlap(one, other) > SHARED || shared > WITHIN * smaller;
}

/** Intersection over union of two boxes (x, y, width, height). */
export function overlap(one, other) {
  const shared = common(one, other);
  return shared / Math.max(one[2] * one[3] + other[2] * other[3] - shared, 1e-9);
}

function common(one, other) {
  return [0, 1]
    .map((axis) => Math.min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - Math.max(one[axis], other[axis]))
    .reduce((area, side) => area * Math.max(0, side), 1);
}

/** A row scaled, then moved. */
function moved({ box, landmarks, score }, scale, shift) {
  const point = ([x, y]) => [x * scale[0] + shift[0], y * scale[1] + shift[1]];
  return { box: [...point(box), box[2] * scale[0], box[3] * scale[1]], landmarks: landmarks.map(point), score };
}

/** A row of a picture that was turned by some quarters to the left, as one of the picture itself. */
function turnedBack({ box, landmarks, score }, quarters, picture) {
  for (let left = quarters; left > 0; left--) {
    const width = left % 2 ? picture.width : picture.height; // before this quarter
    box = [width - box[1] - box[3], box[0], box[3], box[2]];
    landmarks = landmarks.map(([x, y]) => [width - y, x]);
  }
  return { box, landmarks, score };
}

/** A picture whose longer side has at most so many pixels. */
function shrunk(picture, size) {
  const scale = size / Math.max(picture.width, picture.height);
  if (scale >= 1) return picture;
  const sides = [picture.width, picture.height].map((side) => Math.max(1, roundHalfEven(side * scale)));
  while (picture.width * picture.height > LARGE && Math.min(picture.width / sides[0], picture.height / sides[1]) >= 2) {
    picture = halved(picture);
  }
  return rounded(byArea(picture, ...sides));
}

/** What spreads the gray levels of a dark or flat picture over all there are; null for others. */
function spreading(seen) {
  const counts = new Uint32Array(256);
  for (const level of luma(seen).data) counts[level]++;
  const all = seen.width * seen.height;
  const reaching = (share) => {
    let [level, count] = [0, counts[0]];
    while (count < all * share) count += counts[++level];
    return level;
  };
  const [low, high] = [reaching(EXTREME), reaching(1 - EXTREME)];
  if (high === low || high - low >= FLAT) return null;
  const step = Math.max(high - low, LEAST_SPREAD);
  return Uint8Array.from(counts, (_, level) => Math.floor(Math.min(255, Math.max(0, ((level - low) * 255) / step)) + 0.5));
}

function spread(seen, levels) {
  return { ...seen, data: seen.data.map((level, at) => (at % 4 === 3 ? level : levels[level])) };
}

function blank(width, height) {
  return { data: new Uint8ClampedArray(4 * width * height), width, height, channels: 4 };
}

function best(rows) {
  return rows.reduce((most, { score }) => Math.max(most, score), 0);
}

function middle([x, y, width, height]) {
  return [x + width / 2, y + height / 2];
}

function longer([, , width, height]) {
  return Math.max(width, height);
}

function unit(value) {
  return Math.min(1, Math.max(0, value));
}
