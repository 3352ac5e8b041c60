/** A new element with attributes (an empty string for one without value) and children, text or elements. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The first descendant of an element that matches a selector. */
export function within(parent, selector) {
  return parent.querySelector(selector);
}

export function show(shown, ...elements) {
  for (const one of elements) one.hidden = !shown;
}
