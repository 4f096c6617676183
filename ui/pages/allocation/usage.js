// What an allocation uses over time: read each two seconds while somebody looks at it, because the
// machine measures it only when it is asked.

import * as http from '../../core/http.js';

const INTERVAL_MS = 2000;
const COUNT = 60;

export class Usage {
  constructor(cx, id) {
    this.cx = cx;
    this.path = `/v1/client/allocation/${encodeURIComponent(id)}/stats`;
    this.count = COUNT;
    this.cpu = [];
    this.memory = [];
    this.last = null;
    this.timer = 0;
    this.isOver = false;
    this.read();
    cx.onEnd(() => {
      this.isOver = true;
      clearTimeout(this.timer);
    });
  }

  async read() {
    if (!document.hidden) {
      try {
        const { data } = await http.get(this.path);
        const { CpuStats: cpu, MemoryStats: memory } = data.ResourceUsage;
        this.last = { cpu: cpu.TotalTicks, memory: memory.RSS || memory.Usage };
        this.cpu.push(this.last.cpu);
        this.memory.push(this.last.memory);
        if (this.cpu.length > COUNT) {
          this.cpu.shift();
          this.memory.shift();
        }
        this.cx.update();
      } catch {
        // It has ended, or runs elsewhere: the rest of the page says so.
      }
    }
    if (!this.isOver) this.timer = setTimeout(() => this.read(), INTERVAL_MS);
  }
}
