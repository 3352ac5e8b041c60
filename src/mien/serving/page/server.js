// The backend that sends pictures to the service `mien serve`. Its interface: see backend.js.

import { NO_PICTURE, Problem } from "./problem.js";
import { fromCsv, spreadsheetName } from "./rows.js";

const TRIES = 4;
const POLL_MS = 400;
const LIVE_ENDED = { 1006: "The service does not answer any more; is it still running?", 1012: "The service stops." };

/** Connect to the service and read its model's card; resolves with the backend. */
export async function openServer({ askForKey }) {
  let key = "";

  /** Send a request, again while the service is busy; asks for a key if needed. Rejects with a Problem if it fails. */
  async function request(path, { tries = TRIES, ...options } = {}) {
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    let answer;
    try {
      answer = await fetch(new URL(path, document.baseURI), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The service does not answer; is it still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      key = await askForKey();
      return request(path, { tries, ...options });
    }
    const wait = Number(answer.headers.get("Retry-After"));
    if ([429, 503].includes(answer.status) && tries > 1 && wait > 0 && wait <= 30) {
      await pause(1000 * wait);
      return request(path, { tries: tries - 1, ...options });
    }
    throw new Problem(answer.status === 415 && path.startsWith("v1/recognise") ? NO_PICTURE : await sentence(answer));
  }

  async function recognise(file, { detector, explain = false }) {
    const path = `v1/recognise?detector=${detector}${explain ? "&explain=true" : ""}`;
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const { images } = await (await request(path, { method: "POST", headers, body: file })).json();
    if (images[0].problem) throw new Problem(images[0].problem.detail);
    return images[0];
  }

  const { version, card_page: cardPage, ...card } = await (await request("v1/model")).json();
  return {
    card,
    version,
    cardPage,
    place: "server",
    recognise,
    async explain(file, { detector }) {
      const { faces } = await recognise(file, { detector, explain: true });
      return faces.map(({ explanation }) => explanation);
    },
    live: (onAnswer) => openLive(key, onAnswer),
    video: (file, options) => recogniseVideo(request, file, options),
  };
}

function openLive(key, onAnswer) {
  const address = new URL("v1/live", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, key ? ["mien", `bearer.${base64url(key)}`] : ["mien"]);
  let waiting = null;
  const opened = new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = ({ code, reason }) => {
      const problem = new Problem(reason || LIVE_ENDED[code] || "The service ended the connection.");
      reject(problem);
      waiting?.reject(problem);
    };
  });
  opened.catch(() => {}); // `send` reports it; without this line the browser logs an unhandled rejection
  socket.onmessage = ({ data }) => {
    const answer = JSON.parse(data);
    if (!answer.problem) onAnswer(answer);
    waiting?.resolve();
  };
  return {
    async send(canvas) {
      await opened;
      const content = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
      await new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        if (socket.readyState === WebSocket.OPEN) socket.send(content);
        else reject(new Problem(LIVE_ENDED[1006]));
      });
    },
    close: () => socket.close(),
  };
}

async function recogniseVideo(request, file, { onProgress, signal }) {
  const headers = { "Content-Type": file.type || "video/mp4" };
  const begun = await request("v1/video", { method: "POST", headers, body: file, signal });
  const address = new URL(begun.headers.get("Location") ?? `v1/jobs/${(await begun.json()).id}`, document.baseURI);
  const remove = () => request(address, { method: "DELETE" }).catch(() => {});
  let job;
  do {
    if (signal.aborted) {
      remove();
      signal.throwIfAborted();
    }
    await pause(POLL_MS);
    job = await (await request(address)).json();
    onProgress(job.progress);
  } while (job.status === "queued" || job.status === "running");
  if (job.status !== "done") throw new Problem(job.detail ?? "The service could not read the video.");
  const rows = fromCsv(await (await request(job.results.csv)).text());
  remove();
  for (const row of rows) row.source = spreadsheetName(file.name); // the name was not sent to the service
  return { rows, duration: job.summary?.duration_s ?? 0 };
}

async function sentence(answer) {
  try {
    const { detail, title } = await answer.json();
    return detail ?? title;
  } catch {
    return `The service answers with an error (${answer.status}).`;
  }
}

function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
