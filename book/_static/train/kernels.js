// Matrix products, LayerNorm and GELU on typed arrays, with what their gradients need.
//
// Everything is float64: V8 computes in it anyway, and reading float32 would cost a conversion.
TrainHere.part("kernels", () => {
  /**
   * y = x w', for x (m, k) and w (n, k), row by row.
   *
   * Four rows of x meet four rows of w at a time: sixteen sums stay in registers, and each number
   * that is read takes part in four products.
   */
  const product = (x, w, y, m, n, k) => {
    const wide = m - (m % 4);
    const high = n - (n % 4);
    for (let j = 0; j < high; j += 4) {
      const w0 = j * k, w1 = w0 + k, w2 = w1 + k, w3 = w2 + k;
      for (let i = 0; i < wide; i += 4) {
        const x0 = i * k, x1 = x0 + k, x2 = x1 + k, x3 = x2 + k;
        let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
        let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
        for (let p = 0; p < k; p++) {
          const v0 = w[w0 + p], v1 = w[w1 + p], v2 = w[w2 + p], v3 = w[w3 + p];
          let u = x[x0 + p];
          a0 += u * v0; a1 += u * v1; a2 += u * v2; a3 += u * v3;
          u = x[x1 + p];
          b0 += u * v0; b1 += u * v1; b2 += u * v2; b3 += u * v3;
          u = x[x2 + p];
          c0 += u * v0; c1 += u * v1; c2 += u * v2; c3 += u * v3;
          u = x[x3 + p];
          d0 += u * v0; d1 += u * v1; d2 += u * v2; d3 += u * v3;
        }
        let o = i * n + j;
        y[o] = a0; y[o + 1] = a1; y[o + 2] = a2; y[o + 3] = a3;
        o += n;
        y[o] = b0; y[o + 1] = b1; y[o + 2] = b2; y[o + 3] = b3;
        o += n;
        y[o] = c0; y[o + 1] = c1; y[o + 2] = c2; y[o + 3] = c3;
        o += n;
        y[o] = d0; y[o + 1] = d1; y[o + 2] = d2; y[o + 3] = d3;
      }
    }
    // what the fours leave over
    for (let i = 0; i < m; i++) {
      for (let j = i < wide ? high : 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < k; p++) sum += x[i * k + p] * w[j * k + p];
        y[i * n + j] = sum;
      }
    }
    return y;
  };

  /** The transpose of w (n, k). */
  const transposed = (w, n, k) => {
    const t = new Float64Array(n * k);
    for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) t[j * n + i] = w[i * k + j];
    return t;
  };

  /** A frozen linear layer of weight w (n, k): both orders of w, for the two directions. */
  const layer = (w, bias, n, k) => ({ w, t: transposed(w, n, k), bias, n, k });

  /** y = x w' + bias for m rows. */
  const forward = ({ w, bias, n, k }, x, y, m) => {
    product(x, w, y, m, n, k);
    if (bias) for (let i = 0, o = 0; i < m; i++) for (let j = 0; j < n; j++, o++) y[o] += bias[j];
    return y;
  };

  /** The gradient of x, from that of y. */
  const backward = ({ t, n, k }, dy, dx, m) => product(dy, t, dx, m, k, n);

  const EPS = 1e-5; // torch's default, which CLIP keeps

  /** LayerNorm of m rows; `hat` and `rate` are kept for the gradient. */
  const norm = ({ weight, bias }, x, y, hat, rate, m) => {
    const d = weight.length;
    for (let i = 0; i < m; i++) {
      const at = i * d;
      let mean = 0, square = 0;
      for (let j = 0; j < d; j++) mean += x[at + j];
      mean /= d;
      for (let j = 0; j < d; j++) square += (x[at + j] - mean) ** 2;
      rate[i] = 1 / Math.sqrt(square / d + EPS);
      for (let j = 0; j < d; j++) {
        hat[at + j] = (x[at + j] - mean) * rate[i];
        y[at + j] = hat[at + j] * weight[j] + bias[j];
      }
    }
    return y;
  };

  /** Adds to dx the gradient of m rows through LayerNorm. */
  const normBack = ({ weight }, dy, dx, hat, rate, m) => {
    const d = weight.length;
    for (let i = 0; i < m; i++) {
      const at = i * d;
      let mean = 0, along = 0;
      for (let j = 0; j < d; j++) {
        const g = dy[at + j] * weight[j];
        mean += g;
        along += g * hat[at + j];
      }
      mean /= d;
      along /= d;
      for (let j = 0; j < d; j++) dx[at + j] += rate[i] * (dy[at + j] * weight[j] - mean - hat[at + j] * along);
    }
  };

  // The normal distribution on a grid: between nodes a cubic that has its values and its slopes is
  // within 1e-11. Beyond the grid it is 0 or 1 to double precision's 1e-15.
  const FINE = 128, END = 8;
  const PHI = new Float64Array(2 * END * FINE + 2);
  const SLOPE = new Float64Array(2 * END * FINE + 2);
  for (let i = 0; i < PHI.length; i++) {
    const z = i / FINE - END, density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    let term = Math.abs(z), sum = 0;
    for (let n = 1; n < 400 && term > 0; n += 2) {
      sum += term;
      term *= (z * z) / (n + 2);
    }
    PHI[i] = 0.5 + Math.sign(z) * density * sum;
    SLOPE[i] = density / FINE;
  }

  /** GELU of `count` numbers, in place, and its slopes into `slope`. */
  const gelu = (x, slope, count) => {
    for (let i = 0; i < count; i++) {
      const z = x[i];
      if (!(z > -END && z < END)) { // beyond the grid, or not a number
        slope[i] = z >= END ? 1 : z <= -END ? 0 : NaN;
        if (z <= -END) x[i] = 0;
        continue;
      }
      const at = (z + END) * FINE, node = at | 0, t = at - node;
      const p = PHI[node], s = SLOPE[node], rise = PHI[node + 1] - p;
      const b = 3 * rise - 2 * s - SLOPE[node + 1], c = s + SLOPE[node + 1] - 2 * rise;
      const phi = p + t * (s + t * (b + t * c));
      slope[i] = phi + z * FINE * (s + t * (2 * b + 3 * t * c));
      x[i] = z * phi;
    }
  };

  return { product, layer, forward, backward, norm, normBack, gelu };
});
