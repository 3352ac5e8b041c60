// The reasons that make an answer uncertain: `mien.recognise.doubt` in JavaScript.

/** The reasons in words, for people. */
export const IN_WORDS = {
  size: "too small",
  spread: "too dark or flat",
  detail: "too blurred",
  noise: "too noisy",
  turn: "turned too far",
  detection_score: "hardly like a face",
  probability: "no expression is probable enough",
};

/**
 * The first of a card's limits that a face exceeds; null if it exceeds none. `crop`: planar, of `shape`
 * {channels, height, width}. `ready`: the picture is a face crop, so it has no detection score.
 */
export function badPicture(limits, { landmarks, score }, crop, shape, side, ready) {
  const beyond = (name, is) => limits?.[name] != null && is(limits[name]);
  if (beyond("size", (least) => side < least)) return "size";
  const gray = grayOf(crop, shape.channels);
  const variance = varianceOf(gray);
  if (beyond("spread", (least) => Math.sqrt(variance) < least)) return "spread";
  const shown = limits?.detail == null && limits?.noise == null ? 0 : detail(gray, variance, shape);
  if (beyond("detail", (least) => shown < least)) return "detail";
  if (beyond("noise", (most) => shown > most)) return "noise";
  if (landmarks && beyond("turn", (most) => turn(landmarks) > most)) return "turn";
  if (!ready && beyond("detection_score", (least) => Math.min(1, score) < least)) return "detection_score";
  return null;
}

export function improbable(probability, uncertainBelow) {
  return probability < uncertainBelow ? "probability" : null;
}

/** A planar crop's gray levels, the mean of its channels. */
function grayOf(crop, channels) {
  const gray = new Float64Array(crop.length / channels);
  crop.forEach((level, place) => (gray[place % gray.length] += level / channels));
  return gray;
}

function varianceOf(gray) {
  const mean = gray.reduce((sum, level) => sum + level, 0) / gray.length;
  return gray.reduce((sum, level) => sum + (level - mean) ** 2, 0) / gray.length;
}

/**
 * Mean squared second difference of gray levels at steps of two pixels, as a share of their variance; of four directions
 * the one with the smallest.
 */
function detail(gray, variance, { height, width }) {
  if (variance < 1e-6 || Math.min(height, width) < 5) return 0;
  const changes = [2, 2 * width, 2 * width + 2, 2 * width - 2].map((step) => {
    let sum = 0;
    for (let y = 2; y < height - 2; y++)
      for (let x = 2, place = y * width + 2; x < width - 2; x++, place++)
        sum += (2 * gray[place] - gray[place - step] - gray[place + step]) ** 2;
    return sum / ((height - 4) * (width - 4));
  });
  return Math.min(...changes) / variance;
}

function turn([[rightX, rightY], [leftX, leftY]]) {
  return Math.abs((Math.atan2(leftY - rightY, leftX - rightX) * 180) / Math.PI);
}
