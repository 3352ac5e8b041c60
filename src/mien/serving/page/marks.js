// Boxes and labels on pictures, in the style of `mien.recognise.draw`.

import { coloursOf, inkOn } from "./colours.js";

/**
 * Mark faces on a canvas.
 *
 * `scale`: canvas pixels for each pixel of the picture; `unit`: font size in canvas pixels; `mirrored`: flip the
 * boxes' places, but not their text. Only the corners of an uncertain face's box are drawn.
 */
export function drawFaces(context, faces, { scale, unit, expressions, mirrored = false }) {
  const line = Math.max(2, unit / 6);
  const colours = coloursOf(expressions);
  const numbered = faces.length > 1 || faces.some(({ track_id: track }) => track !== undefined);
  context.save();
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const placed = faces.map((face, index) => {
    const [width, height] = [face.box.width * scale, face.box.height * scale];
    const left = mirrored ? context.canvas.width - (face.box.x + face.box.width) * scale : face.box.x * scale;
    const top = face.box.y * scale;
    return { face, left, top, width, height, number: numbered ? `${face.track_id ?? index + 1}` : "" };
  });
  // Largest boxes last, so that the boxes of a crowd in the background do not cross them. Their labels are placed first.
  placed.sort((one, other) => one.width * one.height - other.width * other.height);
  for (const { face, left, top, width, height } of placed) {
    const outline = face.uncertain ? corners(left, top, width, height) : whole(left, top, width, height);
    const colour = colours.get(face.expression);
    for (const [stroke, wide] of [["rgb(0 0 0 / 55%)", line + 3], ["white", line + 1.5], [colour, line]]) {
      context.strokeStyle = stroke;
      context.lineWidth = wide;
      context.stroke(outline);
    }
  }
  const labels = [];
  for (const box of placed.reverse()) {
    const spots = spotsFor(box, { context, unit, line });
    const free = (others) => spots.find((spot) => !others.some((other) => other !== box && overlap(spot, other)));
    const spot = free([...labels, ...placed]) ?? free(labels) ?? spots[0];
    labels.push(spot);
    const colour = colours.get(box.face.expression);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(spot.left, spot.top, spot.width, spot.height, unit / 3);
    context.fill();
    context.fillStyle = inkOn(colour);
    context.fillText(spot.text, spot.left + unit / 2, spot.top + spot.height / 2);
  }
  context.restore();
}

/** Candidate places and texts of a face's label, the best first: above or below the box, then shorter texts. */
function spotsFor({ face, number, left, top, height }, { context, unit, line }) {
  const { width: room, height: floor } = context.canvas;
  const before = number && `${number}  `;
  const texts = [`${before}${label(face)}`, `${before}${named(face)}`].concat(number || []);
  const high = unit * 1.6;
  const outside = [top - high - line, top + height + line].filter((y) => y >= 0 && y + high <= floor);
  const spots = (rows) => texts.flatMap((text) => {
    const wide = context.measureText(text).width + unit;
    const x = Math.max(0, Math.min(left - line / 2, room - wide));
    return rows.map((y) => ({ text, left: x, top: y, width: wide, height: high }));
  });
  return [...spots(outside), ...spots([Math.max(0, Math.min(top, floor - high))])];
}

function overlap(one, other) {
  return one.left < other.left + other.width && other.left < one.left + one.width
    && one.top < other.top + other.height && other.top < one.top + one.height;
}

/** "happy 93 %", with a question mark where it is uncertain. */
export function label(face) {
  return `${named(face)} ${surely(face)}`;
}

/** A face's probability in percent; rounded down if uncertain, so that it never looks as if it reached the limit. */
export function surely({ probability, uncertain }) {
  return uncertain ? `${Math.floor(100 * probability)} %` : percent(probability);
}

/** The probability below which answers are uncertain, in percent, rounded up. */
export function limit(share) {
  return `${Math.ceil(100 * share)} %`;
}

function named({ expression, uncertain }) {
  return `${expression}${uncertain ? "?" : ""}`;
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/** Draw faces on the canvas over an image or video; `under` is a frame to draw first, which then hides the video. */
export function cover(canvas, media, faces, size, { expressions, mirrored = false, under = null }) {
  const ratio = globalThis.devicePixelRatio ?? 1;
  canvas.width = Math.round(media.clientWidth * ratio);
  canvas.height = Math.round(media.clientHeight * ratio);
  const unit = Math.max(12, Math.min(17, media.clientWidth / 36)) * ratio;
  const context = canvas.getContext("2d");
  if (under) {
    context.save();
    if (mirrored) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
    context.drawImage(under, 0, 0, canvas.width, canvas.height);
    context.restore();
  }
  drawFaces(context, faces, { scale: canvas.width / size.width, unit, expressions, mirrored });
}

/** Give the element around a video its aspect ratio, so that both cover the same area. */
export function fit(frame, { videoWidth, videoHeight }) {
  if (videoHeight > 0) frame.style.setProperty("--aspect", videoWidth / videoHeight);
}

/** A canvas with a picture in full size and its faces marked. */
export function marked(image, faces, size, expressions) {
  const canvas = Object.assign(document.createElement("canvas"), { width: size.width, height: size.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, size.width, size.height);
  drawFaces(context, faces, { scale: 1, unit: Math.max(11, Math.min(size.width, size.height) / 28), expressions });
  return canvas;
}

function whole(x, y, width, height) {
  const path = new Path2D();
  path.rect(x, y, width, height);
  return path;
}

function corners(x, y, width, height) {
  const path = new Path2D();
  for (const [right, down] of [[0, 0], [1, 0], [1, 1], [0, 1]]) {
    const [cornerX, cornerY] = [x + right * width, y + down * height];
    path.moveTo(cornerX + ((right ? -1 : 1) * width) / 4, cornerY);
    path.lineTo(cornerX, cornerY);
    path.lineTo(cornerX, cornerY + ((down ? -1 : 1) * height) / 4);
  }
  return path;
}
