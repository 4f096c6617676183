// What an allocation uses over time: the machine measures it only while somebody looks at it.

import { Followed } from '../../core/follow.js';

const COUNT = 60;

export class Usage {
  constructor(cx, id) {
    this.cx = cx;
    this.count = COUNT;
    this.cpu = [];
    this.memory = [];
    this.last = null;
    // Where it has ended, or runs elsewhere, the rest of the page says so.
    this.followed = new Followed(cx, `/v1/client/allocation/${encodeURIComponent(id)}/stats?follow=true`, (measured) => this.take(measured));
  }

  stop() {
    this.followed.stop();
  }

  take({ ResourceUsage: { CpuStats: cpu, MemoryStats: memory } }) {
    this.last = { cpu: cpu.TotalTicks, memory: memory.RSS || memory.Usage };
    this.cpu.push(this.last.cpu);
    this.memory.push(this.last.memory);
    if (this.cpu.length > COUNT) {
      this.cpu.shift();
      this.memory.shift();
    }
    this.cx.update();
  }
}
