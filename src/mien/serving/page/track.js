// Tracking faces from frame to frame and smoothing their probabilities: `mien.recognise.track` in JavaScript.

import { improbable } from "./doubt.js";
import { overlap } from "./finder.js";
import { mapped, mostProbable } from "./values.js";

const SMOOTH_S = 0.5;
const REACH = 0.5;
const REACH_PER_S = 2;
const REACH_GROWS_S = 3;
const GROWTH = 2;
const INERTIA_S = 0.3;

/** Assigns each face of a video to a track, and smooths the probabilities along it. */
export class Tracker {
  #tracks = [];
  #begun = 0;
  #uncertainBelow;
  #gap;

  /** `gap`: seconds from the first update without a face to the latest one that end its track. */
  constructor(uncertainBelow, gap = 0.5) {
    this.#uncertainBelow = uncertainBelow;
    this.#gap = gap;
  }

  /** Take the faces of the next frame; returns them in the same order with `track_id`, smoothed and `raw` probabilities. */
  update(time, faces) {
    const following = this.#matched(time, faces.map(({ box }) => [box.x, box.y, box.width, box.height]));
    const seen = new Set(following.values());
    this.#tracks = this.#tracks.filter((track) => seen.has(track) || missing(track, time) < this.#gap);
    return faces.map((face, place) => this.#answer(following.get(place), time, face));
  }

  #matched(time, boxes) {
    const pairs = this.#tracks.flatMap((track) => {
      const expected = expectedBox(track, time);
      const reach = REACH + REACH_PER_S * Math.min(time - track.time, REACH_GROWS_S);
      return boxes
        .map((box, place) => ({ likeness: diou(expected, box), place, track, near: isNear(expected, box, reach) }))
        .filter(({ near }) => near);
    });
    const following = new Map();
    const taken = new Set();
    for (const { place, track } of pairs.sort((one, other) => other.likeness - one.likeness)) {
      if (following.has(place) || taken.has(track)) continue;
      following.set(place, track);
      taken.add(track);
    }
    return following;
  }

  #answer(track, time, face) {
    const box = [face.box.x, face.box.y, face.box.width, face.box.height];
    if (track === undefined) {
      track = { number: ++this.#begun, time, box, smoothed: face.probabilities, velocity: null, missingSince: null };
      this.#tracks.push(track);
    } else {
      const share = 1 - Math.exp((track.time - time) / SMOOTH_S);
      track.smoothed = mapped(track.smoothed, (before, name) => before + share * (face.probabilities[name] - before));
      move(track, time, box);
    }
    const [expression, probability] = mostProbable(track.smoothed);
    const picture = face.why_uncertain === "probability" ? null : face.why_uncertain;
    const why = picture ?? improbable(probability, this.#uncertainBelow);
    return {
      ...face,
      track_id: track.number,
      expression,
      probability,
      uncertain: why !== null,
      why_uncertain: why,
      probabilities: track.smoothed,
      raw: face.probabilities,
    };
  }
}

function expectedBox({ time: before, box, velocity }, time) {
  if (velocity === null) return box;
  const share = INERTIA_S * (1 - Math.exp((before - time) / INERTIA_S));
  return [box[0] + velocity[0] * share, box[1] + velocity[1] * share, box[2], box[3]];
}

function move(track, time, box) {
  const elapsed = Math.max(time - track.time, 1e-6);
  const [before, now] = [centre(track.box), centre(box)];
  const newest = [(now[0] - before[0]) / elapsed, (now[1] - before[1]) / elapsed];
  const share = 1 - Math.exp(-elapsed / INERTIA_S);
  track.velocity = (track.velocity ?? newest).map((old, axis) => old + share * (newest[axis] - old));
  [track.time, track.box, track.missingSince] = [time, box, null];
}

/** Note an update without a track's face; returns the seconds since the first one. */
function missing(track, time) {
  track.missingSince ??= time;
  return time - track.missingSince;
}

/** Distance-IoU (Zheng et al. 2020): IoU minus the normalised squared distance of the centres. */
function diou(one, other) {
  const widest = [0, 1]
    .map((axis) => Math.max(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - Math.min(one[axis], other[axis]))
    .reduce((sum, side) => sum + side ** 2, 0);
  return overlap(one, other) - distance(one, other) ** 2 / Math.max(widest, 1e-9);
}

function isNear(expected, box, reach) {
  const sizes = [expected, box].map(([, , width, height]) => Math.sqrt(Math.max(width * height, 1e-9)));
  const largest = Math.max(...sizes);
  return largest <= GROWTH * Math.min(...sizes) && distance(expected, box) <= reach * largest;
}

function distance(one, other) {
  return Math.hypot(centre(one)[0] - centre(other)[0], centre(one)[1] - centre(other)[1]);
}

function centre([x, y, width, height]) {
  return [x + width / 2, y + height / 2];
}
