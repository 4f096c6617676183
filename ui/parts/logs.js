// Output with its filters: which stream, which text, and whether the end is followed.

import { h } from '../core/dom.js';
import { followLogs } from '../core/logs.js';
import { button, choice, filterField } from './frame.js';
import { commandLine } from './command.js';
import { Lines, logView } from './logview.js';

const TYPES = [['', 'stdout and stderr'], ['stdout', 'stdout'], ['stderr', 'stderr']];
// Bytes of the end of each output that are shown first.
const BACK = 20000;
const TONES = 6;

/**
 * Output in a page. `options`: `parameters()` of the stream, `nameOf(frame)` of where a piece comes
 * from, `withSource`, `command(type)`, and `tools(restart)` for more filters.
 */
export class Logs {
  constructor(cx, options) {
    this.cx = cx;
    this.options = options;
    this.lines = new Lines();
    this.type = cx.query.get('type') ?? '';
    this.text = cx.query.get('filter') ?? '';
    this.isRegex = cx.query.get('regex') === 'true';
    this.isFollowing = true;
    this.state = 'opening';
    this.end = null;
    this.tones = new Map();
    this.filter = null;
    this.problem = '';
    this.compile();
    this.restart();
    cx.onEnd(() => this.end?.());
  }

  restart() {
    this.end?.();
    this.lines.clear();
    this.state = 'opening';
    const parameters = { ...this.options.parameters(), type: this.type || 'both', origin: 'end', offset: BACK, follow: 'true' };
    this.end = followLogs(parameters, this.lines, (frame) => this.source(frame), (state) => {
      this.state = state;
      this.cx.update();
    });
  }

  source(frame) {
    const name = this.options.nameOf(frame);
    if (!this.tones.has(name)) this.tones.set(name, this.tones.size % TONES);
    return { name, tone: this.tones.get(name), isError: frame.Type === 'stderr' };
  }

  compile() {
    this.problem = '';
    this.filter = null;
    if (this.text === '') return;
    if (!this.isRegex) {
      const small = this.text.toLowerCase();
      this.filter = (line) => line.source === null || line.text.toLowerCase().includes(small);
      return;
    }
    try {
      const pattern = new RegExp(this.text, 'i');
      // A long line with an unlucky expression must not hold the page up.
      this.filter = (line) => line.source === null || pattern.test(line.text.slice(0, 5000));
    } catch (error) {
      this.problem = error.message;
    }
  }

  view() {
    const set = (change) => () => {
      change();
      this.cx.update();
    };
    const failed = this.state instanceof Error;
    return [
      h('div', { class: 'filters' },
        filterField(this.isRegex ? 'Filter by regular expression' : 'Filter by text', this.text, (value) => {
          this.text = value;
          this.compile();
          this.cx.update();
        }),
        h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: this.isRegex, onchange: set(() => {
          this.isRegex = !this.isRegex;
          this.compile();
        }) }), 'regular expression'),
        choice('Output', TYPES, this.type, (value) => {
          this.type = value;
          this.restart();
          this.cx.update();
        }),
        this.options.tools?.(() => this.restart()),
        h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: this.isFollowing, onchange: set(() => { this.isFollowing = !this.isFollowing; }) }), 'follow'),
        button('Clear', set(() => this.lines.clear())),
        h('span', { class: 'note', role: 'status' }, this.problem || (failed ? this.state.message : this.state === 'ended' ? 'The output has ended.' : this.lines.dropped > 0 ? `${this.lines.dropped} earlier lines are not kept.` : ''))),
      h('div', { class: 'log', island: logView, args: {
        lines: this.lines,
        filter: this.filter,
        withSource: this.options.withSource,
        isFollowing: this.isFollowing,
        onFollow: (isFollowing) => {
          this.isFollowing = isFollowing;
          this.cx.update();
        },
      } }),
      this.options.command ? commandLine(this.options.command(this.type)) : null,
    ];
  }
}
