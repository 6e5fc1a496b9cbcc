// A prompt while it trains: CoOp's full matrix, or DIP's P0 + mask * (A B); dip_lib/prompt/low_rank.py.
TrainHere.part("prompt", (use) => {
  const { normal, dropoutMask } = use("chance");

  /** A B for a (n, r) and b (r, d). */
  const times = (a, b, n, r) => {
    const d = b.length / r, product = new Float64Array(n * d);
    for (let i = 0; i < n; i++)
      for (let p = 0; p < r; p++) for (let j = 0; j < d; j++) product[i * d + j] += a[i * r + p] * b[p * d + j];
    return product;
  };

  /** The prompt before its first step: A ~ N(0, 1/r) and B = 0, so that it starts at P0. */
  const firstPrompt = (start, n, { method, rank, seed }) => {
    const shared = { n, d: start.length / n, start: Float64Array.from(start) };
    if (method === "coop") return { ...shared, trained: [Float64Array.from(start)] };
    const a = normal(seed, n * rank).map((x) => Math.fround(x / Math.sqrt(rank)));
    return { ...shared, rank, trained: [a, new Float64Array(rank * shared.d)] };
  };

  /** The matrix (n, d) as it is evaluated, or under the dropout mask of a step. */
  const matrix = ({ n, rank, start, trained }, mask) => {
    if (!rank) return Float64Array.from(trained[0]);
    const update = times(...trained, n, rank);
    return update.map((x, i) => start[i] + (mask ? mask[i] * x : x));
  };

  const maskOf = ({ n, d, rank }, { seed, dropout }, step) => (rank && dropout ? dropoutMask(seed, step, n * d, dropout) : null);

  /** The gradients of what trains, from that of the matrix. */
  const gradients = ({ n, d, rank, trained: [a, b] }, slope, mask) => {
    if (!rank) return [slope];
    const dA = new Float64Array(n * rank), dB = new Float64Array(rank * d);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < d; j++) {
        const g = slope[i * d + j] * (mask ? mask[i * d + j] : 1);
        for (let p = 0; p < rank; p++) {
          dA[i * rank + p] += g * b[p * d + j];
          dB[p * d + j] += g * a[i * rank + p];
        }
      }
    }
    return [dA, dB];
  };

  return { firstPrompt, matrix, maskOf, gradients };
});
