/* The two packages for browsers at the work of `peers.py`, in node on tfjs' wasm backend:

     NODE_PATH=ENVIRONMENT/node_modules node peers_node.cjs face-api|human FOLDER THREADS

   FOLDER holds pictures.bin (uint8 RGB, one picture after another) and pictures.json. Ready crops go to the
   expression network alone, prepared as the package prepares a face that it has cut out; photos go through
   the package's own finder, with its defaults. The last line is one JSON object. */
"use strict";

const fs = require("fs");
const path = require("path");

const [, , PEER, FOLDER, THREADS] = process.argv;
const MODULES = process.env.NODE_PATH;
const LOOK = JSON.parse(fs.readFileSync(path.join(FOLDER, "pictures.json"), "utf8"));
const NAMES = { fearful: "fear", disgusted: "disgust", surprised: "surprise" };
const read = (name) => require(path.join(MODULES, name, "package.json")).version;
const log = console.log;
console.log = console.info = () => {}; // the backend's own greetings

/* Models lie in the packages: what is fetched is read from there. */
globalThis.fetch = async (address) => {
  const content = fs.readFileSync(String(address).replace(/^file:\/\//, ""));
  const json = String(address).endsWith(".json");
  return new Response(content, { headers: { "content-type": json ? "application/json" : "application/octet-stream" } });
};

function* pictures(tf) {
  const file = fs.openSync(path.join(FOLDER, "pictures.bin"));
  for (const [height, width] of LOOK.sizes) {
    const bytes = Buffer.alloc(height * width * 3);
    fs.readSync(file, bytes, 0, bytes.length, null);
    const tensor = tf.tensor3d(new Int32Array(bytes), [height, width, 3], "int32");
    yield tensor;
    tensor.dispose();
  }
  fs.closeSync(file);
}

async function backend(tf, wasm) {
  wasm.setWasmPaths(path.join(MODULES, "@tensorflow/tfjs-backend-wasm/dist/"));
  wasm.setThreadsCount(Number(THREADS));
  await tf.setBackend("wasm");
  await tf.ready();
}

async function faceApi() {
  const api = require(path.join(MODULES, "@vladmandic/face-api/dist/face-api.node-wasm.js"));
  await backend(api.tf, require("@tensorflow/tfjs-backend-wasm"));
  const models = path.join(MODULES, "@vladmandic/face-api/model");
  const nets = [api.nets.faceExpressionNet, ...(LOOK.crops ? [] : [api.nets.ssdMobilenetv1, api.nets.faceLandmark68Net])];
  for (const net of nets) await net.loadFromDisk(models);
  const named = (said) => Object.fromEntries(Object.entries(said).map(([name, p]) => [NAMES[name] ?? name, p]));
  const crop = async (picture) => [{ box: [0, 0, 1, 1], said: named(await api.nets.faceExpressionNet.predictExpressions(picture)) }];
  const photo = async (picture) => {
    const found = await api.detectAllFaces(picture).withFaceLandmarks().withFaceExpressions();
    return found.map(({ detection: { box }, expressions }) => ({ box: [box.x, box.y, box.width, box.height], said: named(expressions) }));
  };
  return { tf: api.tf, version: read("@vladmandic/face-api"), look: LOOK.crops ? crop : photo };
}

async function human() {
  const { default: Human } = require(path.join(MODULES, "@vladmandic/human/dist/human.node-wasm.js"));
  const models = path.join(MODULES, "@vladmandic/human/models");
  const off = { enabled: false };
  const own = new Human({
    backend: "wasm", wasmPath: path.join(MODULES, "@tensorflow/tfjs-backend-wasm/dist/"), modelBasePath: `file://${models}/`,
    cacheSensitivity: 0, debug: false, // no answer of the picture before
    body: off, hand: off, object: off, gesture: off, segmentation: off,
    face: { enabled: true, iris: off, description: off, antispoof: off, liveness: off, emotion: { enabled: true, minConfidence: 0 } },
  });
  const { tf } = own;
  await backend(tf, require("@tensorflow/tfjs-backend-wasm"));
  const version = read("@vladmandic/human");
  if (!LOOK.crops) {
    await own.load();
    const photo = async (picture) => {
      const { face } = await own.detect(picture);
      return face.map(({ box, emotion }) => ({ box, said: Object.fromEntries((emotion ?? []).map(({ emotion: name, score }) => [name, score])) }));
    };
    return { tf, version, look: photo };
  }
  const network = await tf.loadGraphModel(`file://${models}/emotion.json`, { fetchFunc: fetch });
  const side = network.inputs[0].shape[2];
  const order = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
  const crop = async (picture) => {
    const answer = tf.tidy(() => {
      const resized = tf.image.resizeBilinear(tf.div(tf.expandDims(picture, 0), 255), [side, side]);
      const gray = tf.sum(tf.mul(resized, [0.2989, 0.587, 0.114]), 3, true);
      return network.execute(tf.mul(tf.sub(gray, 0.5), 2));
    });
    const said = await answer.data();
    answer.dispose();
    return [{ box: [0, 0, 1, 1], said: Object.fromEntries(order.map((name, k) => [name, said[k]])) }];
  };
  return { tf, version, look: crop };
}

async function main() {
  const { tf, version, look } = await (PEER === "human" ? human() : faceApi());
  const answers = [];
  let milliseconds = 0;
  for (const picture of pictures(tf)) {
    const started = performance.now();
    answers.push(await look(picture));
    if (answers.length > 1) milliseconds += performance.now() - started; // the first one compiles
  }
  const each = milliseconds / Math.max(1, answers.length - 1);
  log(JSON.stringify({ version: `${version}, tfjs ${tf.version_core ?? tf.version.tfjs ?? tf.version["tfjs-core"]}`, answers, milliseconds: each }));
}

main().catch((error) => { console.error(error); process.exit(1); });
