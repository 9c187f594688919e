// Draws a plotly figure with Plotly.react, so that zoom, selection and brushes outlive reruns, and tells what is clicked.
function plotly(version) {
  window.vitscapePlotly ??= window.Plotly ? Promise.resolve(window.Plotly) : loaded(version);
  return window.vitscapePlotly;
}

// The page loads plotly.js itself (dashboard/assets.py); until the page is complete that may still be under way.
function loaded(version) {
  return new Promise((resolve, reject) => {
    const early = document.readyState !== "complete" && document.querySelector("script[src*='vitscape/plotly']");
    const script = early || document.createElement("script");
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => reject(new Error("plotly.js could not be loaded")));
    if (early) return;
    script.src = new URL(`vitscape/plotly.min.js?v=${version}`, document.baseURI).href;
    document.head.appendChild(script);
  });
}

const charts = new WeakMap(); // element -> what is drawn in it

export default function (component) {
  const { parentElement, data } = component;
  const graph = parentElement.querySelector(".vitscape-chart");
  const chart = charts.get(graph) ?? { drawn: null, observer: null, listening: false };
  charts.set(graph, chart);
  chart.tell = component; // the newest setters
  graph.setAttribute("aria-label", data.alt);
  graph.style.height = `${data.height}px`;
  plotly(data.plotly)
    .then((Plotly) => draw(Plotly, graph, chart, data))
    .catch((error) => {
      graph.textContent = `The chart could not be drawn: ${error.message}. Its numbers are in the table below.`;
    });
  return () => {
    chart.observer?.disconnect();
    if (window.Plotly) window.Plotly.purge(graph);
    charts.delete(graph);
  };
}

async function draw(Plotly, graph, chart, data) {
  if (chart.drawn === data.figure || !charts.has(graph)) return;
  chart.drawn = data.figure;
  const figure = JSON.parse(data.figure);
  delete figure.layout.width;
  figure.layout.autosize = true;
  figure.layout.uirevision = data.revision;
  const config = {
    displaylogo: false,
    showSendToCloud: false, // nothing leaves this machine
    plotlyServerURL: "",
    responsive: false, // the observer below sees the sidebar too
    scrollZoom: false,
    modeBarButtonsToRemove: data.select ? ["autoScale2d"] : ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: data.name },
  };
  await Plotly.react(graph, figure.data, figure.layout, config);
  graph.dataset.painted = String(Number(graph.dataset.painted ?? 0) + 1);
  if (chart.listening) return;
  chart.listening = true;
  graph.on("plotly_click", (event) => {
    const number = event.points.map((point) => [point.customdata].flat()[0]).find(Number.isInteger);
    if (number !== undefined) chart.tell.setTriggerValue("clicked", number);
  });
  graph.on("plotly_selected", (event) => {
    const range = event?.range;
    if (range?.x && range?.y) chart.tell.setStateValue("box", { x: sorted(range.x), y: sorted(range.y) });
  });
  graph.on("plotly_deselect", () => chart.tell.setStateValue("box", null));
  graph.on("plotly_restyle", () => {
    const dimensions = graph.data.flatMap((trace) => trace.dimensions ?? []);
    if (!dimensions.length) return;
    const brushed = dimensions.filter((dimension) => dimension.constraintrange);
    chart.tell.setStateValue(
      "brush",
      Object.fromEntries(brushed.map((dimension) => [dimension.label, sorted(dimension.constraintrange.flat())])),
    );
  });
  chart.observer = new ResizeObserver(() => {
    cancelAnimationFrame(chart.frame);
    chart.frame = requestAnimationFrame(() => fit(Plotly, graph, chart));
  });
  chart.observer.observe(graph.parentElement);
  chart.width = data.width;
  fit(Plotly, graph, chart);
}

// Fills the page's width, and asks for a figure made for it where labels would not fit.
function fit(Plotly, graph, chart) {
  const pixels = Math.round(graph.getBoundingClientRect().width);
  if (!pixels) return;
  if (pixels !== graph._fullLayout?.width) Plotly.Plots.resize(graph);
  if (Math.abs(pixels - chart.width) > 0.08 * chart.width) {
    chart.width = pixels;
    clearTimeout(chart.timer);
    chart.timer = setTimeout(() => chart.tell.setStateValue("width", pixels), 200);
  }
}

const sorted = (values) => [Math.min(...values), Math.max(...values)];
