// A square to draw in, the picture that the network sees, and its ten probabilities.
const SIDE = 280; // CSS pixels of the square
const SENT = 140; // pixels of a side that Python receives

function element(tag, properties, parent) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

// A canvas that is sharp on screens with more than one pixel per CSS pixel.
function sharpCanvas(side, label, parent) {
  const scale = window.devicePixelRatio || 1;
  const canvas = element("canvas", { width: side * scale, height: side * scale }, parent);
  canvas.style.width = canvas.style.height = `${side}px`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

// Strokes are lists of points from 0 to 1, so that they can be drawn at any size.
function drawStrokes(canvas, strokes, ink, paper) {
  const context = canvas.getContext("2d");
  const side = canvas.width;
  context.fillStyle = paper;
  context.fillRect(0, 0, side, side);
  context.strokeStyle = ink;
  context.lineCap = context.lineJoin = "round";
  for (const { points, width } of strokes) {
    context.lineWidth = width * side;
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x * side, y * side));
    if (points.length === 1) context.lineTo(points[0][0] * side + 0.01, points[0][1] * side);
    context.stroke();
  }
}

function render({ model, el }) {
  let strokes = [];
  let drawing = false;
  let sent = 0;
  const root = element("div", { className: "digit-pad" }, el);
  const left = element("div", {}, root);
  const pad = sharpCanvas(SIDE, "draw a digit here", left);
  pad.className = "pad";
  const controls = element("div", { className: "controls" }, left);
  const clear = element("button", { type: "button", textContent: "Clear" }, controls);
  const undo = element("button", { type: "button", textContent: "Undo" }, controls);
  const pen = element("label", { textContent: "pen " }, controls);
  const width = element("input", { type: "range", min: 4, max: 24, value: 9 }, pen);
  const middle = element("div", {}, root);
  const choice = element("label", {}, middle);
  const centred = element("input", { type: "checkbox", checked: model.get("centred") }, choice);
  choice.append(" centred, as in MNIST");
  const seen = sharpCanvas(112, "the picture that the network sees", middle);
  element("div", { textContent: "what the network sees" }, middle);
  const bars = element("div", { className: "bars", role: "list" }, root);

  function redraw() {
    drawStrokes(pad, strokes, "black", "white");
  }

  function send() {
    sent = Date.now();
    const small = Object.assign(document.createElement("canvas"), { width: SENT, height: SENT });
    drawStrokes(small, strokes, "white", "black");
    const { data } = small.getContext("2d").getImageData(0, 0, SENT, SENT);
    const pixels = new Uint8Array(SENT * SENT).map((_, i) => data[4 * i]);
    model.set("pixels", new DataView(pixels.buffer));
    model.save_changes();
  }

  function addPoint(event) {
    const box = pad.getBoundingClientRect();
    const point = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    strokes[strokes.length - 1].points.push(point);
    redraw();
    if (Date.now() - sent > 150) send();
  }

  pad.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    drawing = true;
    strokes.push({ points: [], width: width.value / 100 });
    addPoint(event);
  });
  pad.addEventListener("pointermove", (event) => drawing && addPoint(event));
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => {
      if (drawing) send();
      drawing = false;
    });
  }
  clear.addEventListener("click", () => ((strokes = []), redraw(), send()));
  undo.addEventListener("click", () => (strokes.pop(), redraw(), send()));
  centred.addEventListener("change", () => {
    model.set("centred", centred.checked);
    model.save_changes();
  });

  function showPicture() {
    const view = model.get("picture");
    const context = seen.getContext("2d");
    const size = seen.width / 28;
    for (let i = 0; i < 784; i++) {
      const gray = view.byteLength ? 255 - view.getUint8(i) : 255;
      context.fillStyle = `rgb(${gray}, ${gray}, ${gray})`;
      context.fillRect((i % 28) * size, Math.floor(i / 28) * size, size + 0.5, size + 0.5);
    }
  }

  function showProbabilities() {
    const probabilities = model.get("probabilities");
    bars.replaceChildren();
    for (let digit = 0; digit < 10; digit++) {
      const percent = Math.round(100 * (probabilities[digit] || 0));
      const row = element("div", { className: "row", role: "listitem" }, bars);
      element("span", { textContent: digit, className: "digit" }, row);
      const bar = element("span", { className: "bar" }, row);
      bar.style.width = `${percent * 1.2}px`;
      element("span", { textContent: probabilities.length ? `${percent} %` : "" }, row);
    }
  }

  model.on("change:picture", showPicture);
  model.on("change:probabilities", showProbabilities);
  redraw();
  showPicture();
  showProbabilities();
}

export default { render };
