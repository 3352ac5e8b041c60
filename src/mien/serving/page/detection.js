// Faces in a picture by YuNet, and how a network is shown them: `mien.recognise.detect` once more.
// A picture here is RGBA, opaque: {data, width, height, channels: 4}.

import { byArea, byTriangles, luma, part, rounded, warped } from "./sampling.js";

const STRIDES = [8, 16, 32];
const PADDED_TO = 32; // YuNet halves what it sees five times
const LONGEST_SIDE = 640;
const LEAST_SCORE = 0.7;
const MOST_OVERLAP = 0.3;
const LARGEST_READY = 2048;
const MOST_POINTS = 16;

/** What YuNet is shown: its input {data, width, height}, planar BGR, and the size that holds the picture. */
export function shownToDetector(picture) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const size = [picture.width, picture.height].map((side) => Math.max(1, roundHalfEven(side * scale)));
  const small = scale < 1 ? rounded(byArea(picture, ...size)) : picture;
  const [width, height] = size.map((side) => Math.ceil(side / PADDED_TO) * PADDED_TO);
  const data = new Float32Array(3 * width * height);
  for (let y = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        data[((2 - channel) * height + y) * width + x] = small.data[(y * small.width + x) * 4 + channel];
      }
    }
  }
  return { data, width, height, size };
}

/** YuNet's outputs by name as faces {box, score, landmarks}, the surest first, in pixels of the picture. */
export function detections(outputs, shown, picture) {
  const toPicture = [picture.width / shown.size[0], picture.height / shown.size[1]];
  const scaled = (values) => values.map((value, index) => value * toPicture[index % 2]);
  return separate(STRIDES.flatMap((stride) => candidates(outputs, stride, shown)))
    .filter(({ box: [x, y, width, height] }) => {
      const [middleX, middleY] = [x + width / 2, y + height / 2];
      return middleX >= 0 && middleY >= 0 && middleX <= shown.size[0] && middleY <= shown.size[1];
    })
    .map(({ box, score, landmarks }) => ({ box: scaled(box), score, landmarks: landmarks.map(scaled) }));
}

/** What one of YuNet's three grids takes for faces: box and landmarks lie relative to a cell. */
function candidates(outputs, stride, shown) {
  const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((name) => outputs[`${name}_${stride}`].data);
  const columns = shown.width / stride;
  const found = [];
  for (let cell = 0; cell < cls.length; cell++) {
    const score = Math.sqrt(unit(cls[cell]) * unit(obj[cell]));
    if (score < LEAST_SCORE) continue;
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    const [right, down, wide, high] = bbox.subarray(4 * cell, 4 * cell + 4);
    const [width, height] = [Math.exp(wide) * stride, Math.exp(high) * stride];
    const box = [(column + right) * stride - width / 2, (row + down) * stride - height / 2, width, height];
    const landmarks = [0, 1, 2, 3, 4].map((point) => {
      const at = 10 * cell + 2 * point;
      return [(column + kps[at]) * stride, (row + kps[at + 1]) * stride];
    });
    if (box.every(Number.isFinite)) found.push({ box, score, landmarks });
  }
  return found;
}

/** Of boxes that overlap the surest alone; compared in whole pixels, as OpenCV does. */
function separate(found) {
  const kept = [];
  for (const face of found.sort((one, other) => other.score - one.score)) {
    const box = face.box.map(Math.trunc);
    if (kept.every(({ whole }) => overlap(whole, box) <= MOST_OVERLAP)) kept.push({ face, whole: box });
  }
  return kept.map(({ face }) => face);
}

/** Intersection over union of two boxes (x, y, width, height). */
export function overlap(one, other) {
  const common = [0, 1]
    .map((axis) => Math.min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - Math.max(one[axis], other[axis]))
    .reduce((area, side) => area * Math.max(0, side), 1);
  return common / Math.max(one[2] * one[3] + other[2] * other[3] - common, 1e-9);
}

/** A picture that is a face already, in the network's size: Uint8Array of C x h x w. */
export function readyCrop(picture, spec) {
  const [width, height] = [picture.width, picture.height].map((side) => Math.min(side, LARGEST_READY));
  let face = picture;
  if (width !== picture.width || height !== picture.height) face = rounded(byArea(picture, width, height));
  const colours = { ...face, channels: 3, data: withoutAlpha(face.data) };
  const levels = spec.channels === 1 ? exactLuma(colours) : colours;
  return planar(rounded(byTriangles(levels, spec.width, spec.height)));
}

/** What the network is shown of a face by a card's crop rule and input: Uint8Array of C x h x w. */
export function crop(picture, { box, landmarks }, rule, spec) {
  const [x, y, width, height] = box;
  const longer = Math.max(width, height);
  let turn = 0;
  if (rule.align) {
    const [[rightX, rightY], [leftX, leftY]] = landmarks;
    turn = Math.atan2(leftY - rightY, leftX - rightX);
  }
  const centre = [
    x + width / 2 - rule.shift_y * longer * Math.sin(turn),
    y + height / 2 + rule.shift_y * longer * Math.cos(turn),
  ];
  const side = cropSide({ box }, rule);
  return sampled(picture, centre, [(side * spec.width) / spec.height, side], turn, spec);
}

/** The height of what `crop` cuts out, in pixels of the picture. */
export function cropSide({ box }, rule) {
  return Math.max(box[2], box[3]) * (1 + 2 * rule.margin);
}

/** The rectangle of a size around a centre, turned by radians. */
function sampled(picture, centre, size, turn, spec) {
  const turning = [
    [Math.cos(turn), -Math.sin(turn)],
    [Math.sin(turn), Math.cos(turn)],
  ];
  const axes = [0, 1];
  const limits = [picture.width, picture.height];
  const reach = axes.map((a) => (Math.abs(turning[a][0]) * size[0] + Math.abs(turning[a][1]) * size[1]) / 2);
  const within = (value, axis) => Math.min(Math.max(value, 0), limits[axis]);
  const first = axes.map((a) => within(Math.floor(centre[a] - reach[a]) - 2, a));
  const last = axes.map((a) => within(Math.ceil(centre[a] + reach[a]) + 2, a));
  let region = part(picture, ...first, ...last);
  region = spec.channels === 1 ? luma(region) : { ...region, channels: 3, data: withoutAlpha(region.data) };
  const target = [spec.width, spec.height];
  let points = axes.map((a) => Math.max(1, Math.ceil(size[a] / target[a])));
  let shrink = [1, 1];
  if (Math.max(...points) > MOST_POINTS) {
    // Far too many pixels: average whole blocks first.
    const extent = [region.width, region.height];
    const blocks = points.map((count) => Math.max(1, Math.floor(count / (MOST_POINTS / 2))));
    const small = axes.map((a) => Math.max(1, roundHalfEven(extent[a] / blocks[a])));
    region = rounded(byArea(region, ...small));
    shrink = axes.map((a) => small[a] / extent[a]);
    points = axes.map((a) => Math.max(1, Math.min(MOST_POINTS, Math.ceil((size[a] * shrink[a]) / target[a]))));
  }
  const grid = axes.map((a) => target[a] * points[a]);
  // Grid point (i, j) looks at: centre + turning @ ((i, j) + 1/2 - grid / 2) * step - 1/2.
  const step = axes.map((a) => size[a] / grid[a]);
  const corner = axes.map((a) => (0.5 - grid[a] / 2) * step[a]);
  const matrix = axes.map((a) => [
    shrink[a] * turning[a][0] * step[0],
    shrink[a] * turning[a][1] * step[1],
    shrink[a] * (centre[a] - first[a] + turning[a][0] * corner[0] + turning[a][1] * corner[1]) - 0.5,
  ]);
  const looked = warped(region, matrix, ...grid);
  return planar(rounded(grid.some((count, a) => count !== target[a]) ? byArea(looked, ...target) : looked));
}

/** Interleaved channels one after the other. */
function planar({ data, width, height, channels }) {
  const count = width * height;
  return Uint8Array.from(data, (_, index) => data[(index % count) * channels + Math.floor(index / count)]);
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}

/** Luma that is not rounded yet. */
function exactLuma({ data, width, height }) {
  const gray = new Float32Array(width * height);
  for (let pixel = 0; pixel < gray.length; pixel++) {
    gray[pixel] = 0.299 * data[3 * pixel] + 0.587 * data[3 * pixel + 1] + 0.114 * data[3 * pixel + 2];
  }
  return { data: gray, width, height, channels: 1 };
}

/** As Python rounds. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

function unit(value) {
  return Math.min(1, Math.max(0, value));
}
