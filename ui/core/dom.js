// Descriptions of elements, and what brings a part of the page to such a description: only what
// differs is touched, and rows are told apart by their key. Text is always text; there is no way to
// hand markup in.

const SVG = 'http://www.w3.org/2000/svg';
// Set on the object and not as attributes, because the page's user changes them too.
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'selected', 'hidden', 'open', 'readOnly']);
const SAFE_ADDRESS = /^(?:\/(?!\/)|#|\?|https?:\/\/)/;

/**
 * Describes an element. `props` may have attributes, `on…` handlers, `style` as an object, `key`,
 * and `island`: a function that makes `{update(args), destroy()}` in the element, which then looks
 * after the element's content itself; `args` goes to its `update`.
 */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, key: props?.key, children: flat(children, []) };
}

function flat(children, out) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === true) continue;
    if (Array.isArray(child)) flat(child, out);
    else out.push(typeof child === 'object' ? child : String(child));
  }
  return out;
}

/** Brings the content of `host` to `description`. */
export function render(host, description) {
  patchChildren(host, host.drawn ?? [], flat([description], []), false);
  host.drawn = flat([description], []);
}

function make(node, inSvg) {
  if (typeof node === 'string') return document.createTextNode(node);
  const isSvg = inSvg || node.tag === 'svg';
  const element = isSvg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  patchProps(element, {}, node.props);
  if (node.props.island) {
    element.island = node.props.island(element);
    element.island.update?.(node.props.args);
  } else {
    for (const child of node.children) element.append(make(child, isSvg));
  }
  // The choice of a list exists only when its entries do.
  if (node.tag === 'select' && 'value' in node.props) element.value = node.props.value;
  return element;
}

function remove(element, node) {
  if (typeof node !== 'string') forget(element, node);
  element.remove();
}

function forget(element, node) {
  if (node.props.island) {
    element.island?.destroy?.();
    return;
  }
  node.children.forEach((child, at) => {
    const below = element.childNodes[at];
    if (typeof child !== 'string' && below) forget(below, child);
  });
}

function isSame(one, other) {
  if (typeof one === 'string' || typeof other === 'string') return typeof one === typeof other;
  return one.tag === other.tag && one.key === other.key && one.props.island === other.props.island;
}

function patch(element, before, after, inSvg) {
  if (before === after) return;
  if (typeof after === 'string') {
    if (before !== after) element.data = after;
    return;
  }
  patchProps(element, before.props, after.props);
  if (after.props.island) {
    element.island.update?.(after.props.args);
    return;
  }
  patchChildren(element, before.children, after.children, inSvg || after.tag === 'svg');
  if (after.tag === 'select' && 'value' in after.props && element.value !== String(after.props.value)) {
    element.value = after.props.value;
  }
}

function patchChildren(host, before, after, inSvg) {
  const keyed = after.some((node) => node.key !== undefined) || before.some((node) => node.key !== undefined);
  if (keyed) patchKeyed(host, before, after, inSvg);
  else patchInOrder(host, before, after, inSvg);
}

function patchInOrder(host, before, after, inSvg) {
  const elements = [...host.childNodes];
  after.forEach((node, at) => {
    const old = before[at];
    if (old === undefined) {
      host.append(make(node, inSvg));
    } else if (isSame(old, node)) {
      patch(elements[at], old, node, inSvg);
    } else {
      if (typeof old !== 'string') forget(elements[at], old);
      elements[at].replaceWith(make(node, inSvg));
    }
  });
  for (let at = after.length; at < before.length; at += 1) remove(elements[at], before[at]);
}

const nameOf = (node, at) => (typeof node === 'string' ? `text ${at}` : `${node.tag} ${node.key ?? `at ${at}`}`);

function patchKeyed(host, before, after, inSvg) {
  const elements = [...host.childNodes];
  const known = new Map();
  before.forEach((node, at) => known.set(nameOf(node, at), { node, element: elements[at] }));
  let place = host.firstChild;
  const wanted = after.map((node, at) => {
    const name = nameOf(node, at);
    const old = known.get(name);
    if (old && isSame(old.node, node)) {
      known.delete(name);
      patch(old.element, old.node, node, inSvg);
      return old.element;
    }
    return make(node, inSvg);
  });
  for (const { node, element } of known.values()) {
    if (element === place) place = place.nextSibling;
    remove(element, node);
  }
  for (const element of wanted) {
    if (element === place) place = place.nextSibling;
    else host.insertBefore(element, place);
  }
}

function patchProps(element, before, after) {
  for (const name in before) {
    if (!(name in after)) setProp(element, name, before[name], undefined);
  }
  for (const name in after) {
    if (before[name] !== after[name] || PROPERTIES.has(name)) setProp(element, name, before[name], after[name]);
  }
}

function setProp(element, name, before, after) {
  if (name === 'key' || name === 'island' || name === 'args') return;
  if (name.startsWith('on')) {
    setHandler(element, name.slice(2).toLowerCase(), after);
  } else if (name === 'style') {
    setStyle(element, before ?? {}, after ?? {});
  } else if (name === 'value' && element.tagName === 'OPTION') {
    // Without it an entry has its text as its value.
    element.setAttribute('value', after ?? '');
  } else if (PROPERTIES.has(name)) {
    const value = after ?? (typeof element[name] === 'boolean' ? false : '');
    if (element[name] !== value) element[name] = value;
  } else if (after === undefined || after === null || after === false) {
    element.removeAttribute(name);
  } else if (name === 'href' && !SAFE_ADDRESS.test(after)) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, after === true ? '' : after);
  }
}

function setHandler(element, type, handler) {
  element.handlers ??= {};
  if (!(type in element.handlers) && handler) {
    element.addEventListener(type, (event) => element.handlers[type]?.(event));
  }
  element.handlers[type] = handler;
}

function setStyle(element, before, after) {
  for (const name in before) if (!(name in after)) element.style.removeProperty(name);
  for (const name in after) {
    if (before[name] !== after[name]) element.style.setProperty(name, after[name]);
  }
}
