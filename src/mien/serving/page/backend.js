// Where recognition happens: config.json says `server` or `browser`. Either gives the page the same object:
//
//   card, version, place ("server" or "browser"), cardPage (the address of its card for people, or null)
//   recognise(file, {detector})          resolves with {width, height, faces}; faces as mien's Face.to_dict
//   explain(file, {detector, place})     resolves with explanations ({image, map, width, height}) by the place of their
//                                        faces; that of `place` at least, where there can be one
//   live(onAnswer)                       {send(canvas), close()}: send resolves when this frame was answered;
//                                        answers are {width, height, faces}, faces followed and smoothed
//   video(file, {onProgress, signal})    resolves with {rows, duration}: see rows.js
//
// All of them reject with a Problem, whose message is a sentence for people.

import { Problem } from "./problem.js";

/**
 * The backend that config.json names; `askForKey` resolves with a key for a service that wants one, `onLoad` is told
 * what share of the models is here (0..1), where they have to come.
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
    // Told below.
  }
  throw new Problem("This page is not whole: config.json is missing. Load it again, or export it again.");
}
