// The camera tab: tracks faces, updates their bars and draws the last minute as a timeline.

import { element, show, within } from "./elements.js";
import { cover, fit } from "./marks.js";
import { Problem } from "./problem.js";
import { asRow, save, toCsv } from "./rows.js";
import { History } from "./timeline.js";

const WINDOW_S = 60;
const MOST_ROWS = 200_000;
const TELL_MS = 3000;
const MOST_PER_S = 25;
const LONGEST_FRAME = 960; // pixels
const LATE_MS = 150;
const REFUSED = {
  NotAllowedError: "The camera was not allowed; allow it in the browser's address bar and start again.",
  NotFoundError: "No camera was found; plug one in and start again.",
  NotReadableError: "The camera is used by another program; close that and start again.",
};

export class Camera {
  #desk;
  #root;
  #parts;
  #stream = null;
  #live = null;
  #rows = [];
  #history = new History(WINDOW_S);
  #frames = 0;
  #began = 0;
  #told = { text: "", at: -Infinity };
  #onPhoto;

  constructor(root, desk, onPhoto) {
    this.#desk = desk;
    this.#root = root;
    this.#onPhoto = onPhoto;
    this.#parts = {
      welcome: within(root, ".welcome"), frame: within(root, ".frame"), video: within(root, "video"),
      canvas: within(root, "canvas"), choice: within(root, ".choice"), select: within(root, "select"),
      actions: within(root, ".actions"), speed: within(root, "[data-speed]"),
    };
    within(root, "[data-start]").addEventListener("click", () => this.#start());
    within(root, "[data-stop]").addEventListener("click", () => this.#stop());
    within(root, "[data-keep]").addEventListener("click", () => this.#keep());
    within(root, "[data-save=csv]").addEventListener("click", () =>
      save("camera.csv", toCsv(this.#rows, desk.card.expressions), "text/csv"),
    );
    this.#parts.select.addEventListener("change", () => this.#start(this.#parts.select.value));
  }

  open() {
    this.#desk.problem(null);
    this.#desk.panel.show([], { none: "They appear here when the camera runs." });
    if (this.#rows.length > 0) this.#drawTimeline();
  }

  close() {
    this.#stop();
  }

  async #start(device = undefined) {
    this.#stop();
    this.#desk.problem(null);
    const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, ...(device ? { deviceId: { exact: device } } : { facingMode: "user" }) };
    try {
      if (!navigator.mediaDevices) throw new Problem("Browsers give the camera to pages from https or from this computer only.");
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    } catch (error) {
      this.#desk.problem(REFUSED[error.name] ?? error.message);
      return;
    }
    const { video, welcome, frame, actions } = this.#parts;
    const [track] = this.#stream.getVideoTracks();
    track.addEventListener("ended", () => this.#stop());
    frame.classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
    video.srcObject = this.#stream;
    await video.play();
    fit(frame, video);
    show(false, welcome);
    show(true, frame, actions, ...this.#running);
    within(this.#root, "[data-stop]").focus();
    await this.#listCameras(track.getSettings().deviceId);
    this.#rows = [];
    this.#history = new History(WINDOW_S);
    [this.#frames, this.#began] = [0, performance.now()];
    this.#run(this.#stream);
  }

  /** The buttons to show only while the camera runs. */
  get #running() {
    return [within(this.#root, "[data-stop]"), within(this.#root, "[data-keep]")];
  }

  async #listCameras(current) {
    const { choice, select } = this.#parts;
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    show(cameras.length > 1, choice);
    select.replaceChildren(
      ...cameras.map(({ deviceId, label: name }, index) => element("option", { value: deviceId }, name || `Camera ${index + 1}`)),
    );
    select.value = current;
  }

  /** Send the newest frame, wait for its answer, and repeat: a slow backend skips frames. */
  async #run(stream) {
    const { video } = this.#parts;
    const seen = document.createElement("canvas");
    let looked = 0;
    const live = (this.#live = this.#desk.backend.live((answer) => {
      if (this.#stream === stream) this.#answer(answer, seen, performance.now() - looked > LATE_MS);
    }));
    while (this.#stream === stream) {
      const soonest = pause(1000 / MOST_PER_S);
      try {
        look(video, seen);
        looked = performance.now();
        await live.send(seen);
      } catch (error) {
        if (this.#stream !== stream) break;
        if (!(error instanceof Problem)) console.error(error);
        this.#stop();
        this.#desk.problem(error.message);
      }
      await soonest;
    }
    live.close();
  }

  /** Show the answer for a frame. If it is late, faces have moved since, so the frame itself is drawn under the boxes. */
  #answer(answer, seen, late) {
    const { video, canvas, frame, speed } = this.#parts;
    const time = (performance.now() - this.#began) / 1000;
    this.#history.add(time, answer.faces);
    if (this.#rows.length < MOST_ROWS) this.#rows.push(...answer.faces.map((face) => asRow("camera", this.#frames, time, face)));
    this.#frames++;
    const { card, panel } = this.#desk;
    cover(canvas, video, answer.faces, answer, { ...card, mirrored: frame.classList.contains("mirrored"), under: late ? seen : null });
    panel.show(answer.faces, { picture: seen, size: answer, none: "No face in sight." });
    this.#drawTimeline(time);
    const rate = this.#frames / Math.max(time, 0.5);
    speed.textContent = `${rate.toFixed(rate < 2 ? 1 : 0)} frames/s`;
    this.#tell(answer.faces);
  }

  #drawTimeline(time = (performance.now() - this.#began) / 1000) {
    // On the axis, now is 0 and the past is negative.
    const shifted = new History();
    for (const [number, samples] of this.#history.tracks) {
      shifted.tracks.set(number, samples.map((sample) => ({ ...sample, time: sample.time - time })));
    }
    this.#desk.timeline.draw(shifted, { from: -WINDOW_S, to: 0, note: "the last minute" });
  }

  /** Tell screen readers the faces in words, if they changed, and not too often. */
  #tell(faces) {
    const text = faces.map((face) => `face ${face.track_id}: ${face.uncertain ? "unsure" : face.expression}`).join(", ") || "no face in sight";
    if (text === this.#told.text || performance.now() - this.#told.at < TELL_MS) return;
    this.#told = { text, at: performance.now() };
    this.#desk.tell(text);
  }

  #keep() {
    const { video } = this.#parts;
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const name = `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.png`;
    canvas.toBlob((blob) => this.#onPhoto(new File([blob], name, { type: "image/png" })));
  }

  #stop() {
    const { video, welcome, frame, actions, choice, speed } = this.#parts;
    this.#live?.close();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = this.#live = video.srcObject = null;
    show(true, welcome);
    show(false, frame, choice);
    show(this.#rows.length > 0, actions);
    show(false, ...this.#running);
    speed.textContent = "";
  }
}

/** Draw a video's current frame onto a canvas. */
function look(video, canvas) {
  const scale = Math.min(1, LONGEST_FRAME / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
