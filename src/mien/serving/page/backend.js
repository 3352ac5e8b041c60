// The two backends, chosen by config.json: `server` or `browser`. Both give the page an object with this interface:
//
//   card, version, place ("server" or "browser"), cardPage (the address of its card for people, or null)
//   recognise(file, {detector})          resolves with {width, height, faces}; faces as mien's Face.to_dict
//   explain?(file, {detector})           the same, faces with `explanation.image`; only where it can
//   live(onAnswer)                       {send(canvas), close()}: send resolves when this frame was answered;
//                                        answers are {width, height, faces}, faces followed and smoothed
//   video(file, {onProgress, signal})    resolves with {rows, duration}: see rows.js
//
// On failure all of them reject with a Problem, whose message is a sentence for people.

import { Problem } from "./problem.js";

/**
 * Open the backend that config.json names. `askForKey` resolves with an API key, called if the service needs one;
 * `onLoad` is called with the share of the models that is loaded (0..1), by the browser's backend only.
 */
export async function openBackend({ askForKey, onLoad }) {
  const config = await loadConfig();
  if (config.backend === "browser") return (await import("./browser.js")).openBrowser(config, onLoad);
  return (await import("./server.js")).openServer({ askForKey });
}

async function loadConfig() {
  try {
    const answer = await fetch("config.json", { cache: "no-cache" });
    if (answer.ok) return await answer.json();
  } catch {
    // The Problem below reports it.
  }
  throw new Problem("This page is not whole: config.json is missing. Load it again, or export it again.");
}
