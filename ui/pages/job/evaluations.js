// Evaluations of a job.

import { ready, empty } from '../../parts/frame.js';
import { evaluationTable } from '../../parts/evaluations.js';

export function evaluations(job) {
  const table = job.part('evaluations', () => evaluationTable(job.cx, { withJob: false }));
  return ready(job.use('/evaluations'), (rows) => (rows.length === 0 ? empty('There are none any more.') : table(rows)));
}
