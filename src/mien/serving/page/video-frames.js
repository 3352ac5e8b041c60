// Analyses a video file in this browser, ten frames a second, as `mien predict film.mp4` does.

import { Problem } from "./problem.js";
import { asRow } from "./rows.js";
import { Tracker } from "./track.js";

const LOOKS_PER_S = 10;
const PATIENCE_MS = 15_000;

/** Compute the rows of a video (see rows.js), with a function that recognises an ImageBitmap. */
export async function recogniseVideo(file, look, card, { onProgress, signal }) {
  const video = document.createElement("video");
  video.muted = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(file);
  try {
    await happened(video, "loadeddata", () => video.load());
    const duration = await durationOf(video);
    const tracker = new Tracker(card.uncertain_below);
    const rows = [];
    for (let frame = 0; frame === 0 || frame / LOOKS_PER_S < duration; frame++) {
      signal.throwIfAborted();
      const time = frame / LOOKS_PER_S;
      // 1 ms later: seeking to the exact start of a frame may show the frame before it.
      await happened(video, "seeked", () => (video.currentTime = Math.min(time + 0.001, duration)));
      const { faces } = await look(await createImageBitmap(video));
      rows.push(...tracker.update(time, faces).map((face) => asRow(file.name, frame, time, face)));
      onProgress(Math.min(1, (time + 1 / LOOKS_PER_S) / duration));
    }
    return { rows, duration };
  } finally {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
}

/** A video's duration in seconds. Browser recordings lack it in their header: it is known after a seek to the end. */
async function durationOf(video) {
  if (!Number.isFinite(video.duration)) await happened(video, "seeked", () => (video.currentTime = 1e9));
  return Number.isFinite(video.duration) ? video.duration : video.currentTime;
}

function happened(video, event, cause) {
  return new Promise((resolve, reject) => {
    const fail = () =>
      settle(reject, new Problem("This browser cannot play the video; convert it to MP4 (H.264) or WebM."));
    const done = () => settle(resolve);
    const timer = setTimeout(fail, PATIENCE_MS);
    const settle = (end, value) => {
      clearTimeout(timer);
      video.removeEventListener(event, done);
      video.removeEventListener("error", fail);
      end(value);
    };
    video.addEventListener(event, done);
    video.addEventListener("error", fail);
    cause();
  });
}
