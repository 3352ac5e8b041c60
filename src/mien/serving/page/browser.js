// The backend that computes in this browser, which pictures never leave. Its interface: see backend.js.

import { Problem } from "./problem.js";
import { Tracker } from "./track.js";
import { recogniseVideo } from "./video-frames.js";

/** The tracker's gap in seconds; generous: of a slow device's few frames, a face may be missing in two or three. */
const LIVE_GAP_S = 3;

/** Load runtime and models; resolves with the backend once it is ready. */
export async function openBrowser(config, onLoad) {
  if (!("OffscreenCanvas" in globalThis && "WebAssembly" in globalThis)) {
    throw new Problem("This browser is too old to recognise by itself; use a current Chrome, Edge, Firefox or Safari.");
  }
  const ask = taskForce(new Worker(new URL("worker.js", import.meta.url), { type: "module" }), onLoad);
  const here = (name) => new URL(name, document.baseURI).href;
  await ask({
    task: "open",
    runtime: here(config.runtime),
    detectorFile: here(config.detector),
    modelFile: here(config.model),
    cardContent: config.card,
    bytes: config.bytes,
  });
  const { card } = config;
  const look = (picture, detector, film = false) => {
    const moved = picture instanceof ImageBitmap ? [picture] : [];
    return ask({ task: "recognise", picture, detector, film }, moved);
  };
  return {
    card,
    version: config.version,
    cardPage: config.card_page,
    place: "browser",
    recognise: (file, { detector }) => look(file, detector),
    explain: async (file, { detector, place }) => ({
      [place]: await ask({ task: "explain", picture: file, detector, place }),
    }),
    live(onAnswer) {
      const tracker = new Tracker(card.uncertain_below, LIVE_GAP_S);
      return {
        async send(canvas) {
          const time = performance.now() / 1000;
          const answer = await look(await createImageBitmap(canvas), "yunet", true);
          onAnswer({ ...answer, faces: tracker.update(time, answer.faces) });
        },
        close() {},
      };
    },
    video: (file, { onProgress, signal }) =>
      recogniseVideo(file, (frame) => look(frame, "yunet", true), card, { onProgress, signal }),
  };
}

/** A function that sends a worker a message and resolves with its answer. */
function taskForce(worker, onLoad) {
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, answer, problem, share } }) => {
    if (share !== undefined) {
      onLoad(share);
      return;
    }
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (problem === undefined) resolve(answer);
    else reject(new Problem(problem));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    for (const { reject } of waiting.values()) {
      reject(new Problem("The part that recognises could not be loaded; look at the connection and load the page again."));
    }
    waiting.clear();
  };
  return (message, moved = []) =>
    new Promise((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, ...message }, moved);
    });
}
