// Builds and updates elements. Text is only ever set as text: no label, reason or name can become markup.

export const $ = (id) => document.getElementById(id);

// An element with attributes and children; children are elements or text, and null is none.
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, '');
    else if (value != null && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const NS = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Changes text only where it differs, so that screen readers and selections are left alone.
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

const drawn = new WeakMap();

// Draws the children anew if what they show has changed.
export function draw(element, shows, children) {
  const key = JSON.stringify(shows);
  if (drawn.get(element) === key) return;
  drawn.set(element, key);
  element.replaceChildren(...children().flat().filter((child) => child != null && child !== false));
}

// A command line that can be copied.
export function command(line) {
  const button = h('button.copy', { type: 'button', title: 'Copy this command' }, 'Copy');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(line);
      text(button, 'Copied');
    } catch {
      text(button, 'Select it');
    }
    setTimeout(() => text(button, 'Copy'), 1500);
  });
  return h('span.command', {}, h('code', {}, line), button);
}

// Splits a sentence at its backticks: what stands between them is code.
export function prose(sentence) {
  return String(sentence).split('`').map((part, index) => (index % 2 ? h('code', {}, part) : part));
}
