// Faces in a picture by YuNet, and how a network is shown them: `mien.recognise.detect` once more.
// A picture here is RGBA, opaque: {data, width, height, channels: 4}.

import { byArea, byTriangles, luma, part, rounded, warped } from "./sampling.js";
import { roundHalfEven } from "./values.js";

const LARGEST_READY = 2048;
const MOST_POINTS = 16;

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
export function crop(picture, face, rule, spec) {
  const [x, y, width, height] = face.box;
  const longer = Math.max(width, height);
  const turn = (angleOf(face, rule) * Math.PI) / 180;
  const centre = [
    x + width / 2 - rule.shift_y * longer * Math.sin(turn),
    y + height / 2 + rule.shift_y * longer * Math.cos(turn),
  ];
  const side = cropSide(face, rule);
  return sampled(picture, centre, [(side * spec.width) / spec.height, side], turn, spec);
}

/** The height of what `crop` cuts out, in pixels of the picture. */
export function cropSide({ box }, rule) {
  return Math.max(box[2], box[3]) * (1 + 2 * rule.margin);
}

/** Degrees by which a face is turned clockwise, and its crop levelled: -180..180. */
export function angleOf({ landmarks, angle = 0 }, rule) {
  if (!rule.align || !landmarks) return angle > 180 ? angle - 360 : angle;
  const [[rightX, rightY], [leftX, leftY]] = landmarks;
  return (Math.atan2(leftY - rightY, leftX - rightX) * 180) / Math.PI;
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
