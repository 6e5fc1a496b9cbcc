// Random numbers as a pure function of (seed, step, position): dip_lib/randomness.py, bit for bit.
TrainHere.part("chance", () => {
  const GAMMA = 0x9e3779b97f4a7c15n, MIX1 = 0xbf58476d1ce4e5b9n, MIX2 = 0x94d049bb133111ebn;
  const wrap = (x) => BigInt.asUintN(64, x);
  const mix = (x) => {
    x = wrap((x ^ (x >> 30n)) * MIX1);
    x = wrap((x ^ (x >> 27n)) * MIX2);
    return x ^ (x >> 31n);
  };

  /** `count` uniform numbers in [0, 1); `stream` separates draws of different purpose. */
  const uniform = (seed, step, count, stream = 0) => {
    const first = mix(wrap(BigInt(seed) * GAMMA + wrap(MIX2 * BigInt(stream + 1))));
    const key = mix(wrap(first + BigInt(step) * GAMMA));
    const drawn = new Float64Array(count);
    for (let i = 0, at = key; i < count; i++) {
      at = wrap(at + GAMMA);
      drawn[i] = Number(mix(at) >> 40n) / 2 ** 24;
    }
    return drawn;
  };

  /** Standard normal numbers (Box-Muller), rounded to float32 as the library's. */
  const normal = (seed, count, stream = 0) => {
    const u = uniform(seed, 0, 2 * count, stream);
    return Float64Array.from({ length: count }, (_, i) =>
      Math.fround(Math.sqrt(-2 * Math.log1p(-u[i])) * Math.cos(2 * Math.PI * u[count + i]))
    );
  };

  /** 0 with probability p, else 1 / (1 - p). The comparison is float32's, as the library's. */
  const dropoutMask = (seed, step, count, p) =>
    uniform(seed, step, count, 1).map((u) => (u >= Math.fround(p) ? 1 / (1 - p) : 0));

  /** A random order of n samples: the sampler of an epoch. */
  const permutation = (seed, epoch, n) => {
    const u = uniform(seed, epoch, n, 2);
    return Array.from(u.keys()).sort((a, b) => u[a] - u[b] || a - b);
  };

  return { uniform, normal, dropoutMask, permutation };
});
