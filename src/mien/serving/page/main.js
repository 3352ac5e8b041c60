// The page's entry: tabs, and files that are dropped, pasted or chosen, which go to the tab of their type.

import { describe } from "./about.js";
import { openBackend } from "./backend.js";
import { Camera } from "./camera.js";
import { show } from "./elements.js";
import { FacesPanel } from "./faces-panel.js";
import { Photos } from "./photos.js";
import { Timeline } from "./timeline.js";
import { visible } from "./values.js";
import { Video } from "./video.js";

const byId = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];

/** Functions and objects that all tabs share. */
const desk = {
  problem(text) {
    byId("problem").textContent = visible(text ?? "");
    show(Boolean(text), byId("problem"));
  },
  /** Announce a text to screen readers. */
  tell(text) {
    byId("told").textContent = visible(text);
  },
};
let modes = {};
/** The current tab: at first the one that the address names (#camera, #video), else photos. */
let current = tabs.find(({ id }) => `#${id.slice(4)}` === location.hash)?.id.slice(4) ?? "photos";
/** Files that were given before the backend was ready. */
const early = [];
let loaded = null; // share of the models that is loaded, 0..1; null if unknown

function select(name, focus = false) {
  if (name !== current) modes[current]?.close();
  current = name;
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen && focus) tab.focus();
    show(chosen, byId(tab.getAttribute("aria-controls")));
  }
  show(false, byId("timeline"), byId("appearances"));
  modes[name]?.open();
}

function take(files) {
  if (files.length === 0) return;
  if (!modes.photos) {
    early.push(...files);
    drawLoading();
    return;
  }
  const film = files.find(({ type }) => type.startsWith("video/"));
  const photos = files.filter((file) => file !== film);
  if (film) {
    select("video");
    modes.video.take(film);
  } else {
    select("photos");
    modes.photos.add(photos);
  }
}

function listen() {
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab.id.slice(4)));
    tab.addEventListener("keydown", ({ key }) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[key];
      if (to !== undefined) select(tabs.at(to % tabs.length).id.slice(4), true);
    });
  }
  for (const input of document.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = "";
    });
  }
  byId("example").addEventListener("click", () => takeExample().catch((error) => desk.problem(error.message)));
  document.addEventListener("paste", ({ clipboardData }) => take([...clipboardData.files]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take([...event.dataTransfer.files]);
  });
}

/** Show in the drop zone the progress of loading and the number of waiting files. */
function drawLoading() {
  const line = byId("loading");
  const bar = line.querySelector("progress");
  if (loaded === null) bar.removeAttribute("value");
  else bar.value = loaded;
  const files = early.length === 1 ? "1 file waits" : `${early.length} files wait`;
  line.querySelector("span").textContent = early.length > 0 ? `Getting ready; ${files} …` : "Getting ready …";
  show(!modes.photos && (loaded !== null || early.length > 0), line);
}

async function takeExample() {
  const answer = await fetch("example.jpg");
  take([new File([await answer.blob()], "grace-hopper.jpg", { type: "image/jpeg" })]);
}

/** Ask the person for the service's API key; rejects if none is given. */
function askForKey() {
  const dialog = byId("key");
  const input = dialog.querySelector("input");
  input.value = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener(
      "close",
      () => {
        if (dialog.returnValue === "ok" && input.value) resolve(input.value);
        else reject(new Error("This service needs a key; load the page again to give one."));
      },
      { once: true },
    );
  });
}

async function start() {
  listen();
  try {
    const backend = await openBackend({
      askForKey,
      onLoad: (share) => {
        loaded = share;
        drawLoading();
      },
    });
    const { card } = backend;
    Object.assign(desk, {
      backend,
      card,
      panel: new FacesPanel(document.querySelector(".faces"), card),
      timeline: new Timeline(byId("timeline"), card.expressions),
    });
    modes = {
      photos: new Photos(byId("photos"), desk),
      camera: new Camera(byId("camera"), desk, (photo) => take([photo])),
      video: new Video(byId("video"), desk, byId("appearances")),
    };
    describe(document, backend);
    drawLoading();
    select(current);
    take(early.splice(0));
    document.body.dataset.ready = "";
  } catch (error) {
    console.error(error);
    byId("place").textContent = "";
    show(false, byId("loading"));
    desk.problem(error.message);
  }
}

start();
