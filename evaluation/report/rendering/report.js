"use strict";
// Draws the charts and the pictures from the JSON in the page. Loads nothing.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const faded = (name, opacity) => colour(name) + Math.round(255 * opacity).toString(16).padStart(2, "0");
const short = (value) => Number(value.toPrecision(3)).toString();
// Plotly interprets some HTML in texts of a chart; names must be shown literally.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const SYMBOLS = ["triangle-up-open", "square-open", "diamond-open", "cross-open", "star-open"];
const PHASES = [["train", 1], ["evaluate", 0.5]];
const MULTIRATE_COLOURS = 3;
const SINGLE_COLOURS = 5;

// One colour and symbol for each series: multi-rate ones from one family of colours, single ones from another.
const styles = new Map();
for (const multirate of [true, false]) {
  data.series.filter((one) => one.multirate === multirate).forEach((one, rank) => {
    const family = multirate ? `multirate-${rank % MULTIRATE_COLOURS}` : `single-${rank % SINGLE_COLOURS}`;
    styles.set(one.name, { colour: family, symbol: multirate ? "circle" : SYMBOLS[rank % SYMBOLS.length], multirate });
  });
}

function axis(title, options = {}) {
  return {
    title: { text: title, standoff: 8, font: { size: 12 } },
    gridcolor: colour("line"), zeroline: false, linecolor: colour("line"), automargin: true, ...options,
  };
}

function layout(width, height, xaxis, yaxis, options = {}) {
  return {
    height, width, xaxis, yaxis,
    autosize: false,
    margin: { l: 54, r: 12, t: 8, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: 'system-ui, "DejaVu Sans", sans-serif', size: 12, color: colour("muted") },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colour("text") } },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("text") },
    // A finger on a chart scrolls the page.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    ...options,
  };
}

// Plotly follows the window; a chart also changes its width with the columns of the page.
const resizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.layout && Math.abs(target.layout.width - target.clientWidth) > 1) Plotly.relayout(target, { width: target.clientWidth });
  }
});

function draw(target, traces, figure) {
  // Without a pointer that hovers the buttons would always cover the legend.
  const hovers = matchMedia("(hover: hover)").matches;
  const config = {
    displayModeBar: hovers ? "hover" : false, 
    displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  Plotly.react(target, traces, figure, config);
  resizes.observe(target);
}

function seriesTrace(curve, seen, x, y) {
  const style = styles.get(curve.series);
  const first = !seen.has(curve.series);
  seen.add(curve.series);
  return {
    x, y, type: "scatter", mode: "lines+markers", name: plain(curve.series),
    legendgroup: curve.series, showlegend: first,
    line: { color: colour(style.colour), width: style.multirate ? 2.2 : 1, dash: style.multirate ? "solid" : "dash" },
    marker: { color: colour(style.colour), symbol: style.symbol, size: style.multirate ? 5.5 : 9, line: { width: 1.6, color: colour(style.colour) } },
  };
}

function bandTraces(band) {
  const edge = {
    x: band.rates, type: "scatter", mode: "lines", line: { width: 0 }, legendgroup: band.series, showlegend: false, hoverinfo: "skip",
  };
  return [{ ...edge, y: band.low }, { ...edge, y: band.high, fill: "tonexty", fillcolor: faded(styles.get(band.series).colour, 0.16) }];
}

function planeTraces(plane) {
  const seen = new Set();
  const traces = plane.bands.flatMap(bandTraces);
  // The line is the interpolated lower envelope, by which curves are compared; the points may be above it.
  traces.push(...plane.curves.filter((curve) => curve.line.rates.length > 0).map((curve) => ({
    ...seriesTrace(curve, seen, curve.line.rates, curve.line.distortions), mode: "lines", hoverinfo: "skip",
  })));
  traces.push(...plane.curves.map((curve) => ({
    ...seriesTrace(curve, seen, curve.rates, curve.distortions), mode: "markers",
    customdata: curve.betas.map((beta, index) => [beta, curve.seed, curve.elbos[index]?.toPrecision(4) ?? "–", curve.active_units[index] ?? "–"]),
    hovertemplate: `<b>${plain(curve.series)}</b>, β %{customdata[0]}<br>rate %{x:.4g} nats<br>distortion %{y:.4g}<br>` +
      "ELBO %{customdata[2]}<br>active units %{customdata[3]}<br>seed %{customdata[1]}<extra></extra>",
  })));
  if (element("front").checked) {
    traces.push({
      x: plane.front.map((point) => point[0]), y: plane.front.map((point) => point[1]), type: "scatter", mode: "markers",
      name: "on the Pareto front", hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 15, color: colour("text"), line: { width: 1 } },
    });
  }
  return traces;
}

function drawPlanes() {
  const logarithmic = element("logarithmic").checked;
  data.planes.forEach((plane, index) => {
    const target = element(`plane-${index}`);
    const ends = data.rates ?? [];
    const rules = ends.map((rate) => ({
      type: "line", x0: rate, x1: rate, yref: "paper", y0: 0, y1: 1, line: { color: colour("muted"), width: 1, dash: "dot" },
    }));
    const x = axis("rate, nats", { type: logarithmic ? "log" : "linear", rangemode: "tozero" });
    const notes = ends.length ? [{
      x: logarithmic ? Math.log10(ends[1]) : ends[1], y: 1, xref: "x", yref: "paper", xanchor: "right", yanchor: "top",
      text: "rates compared", showarrow: false, font: { size: 11 }, xshift: -4,
    }] : [];
    draw(target, planeTraces(plane), layout(target.clientWidth, 430, x, axis(`distortion, ${plain(plane.unit)}`), { shapes: rules, annotations: notes }));
  });
}

function timeUnit(longest) {
  if (longest < 120) return [1, "s"];
  return longest < 7200 ? [60, "min"] : [3600, "h"];
}

function barLabel(row, devices) {
  return plain(devices.size > 1 ? `${row.series} on ${row.device}` : row.series) + " ";
}

function drawCompute() {
  const target = element("compute");
  if (data.compute.length === 0) return;
  const devices = new Set(data.compute.map((row) => row.device));
  const labels = [...new Set(data.compute.map((row) => barLabel(row, devices)))];
  const total = (matches) => labels.map((label) => data.compute
    .filter((row) => barLabel(row, devices) === label && matches(row))
    .reduce((sum, row) => sum + row.device_seconds, 0));
  const [divisor, unit] = timeUnit(Math.max(0, ...total(() => true)));
  const names = labels.map((label) => styles.get(data.compute.find((row) => barLabel(row, devices) === label).series).colour);
  const bar = (name, seconds, marker) => ({
    type: "bar", orientation: "h", name, y: labels, x: seconds.map((value) => value / divisor), marker, width: 0.55,
    hovertemplate: `%{y}<br>${name} %{x:.3g} ${unit}<extra></extra>`,
  });
  const traces = PHASES.map(([phase, opacity]) => bar(phase, total((row) => row.phase === phase), { color: names.map((name) => faded(name, opacity)) }));
  const whole = total(() => true);
  const notes = labels.map((label, index) => ({
    x: whole[index] / divisor, y: label, text: `${short(whole[index] / divisor)} ${unit}`,
    showarrow: false, xanchor: "left", xshift: 5, font: { color: colour("text") },
  }));
  const y = axis("", { autorange: "reversed", tickfont: { color: colour("text") } });
  const x = axis(`${data.clock}, ${unit}`, { range: [0, 1.2 * Math.max(0, ...total(() => true)) / divisor || 1], tickformat: "~r" });
  draw(target, traces, layout(target.clientWidth, 104 + 44 * labels.length, x, y, {
    barmode: "stack", annotations: notes, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", font: { color: colour("text") } },
  }));
}

function drawFrontiers() {
  if (data.frontiers.length === 0) return;
  const target = element("frontiers");
  const longest = Math.max(...data.frontiers.map((line) => line.spent));
  const [divisor, unit] = timeUnit(longest);
  const seen = new Set();
  const traces = data.frontiers.map((line) => {
    const steps = line.device_seconds.length;
    // The line continues at its last quality to the longest training, without a marker.
    const seconds = [...line.device_seconds, Math.max(longest, line.device_seconds[steps - 1])];
    const trace = seriesTrace(line, seen, seconds.map((value) => value / divisor), [...line.qualities, line.qualities[steps - 1]]);
    return {
      ...trace, line: { ...trace.line, dash: "solid", shape: "hv", width: 1.4 },
      marker: { ...trace.marker, size: seconds.map((_, index) => (index < steps ? 5.5 : 0)) },
      customdata: [...line.reached_by, line.reached_by[steps - 1]],
      hovertemplate: `<b>${plain(line.series)}</b>, %{customdata}<br>hypervolume %{y:.3f}<br>%{x:.3g} ${unit} of training<br>` +
        `seed ${line.seed}<extra></extra>`,
    };
  });
  const x = axis(`${data.clock} of training, ${unit}`, { type: "log", tickformat: "~r", dtick: "D2" });
  draw(target, traces, layout(target.clientWidth, 300, x, axis("hypervolume", { rangemode: "tozero" })));
}

function drawMetric() {
  if (data.metrics.length === 0) return;
  const metric = data.metrics[element("metric").selectedIndex];
  const target = element("metric-chart");
  const seen = new Set();
  const traces = metric.curves.filter((curve) => curve.values.length > 0).map((curve) => ({
    ...seriesTrace(curve, seen, curve.betas, curve.values),
    hovertemplate: `<b>${plain(curve.series)}</b>, β %{x:.3g}<br>${metric.label} %{y:.4g}<br>seed ${curve.seed}<extra></extra>`,
  }));
  element("metric-direction").textContent = metric.direction;
  target.setAttribute("aria-label", `${metric.label} against β`);
  draw(target, traces, layout(target.clientWidth, 320, axis("β", { type: "log", dtick: 1 }), axis(metric.label)));
}

function drawHistory() {
  if (data.history.length === 0) return;
  const choice = element("history-curve");
  element("history-section").hidden = false;
  const seen = new Set();
  const traces = data.history.map((trial) => {
    const style = styles.get(trial.series);
    const first = !seen.has(trial.series);
    seen.add(trial.series);
    return {
      x: trial.epochs, y: trial[choice.value], type: "scatter", mode: trial.epochs.length > 1 ? "lines" : "markers",
      name: plain(trial.series), legendgroup: trial.series, showlegend: first, opacity: style.multirate ? 1 : 0.75,
      line: { color: colour(style.colour), width: style.multirate ? 2.2 : 1.1 }, marker: { color: colour(style.colour) },
      hovertemplate: `<b>${plain(trial.series)}</b>, β ${trial.betas}<br>epoch %{x}: %{y:.4g}<br>seed ${trial.seed}<extra></extra>`,
    };
  });
  const target = element("history");
  draw(target, traces, layout(target.clientWidth, 300, axis("epoch"), axis(choice.selectedOptions[0].textContent)));
}

// Pictures: a sprite has one row for each β and one column for each image; a strip shows one row of it.

function strip(parent, label) {
  const row = document.createElement("div");
  row.className = "strip";
  const words = document.createElement("div");
  const name = document.createElement("span");
  name.textContent = label;
  const beta = document.createElement("span");
  beta.className = "beta";
  words.append(name, beta);
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  row.append(words, canvas);
  parent.append(row);
  return { canvas, name, beta, label };
}

function paint(canvas, image, row, shown) {
  const gap = Math.max(1, Math.round(shown.width / 14));
  const scale = Math.max(1, Math.ceil(1200 / (shown.count * shown.width)));
  canvas.width = scale * (shown.count * (shown.width + gap) - gap);
  canvas.height = scale * shown.height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let column = 0; column < shown.count; column += 1) {
    context.drawImage(
      image, column * shown.width, row * shown.height, shown.width, shown.height,
      scale * column * (shown.width + gap), 0, scale * shown.width, scale * shown.height,
    );
  }
}

async function decoded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function nearest(betas, beta) {
  const distances = betas.map((other) => Math.abs(Math.log(other / beta)));
  return distances.indexOf(Math.min(...distances));
}

async function showSeed(shown) {
  const sprites = [shown.originals, ...shown.series.flatMap((one) => [one.reconstructions, one.samples])];
  const images = new Map(await Promise.all(sprites.map(async (address) => [address, await decoded(address)])));
  // Another seed may have been chosen while the images were decoded.
  if (data.pictures[element("seed").selectedIndex] !== shown) return;
  const slider = element("beta");
  const parents = { reconstructions: element("reconstructions"), samples: element("samples") };
  Object.values(parents).forEach((parent) => parent.replaceChildren());
  const originals = strip(parents.reconstructions, "test images");
  originals.canvas.setAttribute("aria-label", "test images");
  paint(originals.canvas, images.get(shown.originals), 0, shown);
  const strips = [];
  for (const kind of ["reconstructions", "samples"]) {
    for (const one of shown.series) {
      strips.push({ ...strip(parents[kind], one.name), betas: one.betas, image: images.get(one[kind]) });
    }
  }
  const multirate = shown.series.filter((one) => styles.get(one.name).multirate);
  const betas = [...new Set((multirate.length ? multirate.slice(0, 1) : shown.series).flatMap((one) => one.betas))].sort((a, b) => a - b);
  const update = () => {
    const beta = betas[Number(slider.value)];
    element("beta-value").textContent = short(beta);
    slider.setAttribute("aria-valuetext", `β ${short(beta)}`);
    for (const one of strips) {
      const row = nearest(one.betas, beta);
      const same = Math.abs(Math.log(one.betas[row] / beta)) < 1e-6;
      one.beta.textContent = same ? "" : `, nearest β ${short(one.betas[row])}`;
      one.canvas.setAttribute("aria-label", `${one.label} at β ${short(one.betas[row])}`);
      paint(one.canvas, one.image, row, shown);
    }
  };
  const fraction = slider.max > 0 ? slider.value / slider.max : 0.5;
  slider.max = betas.length - 1;
  slider.value = Math.round(fraction * (betas.length - 1));
  slider.oninput = update;
  update();
}

function startPictures() {
  if (data.pictures.length === 0) return;
  element("pictures").hidden = false;
  element("beta").max = 0;
  const choice = element("seed");
  for (const shown of data.pictures) {
    choice.add(new Option(String(shown.seed)));
  }
  element("picture-seed").hidden = data.pictures.length === 1;
  choice.onchange = () => showSeed(data.pictures[choice.selectedIndex]);
  showSeed(data.pictures[0]);
}

// Latent traversals: a sprite for each β, with one row for each unit and one column for each of its values.

const traversed = data.pictures.filter((shown) => shown.traversals?.length);
let traversalBeta; // the last shown β, kept when another method or seed is chosen

function traversalRows(step) {
  const parent = element("traversal-units");
  const head = document.createElement("div");
  head.className = "strip values";
  const values = document.createElement("div");
  for (const value of step.values) {
    const place = document.createElement("span");
    place.textContent = Number(value.toFixed(2)).toString().replace("-", "−");
    values.append(place);
  }
  head.append(document.createElement("div"), values);
  parent.replaceChildren(head);
  return step.units.map(() => strip(parent, ""));
}

async function showTraversals() {
  const shown = traversed[element("traversal-seed").selectedIndex];
  const method = element("traversal-method");
  const one = shown.traversals[method.selectedIndex];
  const images = await Promise.all(one.steps.map((step) => decoded(step.images)));
  // Something else may have been chosen while the images were decoded.
  if (traversed[element("traversal-seed").selectedIndex] !== shown || shown.traversals[method.selectedIndex] !== one) return;
  const slider = element("traversal-beta");
  const betas = one.steps.map((step) => step.beta);
  const rows = traversalRows(one.steps[0]);
  const update = () => {
    const step = one.steps[Number(slider.value)];
    traversalBeta = step.beta;
    element("traversal-beta-value").textContent = short(step.beta);
    slider.setAttribute("aria-valuetext", `β ${short(step.beta)}`);
    rows.forEach(({ canvas, name, beta }, row) => {
      const variance = step.variances[row] === null ? "not a number" : short(step.variances[row]);
      name.textContent = `unit ${step.units[row]}`;
      beta.textContent = `, variance ${variance}`;
      canvas.setAttribute("aria-label", `${one.name}, unit ${step.units[row]} from ${short(step.values[0])} to ${short(step.values.at(-1))}, at β ${short(step.beta)}`);
      paint(canvas, images[Number(slider.value)], row, { ...shown, count: step.values.length });
    });
  };
  slider.max = betas.length - 1;
  slider.value = traversalBeta === undefined ? Math.round((betas.length - 1) / 2) : nearest(betas, traversalBeta);
  slider.oninput = update;
  update();
}

function chooseTraversalSeed() {
  const method = element("traversal-method");
  const before = method.value;
  const names = traversed[element("traversal-seed").selectedIndex].traversals.map((one) => one.name);
  method.replaceChildren(...names.map((name) => new Option(name)));
  method.selectedIndex = Math.max(0, names.indexOf(before));
  showTraversals();
}

function startTraversals() {
  if (traversed.length === 0) return;
  element("traversals").hidden = false;
  for (const shown of traversed) element("traversal-seed").add(new Option(String(shown.seed)));
  element("traversal-seed-label").hidden = traversed.length === 1;
  const without = data.pictures.filter((shown) => shown.traversals === null).map((shown) => shown.seed);
  element("traversals-left-out").hidden = without.length === 0;
  element("traversals-left-out").textContent =
    `Left out to limit the size of the page: seed${without.length > 1 ? "s" : ""} ${without.join(", ")}.`;
  element("traversal-seed").onchange = chooseTraversalSeed;
  element("traversal-method").onchange = showTraversals;
  chooseTraversalSeed();
}

// Texts: one sentence at a time, with the reconstruction and a sample of each method.

function showTexts() {
  const shown = data.texts[element("text-seed").selectedIndex];
  const number = element("sentence").selectedIndex;
  const multirate = shown.series.filter((one) => styles.get(one.name).multirate);
  const betas = [...new Set((multirate.length ? multirate.slice(0, 1) : shown.series).flatMap((one) => one.betas))].sort((a, b) => a - b);
  const slider = element("text-beta");
  if (Number(slider.max) !== betas.length - 1 || slider.dataset.started === undefined) {
    slider.max = betas.length - 1;
    slider.value = Math.round((betas.length - 1) / 2);
    slider.dataset.started = "";
  }
  const beta = betas[Number(slider.value)];
  element("text-beta-value").textContent = short(beta);
  slider.setAttribute("aria-valuetext", `β ${short(beta)}`);
  const list = element("sentences");
  const entry = (head, text) => {
    const term = document.createElement("dt");
    term.textContent = head;
    const meaning = document.createElement("dd");
    meaning.textContent = text || "(no words)";
    list.append(term, meaning);
  };
  list.replaceChildren();
  entry("test sentence", shown.originals[number]);
  for (const one of shown.series) {
    const row = nearest(one.betas, beta);
    const same = Math.abs(Math.log(one.betas[row] / beta)) < 1e-6;
    const name = same ? one.name : `${one.name}, nearest β ${short(one.betas[row])}`;
    entry(`${name}: most likely words`, one.greedy[row][number]);
    entry(`${name}: sampled words`, one.sampled[row][number]);
    entry(`${name}: sample from the prior`, one.samples[row][number]);
  }
}

function startTexts() {
  if (data.texts.length === 0) return;
  element("texts").hidden = false;
  for (const shown of data.texts) element("text-seed").add(new Option(String(shown.seed)));
  data.texts[0].originals.forEach((_, index) => element("sentence").add(new Option(String(index + 1))));
  element("text-seed-label").hidden = data.texts.length === 1;
  for (const control of ["text-seed", "sentence", "text-beta"]) element(control).oninput = showTexts;
  showTexts();
}

function drawCharts() {
  drawPlanes();
  drawCompute();
  drawFrontiers();
  drawMetric();
  drawHistory();
}

data.planes.forEach((plane, index) => {
  const target = document.createElement("div");
  target.id = `plane-${index}`;
  target.className = "chart";
  target.setAttribute("role", "img");
  target.setAttribute("aria-label", `Rate against distortion in ${plane.unit}`);
  element("planes").append(target);
});
element("front").onchange = drawPlanes;
element("logarithmic").onchange = drawPlanes;
element("history-curve").onchange = drawHistory;
element("metric").onchange = drawMetric;
element("bands-note").hidden = data.planes.every((plane) => plane.bands.length === 0);
for (const metric of data.metrics) element("metric").add(new Option(metric.label));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
for (const part of document.querySelectorAll("[data-needs]")) part.hidden = data[part.dataset.needs].length === 0;
for (const part of document.querySelectorAll("[data-lacks]")) part.hidden = data[part.dataset.lacks].length > 0;
// A link to a folded part unfolds it.
const unfold = () => { if (location.hash) document.getElementById(location.hash.slice(1))?.setAttribute("open", ""); };
addEventListener("hashchange", unfold);
unfold();
startPictures();
startTraversals();
startTexts();
drawCharts();
