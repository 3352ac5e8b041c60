// Resampling of pictures, with the same results as mien's Python code with OpenCV and numpy.

/** For each of `size` new pixels the `old` pixels that it covers: [index of the first, their weights]. */
function coverage(old, size) {
  const step = old / size;
  return Array.from({ length: size }, (_, index) => {
    const start = index * step;
    const end = Math.min(start + step, old);
    const first = Math.min(Math.floor(start), old - 1);
    const weights = [];
    for (let pixel = first; pixel < end - 1e-9; pixel++) {
      weights.push(Math.min(end, pixel + 1) - Math.max(start, pixel));
    }
    return [first, normalised(weights)];
  });
}

/** The same with a triangle filter around each new pixel's centre: bilinear, with averaging if it shrinks. */
function triangles(old, size) {
  const step = old / size;
  const reach = Math.max(step, 1);
  return Array.from({ length: size }, (_, index) => {
    const centre = (index + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - reach - 0.5));
    const last = Math.min(old - 1, Math.ceil(centre + reach - 0.5));
    const weights = [];
    for (let pixel = first; pixel <= last; pixel++) {
      weights.push(Math.max(0, 1 - Math.abs(pixel + 0.5 - centre) / reach));
    }
    return [first, normalised(weights)];
  });
}

function normalised(weights) {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** Resize an image of interleaved channels by weights for columns and rows; not rounded. */
function weighted({ data, width, height, channels }, columns, rows) {
  const across = new Float32Array(columns.length * height * channels);
  for (let y = 0, at = 0; y < height; y++) {
    for (const [first, weights] of columns) {
      const from = (y * width + first) * channels;
      for (let channel = 0; channel < channels; channel++, at++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * data[from + i * channels + channel];
        across[at] = sum;
      }
    }
  }
  const line = columns.length * channels;
  const down = new Float32Array(rows.length * line);
  rows.forEach(([first, weights], y) => {
    for (let i = 0; i < weights.length; i++) {
      const from = (first + i) * line;
      for (let x = 0; x < line; x++) down[y * line + x] += weights[i] * across[from + x];
    }
  });
  return { data: down, width: columns.length, height: rows.length, channels };
}

/** Resize by averaging over the area of each new pixel, as OpenCV's INTER_AREA does when it shrinks. */
export function byArea(image, width, height) {
  return weighted(image, coverage(image.width, width), coverage(image.height, height));
}

/** Half as wide and as high, blocks of four averaged and rounded half up, as OpenCV does it. */
export function halved({ data, width, height, channels }) {
  const half = { width: Math.floor(width / 2), height: Math.floor(height / 2), channels };
  const averages = new data.constructor(half.width * half.height * channels);
  const line = width * channels;
  for (let y = 0, at = 0; y < half.height; y++) {
    for (let x = 0; x < half.width; x++) {
      const from = 2 * (y * line + x * channels);
      for (let channel = from; channel < from + channels; channel++, at++) {
        const sum = data[channel] + data[channel + channels] + data[channel + line] + data[channel + line + channels];
        averages[at] = (sum + 2) >> 2;
      }
    }
  }
  return { data: averages, ...half };
}

/** Resize bilinearly with antialiasing, as `mien.resize` does. */
export function byTriangles(image, width, height) {
  if (image.width === width && image.height === height) return image;
  return weighted(image, triangles(image.width, width), triangles(image.height, height));
}

/** A copy as bytes 0..255, rounded half to even as numpy does. */
export function rounded(image) {
  return { ...image, data: Uint8ClampedArray.from(image.data) };
}

/** Luma (Rec. 601) of an RGBA image as bytes, in OpenCV's fixed-point arithmetic. */
export function luma({ data, width, height }) {
  const gray = new Uint8Array(width * height);
  for (let pixel = 0; pixel < gray.length; pixel++) {
    const [red, green, blue] = [data[4 * pixel], data[4 * pixel + 1], data[4 * pixel + 2]];
    gray[pixel] = (9798 * red + 19235 * green + 3735 * blue + 16384) >> 15;
  }
  return { data: gray, width, height, channels: 1 };
}

/** An image turned counterclockwise by a number of quarter turns. */
export function quarterTurned(image, quarters) {
  if (quarters === 0) return image;
  const { data, width, height, channels } = image;
  const turned = new data.constructor(data.length);
  for (let y = 0, at = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      const from = (x * width + width - 1 - y) * channels;
      for (let channel = 0; channel < channels; channel++, at++) turned[at] = data[from + channel];
    }
  }
  return quarterTurned({ data: turned, width: height, height: width, channels }, quarters - 1);
}

/** The part of an image from (left, top) to (right, bottom), exclusive. */
export function part({ data, width, channels }, left, top, right, bottom) {
  const line = (right - left) * channels;
  const piece = new data.constructor(line * (bottom - top));
  for (let y = top; y < bottom; y++) {
    const from = (y * width + left) * channels;
    piece.set(data.subarray(from, from + line), (y - top) * line);
  }
  return { data: piece, width: right - left, height: bottom - top, channels };
}

/** An image made square: its border pixels are repeated on both sides of the shorter axis. */
export function squared(image) {
  const { data, width, height, channels } = image;
  if (width === height) return image;
  const side = Math.max(width, height);
  const [left, top] = [width, height].map((length) => Math.floor((side - length) / 2));
  const square = new data.constructor(side * side * channels);
  for (let y = 0, at = 0; y < side; y++) {
    const row = clamp(y - top, height) * width;
    for (let x = 0; x < side; x++) {
      const from = (row + clamp(x - left, width)) * channels;
      for (let channel = 0; channel < channels; channel++, at++) square[at] = data[from + channel];
    }
  }
  return { data: square, width: side, height: side, channels };
}

/**
 * Affine warp, bilinear: pixel (x, y) of the result is the image at matrix @ (x, y, 1); its border pixels are repeated.
 *
 * Coordinates are rounded to 1/1024 and then to 1/32 of a pixel, as OpenCV's warpAffine does.
 */
export function warped(image, [[xx, xy, x0], [yx, yy, y0]], width, height) {
  const { data, channels } = image;
  const looked = new Float32Array(width * height * channels);
  const fixed = (value) => Math.round(value * 1024);
  for (let y = 0, at = 0; y < height; y++) {
    const [startX, startY] = [fixed(xy * y + x0) + 16, fixed(yy * y + y0) + 16];
    for (let x = 0; x < width; x++) {
      const [placeX, placeY] = [(startX + fixed(xx * x)) >> 5, (startY + fixed(yx * x)) >> 5];
      const [shareX, shareY] = [(placeX & 31) / 32, (placeY & 31) / 32];
      const [left, right] = [placeX >> 5, (placeX >> 5) + 1].map((column) => clamp(column, image.width));
      const [above, below] = [placeY >> 5, (placeY >> 5) + 1].map((row) => clamp(row, image.height) * image.width);
      for (let channel = 0; channel < channels; channel++, at++) {
        const pixel = (place) => data[place * channels + channel];
        const upper = pixel(above + left) * (1 - shareX) + pixel(above + right) * shareX;
        const lower = pixel(below + left) * (1 - shareX) + pixel(below + right) * shareX;
        looked[at] = upper * (1 - shareY) + lower * shareY;
      }
    }
  }
  return { data: looked, width, height, channels };
}

function clamp(index, count) {
  return Math.min(Math.max(index, 0), count - 1);
}
