// Decoding of what comes as text: half-precision weights, and image features of a few bits a number.
TrainHere.part("packs", () => {
  const bytes = (text) => {
    const plain = atob(text), all = new Uint8Array(plain.length);
    for (let i = 0; i < all.length; i++) all[i] = plain.charCodeAt(i);
    return all;
  };

  const half = (bits) => {
    const sign = bits & 0x8000 ? -1 : 1, power = (bits >> 10) & 31, rest = bits & 1023;
    return sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
  };

  /** Tensors by name, from [name, type, shape, bytes from, bytes to] and all their bytes. */
  const tensors = ({ index, data }) => {
    const all = bytes(data), view = new DataView(all.buffer);
    const read = {
      F16: [2, (at) => half(view.getUint16(at, true))],
      F32: [4, (at) => view.getFloat32(at, true)],
      I32: [4, (at) => view.getInt32(at, true)],
    };
    const values = (type, from, to) => {
      if (type === "U8") return all.subarray(from, to);
      const [size, number] = read[type];
      return Float64Array.from({ length: (to - from) / size }, (_, i) => number(from + i * size));
    };
    return Object.fromEntries(index.map(([name, type, shape, from, to]) => [name, { shape, values: values(type, from, to) }]));
  };

  /** Unit vectors of e numbers, each of which was one of a few levels, packed without gaps. */
  const features = (packed, levels, e) => {
    const bits = Math.log2(levels.length);
    const values = new Float64Array(Math.floor((packed.length * 8) / bits / e) * e);
    for (let i = 0, held = 0, have = 0, at = 0; i < values.length; i++) {
      for (; have < bits; have += 8) held = (held << 8) | packed[at++];
      have -= bits;
      values[i] = levels[held >> have];
      held &= (1 << have) - 1;
    }
    for (let i = 0; i < values.length; i += e) {
      const row = values.subarray(i, i + e), length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
      row.forEach((x, j) => (row[j] = x / length));
    }
    return values;
  };

  return { tensors, features };
});
