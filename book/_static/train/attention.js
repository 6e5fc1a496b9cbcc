// Attention of rows along their paths to the root of the tree, forward and backward.
//
// `from` says where queries, keys and values lie: row r's query is at q[r * stepQ], its key and its
// value at kv[r * stepKV + k] and kv[r * stepKV + v]. `asking` are the rows that attend; the i-th of
// them has the i-th query where these are fewer than the rows, and writes the i-th output.
TrainHere.part("attention", () => {
  const attend = (rows, heads, d, asking, from, shares, mixed) => {
    const { q, stepQ, kv, stepKV, k, v } = from;
    const h = d / heads, scale = 1 / Math.sqrt(h);
    mixed.fill(0);
    for (let i = 0; i < asking.length; i++) {
      const row = asking[i], begin = rows.from[row], end = rows.from[row + 1];
      for (let head = 0; head < heads; head++) {
        const query = i * stepQ + head * h, out = i * d + head * h;
        let most = -Infinity, total = 0;
        for (let p = begin; p < end; p++) {
          const key = rows.paths[p] * stepKV + k + head * h;
          let dot = 0;
          for (let j = 0; j < h; j++) dot += q[query + j] * kv[key + j];
          shares[p * heads + head] = dot * scale;
          if (dot * scale > most) most = dot * scale;
        }
        for (let p = begin; p < end; p++) total += shares[p * heads + head] = Math.exp(shares[p * heads + head] - most);
        for (let p = begin; p < end; p++) {
          const share = (shares[p * heads + head] /= total), value = rows.paths[p] * stepKV + v + head * h;
          for (let j = 0; j < h; j++) mixed[out + j] += share * kv[value + j];
        }
      }
    }
    return mixed;
  };

  /** Adds the gradients of queries, keys and values to `to.q` and `to.kv`. */
  const attendBack = (rows, heads, d, asking, from, shares, dMixed, to) => {
    const { q, stepQ, kv, stepKV, k, v } = from;
    const h = d / heads, scale = 1 / Math.sqrt(h), slopes = new Float64Array(rows.paths.length);
    for (let i = 0; i < asking.length; i++) {
      const row = asking[i], begin = rows.from[row], end = rows.from[row + 1];
      for (let head = 0; head < heads; head++) {
        const query = i * stepQ + head * h, out = i * d + head * h;
        let mean = 0;
        for (let p = begin; p < end; p++) {
          const value = rows.paths[p] * stepKV + v + head * h, share = shares[p * heads + head];
          let slope = 0;
          for (let j = 0; j < h; j++) {
            slope += dMixed[out + j] * kv[value + j];
            to.kv[value + j] += share * dMixed[out + j];
          }
          slopes[p] = slope;
          mean += share * slope;
        }
        for (let p = begin; p < end; p++) {
          const key = rows.paths[p] * stepKV + k + head * h;
          const slope = shares[p * heads + head] * (slopes[p] - mean) * scale;
          for (let j = 0; j < h; j++) {
            to.q[query + j] += slope * kv[key + j];
            to.kv[key + j] += slope * q[query + j];
          }
        }
      }
    }
  };

  return { attend, attendBack };
});
