// Elements of the page, made from plain text: nothing from the data is ever parsed as HTML.

/** Make an element with attributes (functions become listeners) and children (strings become text). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A number as readable text: about four digits, and a true minus sign. */
export function formatted(value, digits = null) {
  if (Number.isNaN(value)) return "missing";
  const places = digits ?? (value === Math.round(value) ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value) + 1e-9))));
  return value.toFixed(Math.min(places, 4)).replace("-", "\u2212");
}

/** A color of the page's style, which differs between light and dark mode. */
export const colorOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Red, green and blue channels of a color such as #3f90da. */
export const channels = (color) => [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));

/** A bar that fills a share of its track. */
export function bar(share) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * Math.min(Math.max(share || 0, 0), 1)}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, fill);
}

/** Arrow keys move a slider by a fiftieth of its range, or its step if that is larger: browsers differ for step="any". */
export function moveByArrows(slider) {
  slider.addEventListener("keydown", (event) => {
    const sign = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!sign || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const step = Math.max(Number(slider.step) || 0, (slider.max - slider.min) / 50);
    slider.value = Number(slider.value) + sign * step;
    slider.dispatchEvent(new Event("input"));
    slider.dispatchEvent(new Event("change"));
  });
}

/** Replace the items of a list of buttons; the focus stays at its place in the list. */
export function refill(list, items) {
  const focused = Array.from(list.children).findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...items);
  if (focused >= 0) list.children[Math.min(focused, items.length - 1)]?.firstChild.focus();
}
