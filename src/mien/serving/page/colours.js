// Eight colours that colour-blind people can tell apart (Okabe and Ito 2008), as in `mien.colours`.

const CYCLE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#808080"];

/** The colour of an expression by its place in the model's order. */
export function colourOf(place) {
  return CYCLE[place % CYCLE.length];
}

/** Black or white: what stands out from a colour. */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 ? "white" : "black";
}
