// Tables of any length: of a long one only the rows near the view exist.

import { h } from '../core/dom.js';

const ROW_PX = 37;
// Below this all rows exist.
const WHOLE_MAX = 120;
const AROUND = 20;

/**
 * A table. `columns`: `{label, cell(row), class?, sort?(row), width?}`; `key(row)`; the first column's
 * link is the row for `j` and `k`. One made by `table` in a page remembers its order and place. Where
 * columns have widths, what rows say does not change them.
 *
 * Without a `key` rows are told apart by their place: where new ones come on top, the elements stay
 * and what they say moves on, so that nothing on the page is pushed. Who stands on a row stays on it.
 */
export class Table {
  constructor(cx, { columns, key, label, sort = null }) {
    this.cx = cx;
    this.columns = columns;
    this.key = key ?? ((row, at) => at);
    this.slides = !key;
    this.focused = null;
    this.label = label;
    this.order = sort;
    this.from = 0;
    this.to = Math.ceil(innerHeight / ROW_PX) + AROUND;
    this.length = 0;
    this.cells = new Map();
    const moved = () => this.moved();
    addEventListener('scroll', moved, { passive: true });
    addEventListener('resize', moved, { passive: true });
    cx.onEnd(() => {
      removeEventListener('scroll', moved);
      removeEventListener('resize', moved);
    });
  }

  moved() {
    if (this.length <= WHOLE_MAX || !this.body) return;
    const top = -this.body.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor(top / ROW_PX) - AROUND);
    const to = Math.ceil((top + innerHeight) / ROW_PX) + AROUND;
    if (Math.abs(from - this.from) < AROUND / 2 && Math.abs(to - this.to) < AROUND / 2) return;
    this.from = from;
    this.to = to;
    this.cx.update();
  }

  sorted(rows) {
    const order = this.order;
    const column = order && this.columns.find((own) => own.label === order.label);
    if (!column?.sort) return rows;
    const sign = order.isDown ? -1 : 1;
    return [...rows].sort((one, other) => {
      const [a, b] = [column.sort(one), column.sort(other)];
      if (a === b) return 0;
      return (a < b ? -1 : 1) * sign;
    });
  }

  view(given) {
    const rows = this.sorted(given);
    this.length = rows.length;
    const isWhole = rows.length <= WHOLE_MAX;
    const from = isWhole ? 0 : Math.min(this.from, Math.max(0, rows.length - 1));
    const to = isWhole ? rows.length : Math.min(this.to, rows.length);
    return h('div', { class: 'table' },
      h('table', { class: this.columns.some((column) => column.width) ? 'fixed' : undefined, 'aria-label': this.label, 'aria-rowcount': String(rows.length + 1) },
        h('thead', null, h('tr', null, this.columns.map((column) => this.heading(column)))),
        h('tbody', { onfocusin: (event) => this.stoodOn(event.target) },
          from > 0 ? this.space('before', from) : null,
          rows.slice(from, to).map((row, at) => h('tr', { key: `row ${this.key(row, from + at)}`, 'aria-rowindex': String(from + at + 2) },
            this.columns.map((column) => h('td', { class: column.class, 'data-label': column.label }, column.cell(row))))),
          to < rows.length ? this.space('after', rows.length - to) : null)),
      isWhole && !this.slides ? null : h('i', { class: 'anchor', hidden: true, island: (element) => this.anchor(element), args: null }));
  }

  anchor(element) {
    const find = () => {
      this.body = element.parentElement?.querySelector('tbody') ?? null;
      if (this.slides) this.stay();
    };
    return { update: () => queueMicrotask(find), destroy: () => { this.body = null; } };
  }

  stoodOn(element) {
    this.focused = element.getAttribute('href');
    this.moved();
  }

  /** Goes after the row that is stood on, if it moved. */
  stay() {
    const at = document.activeElement;
    if (!this.focused || !this.body?.contains(at) || at.getAttribute('href') === this.focused) return;
    const links = [...this.body.querySelectorAll('[data-row]')];
    links.find((own) => own.getAttribute('href') === this.focused)?.focus({ preventScroll: true });
  }

  space(name, count) {
    return h('tr', { key: `space ${name}`, class: 'space', 'aria-hidden': 'true' },
      h('td', { colspan: String(this.columns.length), style: { height: `${count * ROW_PX}px` } }));
  }

  heading(column) {
    const style = column.width ? { width: column.width } : {};
    if (!column.sort) return h('th', { scope: 'col', class: column.class, style }, column.label);
    const isIt = this.order?.label === column.label;
    const toggle = () => {
      this.order = { label: column.label, isDown: isIt ? !this.order.isDown : Boolean(column.isDown) };
      this.cx.update();
    };
    return h('th', { scope: 'col', class: column.class, style, 'aria-sort': isIt ? (this.order.isDown ? 'descending' : 'ascending') : undefined },
      h('button', { type: 'button', class: 'sort', onclick: toggle }, column.label, h('span', { 'aria-hidden': 'true' }, isIt ? (this.order.isDown ? ' ↓' : ' ↑') : '')));
  }
}

/** The link of a row that `j` and `k` go to. */
export const rowLink = (href, ...content) => h('a', { href, 'data-row': true, class: 'row-link' }, h('bdi', null, content));
