// Boxes and labels on pictures, in the manner of `mien.recognise.draw`.

import { colourOf, inkOn } from "./colours.js";

/**
 * Mark faces on a canvas.
 *
 * `scale`: pixels of the canvas for one of the picture's; `unit`: the size of letters there; `mirrored`: the
 * picture is shown as in a mirror, the letters are not. Of an uncertain face only the corners are drawn.
 */
export function drawFaces(context, faces, { scale, unit, expressions, mirrored = false }) {
  const { width: room, height: floor } = context.canvas;
  const line = Math.max(2, unit / 6);
  const numbered = faces.length > 1 || faces.some(({ track_id: track }) => track !== undefined);
  context.save();
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const placed = faces.map((face, index) => ({ face, number: face.track_id ?? index + 1 }));
  // The largest last: their labels are not under the boxes of the crowd behind.
  placed.sort((one, other) => one.face.box.width * one.face.box.height - other.face.box.width * other.face.box.height);
  for (const { face, number } of placed) {
    const [width, height] = [face.box.width * scale, face.box.height * scale];
    const left = mirrored ? room - (face.box.x + face.box.width) * scale : face.box.x * scale;
    const top = face.box.y * scale;
    const colour = colourOf(expressions.indexOf(face.expression));
    const outline = face.uncertain ? corners(left, top, width, height) : whole(left, top, width, height);
    for (const [stroke, wide] of [["rgb(0 0 0 / 55%)", line + 3], ["white", line + 1.5], [colour, line]]) {
      context.strokeStyle = stroke;
      context.lineWidth = wide;
      context.stroke(outline);
    }
    const text = `${numbered ? `${number}  ` : ""}${label(face)}`;
    const wide = context.measureText(text).width + unit;
    const high = unit * 1.6;
    const x = Math.max(0, Math.min(left - line / 2, room - wide));
    let y = top - high - line;
    if (y < 0) y = top + height + line;
    if (y + high > floor) y = Math.max(0, top);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(x, y, wide, high, unit / 3);
    context.fill();
    context.fillStyle = inkOn(colour);
    context.fillText(text, x + unit / 2, y + high / 2);
  }
  context.restore();
}

/** "happy 93 %", with a question mark where it is uncertain. */
export function label({ expression, probability, uncertain }) {
  return `${expression}${uncertain ? "?" : ""} ${percent(probability)}`;
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/** Draw faces over an image or a video on a canvas that covers it; `under` is a frame to be seen instead of it. */
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

/** Give a frame the proportions of its video, so that both cover the same. */
export function fit(frame, { videoWidth, videoHeight }) {
  if (videoHeight > 0) frame.style.setProperty("--aspect", videoWidth / videoHeight);
}

/** A picture with its faces marked, in its own size: a canvas. */
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
