// From addresses to pages and back. Every page has an address of its own, with what it shows and
// how it is filtered, so that a link leads to the same sight.

const BASE = '/ui';

/** Where a job is. */
export const jobPath = (id, namespace, tab = '') =>
  `/jobs/${segment(id)}@${segment(namespace || 'default')}${tab ? `/${tab}` : ''}`;
export const allocPath = (id, tab = '') => `/allocations/${segment(id)}${tab ? `/${tab}` : ''}`;
export const nodePath = (id) => `/clients/${segment(id)}`;
export const servicePath = (name) => `/services/${segment(name)}`;
export const evalPath = (id) => `/evaluations?currentEval=${encodeURIComponent(id)}`;

export const segment = (text) => encodeURIComponent(text);
export const link = (path) => `${BASE}${path}`;

/** Takes `id@namespace` apart; the id may hold `@` itself. */
export function jobOf(text) {
  const at = text.lastIndexOf('@');
  return at > 0 ? { id: text.slice(0, at), namespace: text.slice(at + 1) } : { id: text, namespace: 'default' };
}

/** Segments and query of an address below the base. */
export function read(place) {
  const path = place.pathname.startsWith(BASE) ? place.pathname.slice(BASE.length) : place.pathname;
  const parts = path.split('/').filter((part) => part !== '').map(decode);
  return { parts, query: new URLSearchParams(place.search) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

let onChange = () => {};

/** Calls `changed` at once and whenever the address changes. */
export function start(changed) {
  onChange = changed;
  addEventListener('popstate', () => onChange());
  document.addEventListener('click', (event) => {
    const anchor = event.target.closest?.('a[href]');
    if (!anchor || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || anchor.target) return;
    const target = new URL(anchor.href, location.href);
    const isOurs = target.origin === location.origin && (target.pathname === BASE || target.pathname.startsWith(`${BASE}/`));
    if (!isOurs || anchor.hasAttribute('download')) return;
    event.preventDefault();
    go(target.pathname.slice(BASE.length) + target.search);
  });
  onChange();
}

/** Shows the page at `path`. */
export function go(path) {
  history.pushState(null, '', link(path || '/'));
  onChange();
  scrollTo(0, 0);
}

/** Changes parts of the query in place; empty values are left out. */
export function setQuery(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === '' || value === null || value === undefined || value === false) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, '', `${location.pathname}${text ? `?${text}` : ''}`);
  onChange();
}
