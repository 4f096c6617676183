// Lines of JSON that the agent goes on telling while somebody looks at the page.

import * as http from './http.js';

const RETRY_MS = 2000;

export class Followed {
  /** Hands each line at `path` to `take`, and the error to `lose` when the stream breaks. */
  constructor(cx, path, take, lose = () => {}) {
    this.path = path;
    this.take = take;
    this.lose = lose;
    this.open = null;
    this.timer = 0;
    // A tab that nobody looks at leaves the browser its connections.
    const looked = () => (document.hidden ? this.stop() : this.follow());
    document.addEventListener('visibilitychange', looked);
    cx.onEnd(() => {
      document.removeEventListener('visibilitychange', looked);
      this.stop();
    });
    this.follow();
  }

  stop() {
    clearTimeout(this.timer);
    this.open?.abort();
    this.open = null;
  }

  async follow() {
    if (this.open || document.hidden) return;
    const own = new AbortController();
    this.open = own;
    try {
      const response = await http.open(this.path, { signal: own.signal });
      for await (const line of http.lines(response)) this.take(line);
    } catch (error) {
      if (this.open === own) this.lose(error);
    }
    if (this.open !== own) return;
    this.open = null;
    this.timer = setTimeout(() => this.follow(), RETRY_MS);
  }
}
