// The image encoder, forward: the ResNet of Glyph World for one image of 48 x 48 pixels.
//
// Maps are (channels, height, width). Its attention pool sees one place of the last map, so that it
// is one matrix and, for each head, a share between two constant vectors: dip_book/train_here.py.
TrainHere.part("image_tower", (use) => {
  const { tensors } = use("packs");
  const MEAN = 0.5, STD = 0.3, EPS = 1e-5, HEADS = 8;

  /** A convolution without bias, zeros around; weight is (out, in, size, size). */
  const convolve = ({ values: x, channels, side }, { values: w, shape: [out, , size] }, stride = 1) => {
    const around = (size - 1) / 2, wide = side / stride, y = new Float64Array(out * wide * wide);
    for (let o = 0; o < out; o++) {
      for (let r = 0; r < wide; r++) {
        for (let c = 0; c < wide; c++) {
          let sum = 0;
          for (let i = 0; i < channels; i++) {
            for (let a = 0; a < size; a++) {
              const row = r * stride + a - around;
              if (row < 0 || row >= side) continue;
              for (let b = 0; b < size; b++) {
                const column = c * stride + b - around;
                if (column < 0 || column >= side) continue;
                sum += x[(i * side + row) * side + column] * w[((o * channels + i) * size + a) * size + b];
              }
            }
          }
          y[(o * wide + r) * wide + c] = sum;
        }
      }
    }
    return { values: y, channels: out, side: wide };
  };

  /** Means of squares of `size`; what is left over at the edge is dropped. */
  const pool = ({ values: x, channels, side }, size) => {
    const wide = Math.floor(side / size), y = new Float64Array(channels * wide * wide);
    for (let i = 0; i < channels; i++) {
      for (let r = 0; r < wide * size; r++) {
        for (let c = 0; c < wide * size; c++) {
          y[(i * wide + Math.floor(r / size)) * wide + Math.floor(c / size)] += x[(i * side + r) * side + c] / size ** 2;
        }
      }
    }
    return { values: y, channels, side: wide };
  };

  const relu = (map) => ({ ...map, values: map.values.map((x) => Math.max(x, 0)) });

  /** @param pack the script `image_tower`. @returns unit features (e) of an image (3, 48, 48) in 0..1. */
  const imageTower = (pack) => {
    const given = tensors(pack), tensor = (name) => given[`visual.${name}`];
    const norm = (map, name) => {
      const [weight, bias, mean, square] = ["weight", "bias", "running_mean", "running_var"].map((each) => tensor(`${name}.${each}`).values);
      const area = map.side ** 2;
      const values = map.values.map((x, at) => {
        const i = Math.floor(at / area);
        return ((x - mean[i]) / Math.sqrt(square[i] + EPS)) * weight[i] + bias[i];
      });
      return { ...map, values };
    };
    const bottleneck = (x, name, stride) => {
      let y = relu(norm(convolve(x, tensor(`${name}.conv1.weight`)), `${name}.bn1`));
      y = relu(norm(convolve(y, tensor(`${name}.conv2.weight`)), `${name}.bn2`));
      y = norm(convolve(pool(y, stride), tensor(`${name}.conv3.weight`)), `${name}.bn3`);
      const beside = norm(convolve(pool(x, stride), tensor(`${name}.downsample.0.weight`)), `${name}.downsample.1`);
      return relu({ ...y, values: y.values.map((v, i) => v + beside.values[i]) });
    };
    const attention = ({ values: x }) => {
      const { whole, constant, question, threshold, first, second } = Object.fromEntries(
        ["whole", "constant", "question", "threshold", "first", "second"].map((name) => [name, given[`pool.${name}`].values])
      );
      return constant.map((start, j) => {
        let sum = start;
        for (let i = 0; i < x.length; i++) sum += whole[j * x.length + i] * x[i];
        for (let h = 0; h < HEADS; h++) {
          let asked = threshold[h];
          for (let i = 0; i < x.length; i++) asked += question[h * x.length + i] * x[i];
          const share = 1 / (1 + Math.exp(-asked));
          sum += share * first[h * constant.length + j] + (1 - share) * second[h * constant.length + j];
        }
        return sum;
      });
    };
    return (pixels) => {
      let x = { values: Float64Array.from(pixels, (v) => (v - MEAN) / STD), channels: 3, side: 48 };
      [2, 1, 1].forEach((stride, i) => (x = relu(norm(convolve(x, tensor(`conv${i + 1}.weight`), stride), `bn${i + 1}`))));
      x = pool(x, 2);
      [1, 2, 2, 2].forEach((stride, i) => (x = bottleneck(x, `layer${i + 1}.0`, stride)));
      const raw = attention(x), length = Math.hypot(...raw);
      return raw.map((v) => v / length);
    };
  };

  return { imageTower };
});
