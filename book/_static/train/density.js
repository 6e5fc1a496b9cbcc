// Singular values and Information Density of small matrices: dip_lib/prompt/density.py.
TrainHere.part("density", () => {
  /**
   * Singular values of a matrix (n, d) with few rows, largest first: rows are turned against each
   * other until all are at right angles (one-sided Jacobi), and then their lengths are the values.
   */
  const singularValues = (matrix, n) => {
    const d = matrix.length / n, rows = Array.from({ length: n }, (_, i) => Float64Array.from(matrix.subarray(i * d, (i + 1) * d)));
    const dot = (a, b) => a.reduce((sum, x, j) => sum + x * b[j], 0);
    for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
      turned = false;
      for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) {
          const a = dot(rows[i], rows[i]), b = dot(rows[j], rows[j]), c = dot(rows[i], rows[j]);
          if (Math.abs(c) <= 1e-15 * Math.sqrt(a * b)) continue;
          turned = true;
          const z = (b - a) / (2 * c), t = (z < 0 ? -1 : 1) / (Math.abs(z) + Math.sqrt(1 + z * z));
          const cos = 1 / Math.sqrt(1 + t * t), sin = cos * t;
          for (let p = 0; p < d; p++) {
            const x = rows[i][p], y = rows[j][p];
            rows[i][p] = cos * x - sin * y;
            rows[j][p] = sin * x + cos * y;
          }
        }
      }
    }
    return rows.map((row) => Math.sqrt(dot(row, row))).sort((x, y) => y - x);
  };

  /** ID_k of singular values, largest first, of a matrix whose longer side is `longer`. */
  const density = (values, longer, k = 1) => {
    const shares = values.map((s) => s / values[0]).map((s) => (s > longer * 2 ** -52 ? s : 0));
    const sum = (each) => each.reduce((a, b) => a + b, 0);
    return sum(shares.slice(0, k)) / sum(shares);
  };

  /** What the first block reads of a prompt (n, d): positions added, each row's mean taken away. */
  const asRead = (prompt, places, n) => {
    const d = prompt.length / n, read = Float64Array.from(prompt, (x, i) => x + places[d + i]);
    for (let i = 0; i < n; i++) {
      const row = read.subarray(i * d, (i + 1) * d), mean = row.reduce((a, b) => a + b, 0) / d;
      row.forEach((x, j) => (row[j] = x - mean));
    }
    return read;
  };

  return { singularValues, density, asRead };
});
