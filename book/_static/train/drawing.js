// A picture of the reader's own: drawn with a pointer, or one character typed, as 48 x 48 pixels.
TrainHere.part("drawing", () => {
  const SIDE = 48;

  /** @returns what tells whether there is a drawing, and its pixels (3, 48, 48) in 0..1. */
  const drawing = (place, changed) => {
    const canvas = place.querySelector("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
    const typed = place.querySelector("input"), size = canvas.width;
    let drawn = false;
    const clear = () => {
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, size, size);
      drawn = false;
    };
    const done = (is) => {
      drawn = is;
      changed(is);
    };

    let last = null;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
    };
    canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      last = point(event);
      stroke(event);
    });
    const stroke = (event) => {
      if (!last) return;
      const now = point(event);
      pen.strokeStyle = "#111";
      pen.lineWidth = size / 12;
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(...last);
      pen.lineTo(...now);
      pen.stroke();
      last = now;
    };
    canvas.addEventListener("pointermove", stroke);
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (last) done(true);
        last = null;
      });
    }

    // a character of the browser's own fonts: the way without a pointer
    typed.addEventListener("input", () => {
      clear();
      const [letter = ""] = typed.value.trim();
      pen.fillStyle = "#111";
      pen.textAlign = "center";
      pen.textBaseline = "alphabetic";
      pen.font = `${size * 0.62}px "DejaVu Sans", sans-serif`;
      const { actualBoundingBoxAscent: up, actualBoundingBoxDescent: down } = pen.measureText(letter);
      pen.fillText(letter, size / 2, size / 2 + (up - down) / 2);
      done(letter !== "");
    });
    place.querySelector("[name=clear]").addEventListener("click", () => {
      clear();
      typed.value = "";
      done(false);
    });
    clear();

    return {
      any: () => drawn,
      pixels: () => {
        const small = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
        small.imageSmoothingQuality = "high";
        small.drawImage(canvas, 0, 0, SIDE, SIDE);
        const { data } = small.getImageData(0, 0, SIDE, SIDE), pixels = new Float64Array(3 * SIDE * SIDE);
        for (let i = 0; i < SIDE * SIDE; i++) for (let c = 0; c < 3; c++) pixels[c * SIDE * SIDE + i] = data[4 * i + c] / 255;
        return pixels;
      },
    };
  };

  return { drawing };
});
