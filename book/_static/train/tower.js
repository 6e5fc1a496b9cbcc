// The text encoder, forward and backward, for a learnable prompt: dip_lib/clip/text.py in float64.
//
// Exact with respect to the full-length encoder: only the rows of layout.js are computed, the names'
// queries, keys and values of the first block once and for all, and in the last block only the
// states of the end tokens.
TrainHere.part("tower", (use) => {
  const { product, layer, forward, backward, norm, normBack, gelu } = use("kernels");
  const { attend, attendBack } = use("attention");
  const { layout } = use("layout");

  /** The layers of a text encoder from its tensors by name, as its safetensors file has them. */
  const textTower = (tensors) => {
    const get = (name) => tensors[name].values;
    const both = (name) => ({ weight: get(`${name}.weight`), bias: get(`${name}.bias`) });
    const linear = (w, bias, n) => layer(w, bias, n, w.length / n);
    const d = tensors.positional_embedding.shape[1];
    const blocks = [];
    for (let i = 0; `transformer.resblocks.${i}.ln_1.weight` in tensors; i++) {
      const name = (part) => `transformer.resblocks.${i}.${part}`;
      const weight = get(name("attn.in_proj_weight")), bias = get(name("attn.in_proj_bias"));
      const out = both(name("attn.out_proj")), fc = both(name("mlp.c_fc")), proj = both(name("mlp.c_proj"));
      blocks.push({
        ln1: both(name("ln_1")),
        ln2: both(name("ln_2")),
        qkv: linear(weight, bias, 3 * d),
        q: linear(weight.subarray(0, d * d), bias.subarray(0, d), d),
        kv: linear(weight.subarray(d * d), bias.subarray(d), 2 * d),
        out: linear(out.weight, out.bias, d),
        fc: linear(fc.weight, fc.bias, fc.bias.length),
        proj: linear(proj.weight, proj.bias, d),
      });
    }
    const e = tensors.text_projection.shape[1];
    const wide = get("text_projection"); // (d, e), the other way round than a linear layer's
    const head = { w: layer(wide, null, d, e).t, t: wide, bias: null, n: e, k: d };
    return {
      d, e, blocks, head,
      heads: 4, // of 32 numbers each; the file does not say
      final: both("ln_final"),
      words: get("token_embedding.weight"), // (V, d)
      places: get("positional_embedding"), // (positions, d)
      scale: Math.exp(get("logit_scale")[0]),
    };
  };

  const array = (...shape) => new Float64Array(shape.reduce((a, b) => a * b, 1));

  /** What the gradient of a block's MLP and LayerNorms needs, for m rows. */
  const memory = (m, d) => ({
    normed: array(m, d), hat1: array(m, d), rate1: array(m), hat2: array(m, d), rate2: array(m),
    mixed: array(m, d), added: array(m, d), hidden: array(m, 4 * d), slope: array(m, 4 * d), y: array(m, d),
  });

  /** x + attention's output and the MLP's residual, for m rows: a block's second part. */
  const finish = (block, x, kept, y, m) => {
    const { mixed, added, hidden, slope, normed, hat2, rate2 } = kept;
    forward(block.out, mixed, added, m);
    for (let i = 0; i < added.length; i++) added[i] += x[i];
    norm(block.ln2, added, normed, hat2, rate2, m);
    forward(block.fc, normed, hidden, m);
    gelu(hidden, slope, hidden.length);
    forward(block.proj, hidden, y, m);
    for (let i = 0; i < y.length; i++) y[i] += added[i];
    return y;
  };

  /** Turns the gradient of a block's output `dy` into that of `added`, in place; then of `mixed`. */
  const finishBack = (block, dy, kept, dMixed, m) => {
    const { hidden, slope, normed, hat2, rate2 } = kept; // hidden and normed are free now
    backward(block.proj, dy, hidden, m);
    for (let i = 0; i < hidden.length; i++) hidden[i] *= slope[i];
    backward(block.fc, hidden, normed, m);
    normBack(block.ln2, normed, dy, hat2, rate2, m);
    backward(block.out, dy, dMixed, m);
  };

  /** Classes ready to be encoded behind n vectors: rows, constants, and room to work in. */
  const prepare = (tower, suffixes, n, start) => {
    const { d, blocks, words, places } = tower;
    const rows = layout(suffixes, n, start);
    const N = rows.tokens.length, C = suffixes.length;
    const embedding = array(N, d);
    for (let r = 0; r < N; r++) {
      for (let j = 0; j < d; j++) {
        const word = rows.tokens[r] < 0 ? 0 : words[rows.tokens[r] * d + j];
        embedding[r * d + j] = word + places[rows.position[r] * d + j];
      }
    }
    const kept = blocks.map((_, i) => memory(i === blocks.length - 1 ? C : N, d));
    const first = array(N, 3 * d);
    norm(blocks[0].ln1, embedding, kept[0].normed, kept[0].hat1, kept[0].rate1, N);
    forward(blocks[0].qkv, kept[0].normed, first, N);
    const every = Int32Array.from({ length: N }, (_, r) => r);
    return {
      rows, embedding, kept, every, N, C, ends: Int32Array.from(rows.end),
      x: blocks.map(() => array(N, d)), qkv: [first, ...blocks.slice(1).map(() => array(N, 3 * d))],
      shares: blocks.map(() => array(rows.paths.length, tower.heads)),
      full: { normed: array(N, d), hat: array(N, d), rate: array(N), kv: array(N, 2 * d) },
      asking: array(C, d), q: array(C, d), length: array(C), unit: array(C, tower.e), raw: array(C, tower.e),
      tip: { normed: array(C, d), hat: array(C, d), rate: array(C) },
    };
  };

  /** Unit embeddings (C, e) of prepared classes behind a prompt (n, d). */
  const encode = (tower, c, prompt) => {
    const { d, e, blocks, heads } = tower;
    const n = c.rows.n, last = blocks.length - 1;
    c.x[0].set(c.embedding);
    for (let i = 0; i < n * d; i++) c.x[0][d + i] += prompt[i]; // rows 1 ... n
    blocks.slice(0, -1).forEach((block, b) => {
      const kept = c.kept[b], x = c.x[b], qkv = c.qkv[b];
      const [at, m] = b ? [0, c.N] : [1, n]; // in the first block only the prompt has changed
      const part = (values, width) => values.subarray(at * width, (at + m) * width);
      norm(block.ln1, part(x, d), part(kept.normed, d), part(kept.hat1, d), part(kept.rate1, 1), m);
      forward(block.qkv, part(kept.normed, d), part(qkv, 3 * d), m);
      attend(c.rows, heads, d, c.every, { q: qkv, stepQ: 3 * d, kv: qkv, stepKV: 3 * d, k: d, v: 2 * d }, c.shares[b], kept.mixed);
      finish(block, x, kept, c.x[b + 1], c.N);
    });
    const block = blocks[last], kept = c.kept[last], x = c.x[last], { full, tip } = c;
    norm(block.ln1, x, full.normed, full.hat, full.rate, c.N);
    forward(block.kv, full.normed, full.kv, c.N);
    for (let i = 0; i < c.C; i++) {
      c.asking.set(x.subarray(c.ends[i] * d, (c.ends[i] + 1) * d), i * d);
      kept.normed.set(full.normed.subarray(c.ends[i] * d, (c.ends[i] + 1) * d), i * d);
    }
    forward(block.q, kept.normed, c.q, c.C);
    attend(c.rows, heads, d, c.ends, { q: c.q, stepQ: d, kv: full.kv, stepKV: 2 * d, k: 0, v: d }, c.shares[last], kept.mixed);
    finish(block, c.asking, kept, kept.y, c.C);
    norm(tower.final, kept.y, tip.normed, tip.hat, tip.rate, c.C);
    forward(tower.head, tip.normed, c.raw, c.C);
    for (let i = 0; i < c.C; i++) {
      c.length[i] = Math.hypot(...c.raw.subarray(i * e, (i + 1) * e));
      for (let j = 0; j < e; j++) c.unit[i * e + j] = c.raw[i * e + j] / c.length[i];
    }
    return c.unit;
  };

  /** The gradient of the prompt (n, d), from that of the unit embeddings; after `encode`. */
  const gradient = (tower, c, dUnit) => {
    const { d, e, blocks, heads } = tower;
    const n = c.rows.n, last = blocks.length - 1;
    const dRaw = array(c.C, e), dTip = array(c.C, d), dEnd = array(c.C, d), dMixed = array(c.N, d);
    for (let i = 0; i < c.C; i++) {
      let along = 0;
      for (let j = i * e; j < (i + 1) * e; j++) along += dUnit[j] * c.unit[j];
      for (let j = i * e; j < (i + 1) * e; j++) dRaw[j] = (dUnit[j] - along * c.unit[j]) / c.length[i];
    }
    backward(tower.head, dRaw, dTip, c.C);
    normBack(tower.final, dTip, dEnd, c.tip.hat, c.tip.rate, c.C);
    // the last block: its queries, residual and MLP belong to the ends, its keys and values to all
    const block = blocks[last], { full } = c;
    finishBack(block, dEnd, c.kept[last], dMixed.subarray(0, c.C * d), c.C);
    const dQ = array(c.C, d), dKV = array(c.N, 2 * d), dNormed = array(c.N, d), dx = array(c.N, d);
    attendBack(c.rows, heads, d, c.ends, { q: c.q, stepQ: d, kv: full.kv, stepKV: 2 * d, k: 0, v: d }, c.shares[last], dMixed, { q: dQ, kv: dKV });
    backward(block.kv, dKV, dNormed, c.N);
    const asked = backward(block.q, dQ, dTip, c.C);
    for (let i = 0; i < c.C; i++) {
      for (let j = 0; j < d; j++) {
        dNormed[c.ends[i] * d + j] += asked[i * d + j];
        dx[c.ends[i] * d + j] += dEnd[i * d + j];
      }
    }
    normBack(block.ln1, dNormed, dx, full.hat, full.rate, c.N);
    for (let b = last - 1; b >= 0; b--) {
      const kept = c.kept[b], dQKV = array(c.N, 3 * d), own = { q: dQKV, kv: dQKV };
      finishBack(blocks[b], dx, kept, dMixed, c.N);
      attendBack(c.rows, heads, d, c.every, { q: c.qkv[b], stepQ: 3 * d, kv: c.qkv[b], stepKV: 3 * d, k: d, v: 2 * d }, c.shares[b], dMixed, own);
      const [at, m] = b ? [0, c.N] : [1, n];
      const part = (values, width) => values.subarray(at * width, (at + m) * width);
      backward(blocks[b].qkv, part(dQKV, 3 * d), part(dNormed, d), m);
      normBack(blocks[b].ln1, part(dNormed, d), part(dx, d), part(kept.hat1, d), part(kept.rate1, 1), m);
    }
    return dx.slice(d, (n + 1) * d);
  };

  /** Logits (m, C) of unit image features (m, e) and unit class embeddings (C, e). */
  const scores = (tower, images, m, unit, C) => {
    const logits = product(images, unit, array(m, C), m, C, tower.e);
    for (let i = 0; i < logits.length; i++) logits[i] *= tower.scale;
    return logits;
  };

  return { textTower, prepare, encode, gradient, scores };
});
