// Why an answer is uncertain: `mien.recognise.doubt` once more.

/** The reasons in words, for people. */
export const IN_WORDS = {
  size: "too small",
  spread: "too dark or flat",
  turn: "turned too far",
  detection_score: "hardly like a face",
  probability: "no expression is probable enough",
};

/** The first of a card's limits that a face lies beyond; null where it lies within all. `ready`: nobody looked for it. */
export function badPicture(limits, { landmarks, score }, crop, channels, side, ready) {
  const beyond = (name, is) => limits?.[name] != null && is(limits[name]);
  if (beyond("size", (least) => side < least)) return "size";
  if (beyond("spread", (least) => spread(crop, channels) < least)) return "spread";
  if (landmarks && beyond("turn", (most) => turn(landmarks) > most)) return "turn";
  if (!ready && beyond("detection_score", (least) => Math.min(1, score) < least)) return "detection_score";
  return null;
}

export function improbable(probability, uncertainBelow) {
  return probability < uncertainBelow ? "probability" : null;
}

/** The standard deviation of a planar crop's gray levels, the mean of its channels. */
function spread(crop, channels) {
  const count = crop.length / channels;
  let [sum, squares] = [0, 0];
  for (let pixel = 0; pixel < count; pixel++) {
    let level = 0;
    for (let channel = 0; channel < channels; channel++) level += crop[channel * count + pixel];
    level /= channels;
    sum += level;
    squares += level * level;
  }
  return Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
}

function turn([[rightX, rightY], [leftX, leftY]]) {
  return Math.abs((Math.atan2(leftY - rightY, leftX - rightX) * 180) / Math.PI);
}
