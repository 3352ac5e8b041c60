// Colours of expressions that colour-blind people can tell apart. The same as in `mien.colours`: tests/test_colours.py
// compares them.

const EXPRESSION_COLOURS = {
  sad: "#5f86ea",
  happy: "#e4c11c",
  disgust: "#2b7d10",
  fear: "#8d3aae",
  surprise: "#79cfe6",
  angry: "#e5484d",
  contempt: "#aa2266",
  neutral: "#949291",
};

/** A Map from each name of a label set to its colour: usual expressions have their own, other names share the rest. */
export function coloursOf(expressions) {
  const known = new Map(Object.entries(EXPRESSION_COLOURS));
  const free = [...known].filter(([name]) => !expressions.includes(name)).map(([, colour]) => colour);
  const spare = free.length > 0 ? free : [...known.values()];
  const rest = expressions.filter((name) => !known.has(name));
  return new Map(expressions.map((name) => [name, known.get(name) ?? spare[rest.indexOf(name) % spare.length]]));
}

/** The text colour, black or white, with the better contrast to a background colour. */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 ? "white" : "black";
}
