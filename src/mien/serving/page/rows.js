// Tables with a row for each face of each frame, in the columns of `mien predict --csv`; and saving files to disk.

import { mapped } from "./values.js";

const BEFORE = [
  "source", "frame", "time_s", "track_id", "x", "y", "width", "height", "detection_score", "expression",
  "probability", "uncertain", "why_uncertain",
];

/** A file's name for a CSV: `./` is put before names that a spreadsheet would compute as a formula. */
export function spreadsheetName(name) {
  return /^[=+\-@\t\r\n]/.test(name) ? `./${name}` : name;
}

/** A face as a row; `time` in seconds, null for a photo. */
export function asRow(name, frame, time, face) {
  const source = spreadsheetName(name);
  const { x, y, width, height } = mapped(face.box, (side) => round(side, 2));
  const row = {
    source, frame, time_s: round(time), track_id: face.track_id ?? null, x, y, width, height,
    detection_score: round(face.detection_score), expression: face.expression,
    probability: round(face.probability), uncertain: face.uncertain, why_uncertain: face.why_uncertain,
    ...mapped(face.raw ?? face.probabilities, (value) => round(value)),
  };
  if (face.track_id !== undefined) {
    for (const [name, value] of Object.entries(face.probabilities)) row[`${name}_smoothed`] = round(value);
  }
  return row;
}

/** The inverse of `asRow`, for a row of a video. */
export function asFace(row, expressions) {
  return {
    box: { x: row.x, y: row.y, width: row.width, height: row.height },
    track_id: row.track_id,
    expression: row.expression,
    probability: row.probability,
    uncertain: row.uncertain,
    why_uncertain: row.why_uncertain,
    probabilities: Object.fromEntries(expressions.map((name) => [name, row[`${name}_smoothed`]])),
  };
}

/** Rows as CSV (RFC 4180, but lines end as mien's do). */
export function toCsv(rows, expressions) {
  const columns = [...BEFORE, ...expressions, ...expressions.map((name) => `${name}_smoothed`)];
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name] ?? ""))];
  return lines.map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
}

/** Parse a CSV that mien wrote. */
export function fromCsv(text) {
  const [columns, ...lines] = cellsOf(text);
  return lines.map((cells) => Object.fromEntries(columns.map((name, place) => [name, value(name, cells[place])])));
}

function value(name, cell) {
  if (cell === "") return null;
  if (["source", "expression", "why_uncertain"].includes(name)) return cell;
  return name === "uncertain" ? cell === "true" : Number(cell);
}

function cellsOf(text) {
  const lines = [];
  let cells = [];
  for (const [, quotedCell, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\r?\n|$)/g)) {
    if (end === "" && cells.length === 0 && !quotedCell && !plain) break;
    cells.push(quotedCell === undefined ? plain : quotedCell.replaceAll('""', '"'));
    if (end === ",") continue;
    lines.push(cells);
    cells = [];
  }
  return lines;
}

function quoted(cell) {
  const text = String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function round(number, digits = 6) {
  return number === null || number === undefined ? null : Number(number.toFixed(digits));
}

/** Download content as a file. */
export function save(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A file's name without folder and last suffix. */
export function stem(name) {
  return name.replace(/^.*[\\/]/, "").replace(/\.[^.]+$/, "") || "mien";
}
