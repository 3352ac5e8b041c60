// YuNet's boxes and landmarks as faces, and the crops that the classifier takes: `mien.recognise.detect` in
// JavaScript. A picture here is opaque RGBA: {data, width, height, channels: 4}.

import { byArea, byTriangles, luma, part, rounded, squared, warped } from "./sampling.js";
import { roundHalfEven } from "./values.js";

const LARGEST_READY = 2048;
const MOST_POINTS = 16;

/** The network's input for a picture that is already a face crop: Uint8Array of C x h x w. */
export function readyCrop(picture, spec) {
  const longer = Math.max(picture.width, picture.height);
  const small = [picture.width, picture.height].map((side) => Math.max(1, roundHalfEven((side * LARGEST_READY) / longer)));
  const face = squared(longer > LARGEST_READY ? rounded(byArea(picture, ...small)) : picture);
  const colours = { ...face, channels: 3, data: withoutAlpha(face.data) };
  const levels = spec.channels === 1 ? exactLuma(colours) : colours;
  return planar(rounded(byTriangles(levels, spec.width, spec.height)));
}

/** The network's input for a detected face, by a card's crop rule and input: Uint8Array of C x h x w. */
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

/** The side of a face's crop, in pixels of the picture. */
export function cropSide({ box }, rule) {
  return Math.max(box[2], box[3]) * (1 + 2 * rule.margin);
}

/** Degrees by which a face is turned clockwise, -180..180; its crop is turned back by as much. */
export function angleOf({ landmarks, angle = 0 }, rule) {
  if (!rule.align || !landmarks) return angle > 180 ? angle - 360 : angle;
  const [[rightX, rightY], [leftX, leftY]] = landmarks;
  return (Math.atan2(leftY - rightY, leftX - rightX) * 180) / Math.PI;
}

/** Sample a rectangle of a given size around a centre, turned by an angle in radians. */
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
    // Bilinear sampling of a much larger picture would skip pixels (aliasing): average whole blocks first.
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

/** Interleaved channels (H, W, C) as planar ones (C, H, W). */
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

/** Luma (Rec. 601), not rounded. */
function exactLuma({ data, width, height }) {
  const gray = new Float32Array(width * height);
  for (let pixel = 0; pixel < gray.length; pixel++) {
    gray[pixel] = 0.299 * data[3 * pixel] + 0.587 * data[3 * pixel + 1] + 0.114 * data[3 * pixel + 2];
  }
  return { data: gray, width, height, channels: 1 };
}
