"use strict";
/* The script of every page: theme, charts by BokehJS, tables, matrices. A page's own script may call
     songbag.data                            Page.data
     songbag.element(tag, fields, ...inside) makes an element; strings inside are text, never markup
     songbag.draw(host, spec)                draws a chart, with the fields of a `Chart`, into an element
     songbag.tables[key].only(words, test)   shows only the rows for which test(row) is true; no test: all
     songbag.tables[key].value(row, column)  the value of a cell; .choose(row) chooses a row
     songbag.onChoose(key, take)             take(row) when a row of a table is chosen
     songbag.onCell(key, take)               take(row, column) when a cell of a matrix is clicked
     songbag.onItem(key, take)               take(layer, item) when an item of a chart is clicked  */
const songbag = (() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const drawn = new Map(), tables = {}, choosing = {}, cells = {}, items = {};
  const root = document.documentElement;

  function element(tag, fields = {}, ...inside) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(fields)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "class") made.className = value;
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...inside.filter((one) => one !== null && one !== undefined));
    return made;
  }

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  function colour(name) {
    const probe = element("i"); probe.style.color = `var(--${name})`; document.body.append(probe);
    const found = getComputedStyle(probe).color; probe.remove();
    return found;
  }

  // Charts. Names of strangers go into plain text: a delimiter in them would otherwise be read as a formula.
  function axis(own, model) {
    model.setv({ axis_label_text_color: colour("quiet"), major_label_text_color: colour("quiet"), axis_line_color: colour("rule"),
      major_tick_line_color: null, minor_tick_line_color: null, axis_label_text_font_style: "normal",
      axis_label_text_font_size: "12px", major_label_text_font_size: "11px", axis_label_text_font: "system-ui, sans-serif",
      major_label_text_font: "system-ui, sans-serif" });
    if (own.counts) model.ticker.min_interval = 1;
    if (own.names) {
      const short = (name) => (name.length > 22 ? name.slice(0, 21) + "…" : name);
      model.setv({ ticker: new Bokeh.FixedTicker({ ticks: own.names.map((_, at) => at) }),
        major_label_overrides: new Map(own.names.map((name, at) => [at, new Bokeh.PlainText({ text: short(name) })])) });
    }
  }
  function glyph(figure, layer, source) {
    const line = colour(`c${layer.colour}`), at = (field) => ({ field });
    let fill = line;
    if (layer.colours) {
      source.data.colour = layer.colours.map((one) => colour(`c${one}`)); fill = at("colour");
    }
    const look = { source, line_color: line, line_width: 2, line_dash: layer.dashed ? [5, 4] : [] };
    if (layer.kind === "line") return figure.line({ x: at("x"), y: at("y"), ...look });
    if (layer.kind === "step") return figure.step({ x: at("x"), y: at("y"), mode: "after", ...look });
    if (layer.kind === "band") return figure.varea({ x: at("x"), y1: at("low"), y2: at("high"), source, fill_color: line, fill_alpha: 0.18 });
    if (layer.kind === "bars") return figure.quad({ left: at("left"), right: at("right"), bottom: at("bottom"), top: at("top"), source, fill_color: fill, line_color: colour("card"), line_width: 1 });
    if (layer.kind === "text") return figure.text({ x: at("x"), y: at("y"), text: at("text"), source, text_align: "center", text_baseline: "bottom", text_color: colour("ink"), text_font_size: "11px", text_font: "system-ui, sans-serif" });
    return figure.scatter({ x: at("x"), y: at("y"), source, size: 8, fill_color: fill, line_color: colour("card"), fill_alpha: 0.85 });
  }
  function draw(host, spec, key) {
    drawn.set(host, [spec, key]);
    for (const old of host.querySelectorAll(":scope > .canvas, :scope > .legend")) old.remove();
    const named = spec.layers.filter((layer) => layer.name);
    if (named.length > 1) host.append(element("div", { class: "legend" }, ...named.map((layer) => {
      const own = element("span", {}, layer.name); own.style.setProperty("--own", `var(--c${layer.colour})`); return own;
    })));
    const box = element("div", { class: "canvas", role: "img", "aria-label": spec.words || "" });
    box.style.background = colour("card");
    host.append(box);
    const ends = (own) => (own.ends ? { start: own.ends[0], end: own.ends[1] } : null);
    const figure = Bokeh.Plotting.figure({ height: spec.height, sizing_mode: "stretch_width", toolbar_location: null, tools: [],
      x_axis_label: spec.x.label || null, y_axis_label: spec.y.label || null, background_fill_color: null, border_fill_color: null,
      outline_line_color: null, min_border_left: spec.y.names ? 8 : 58, min_border_right: 14,
      ...(ends(spec.x) ? { x_range: new Bokeh.Range1d(ends(spec.x)) } : {}), ...(ends(spec.y) ? { y_range: new Bokeh.Range1d(ends(spec.y)) } : {}) });
    for (const one of figure.below) axis(spec.x, one);
    for (const one of figure.left) {
      axis(spec.y, one);
      if (!spec.y.names) one.ticker.desired_num_ticks = spec.height < 160 ? 2 : 5;
    }
    for (const one of figure.center) if ("grid_line_color" in one) one.grid_line_color = colour("rule");
    spec.layers.forEach((layer, number) => {
      const source = new Bokeh.ColumnDataSource({ data: { ...layer.columns } });
      const made = glyph(figure, layer, source);
      if (layer.tips && layer.tips.length) figure.add_tools(new Bokeh.HoverTool({ renderers: [made], tooltips: layer.tips }));
      if (layer.choose) {
        figure.add_tools(new Bokeh.TapTool({ renderers: [made] }));
        source.selected.properties.indices.change.connect(() => {
          const [item] = source.selected.indices;
          if (item !== undefined && items[key]) items[key](number, item);
        });
      }
    });
    host.dataset.drawn = isDark() ? "dark" : "light";
    Bokeh.Plotting.show(figure, box);
  }
  // A chart is drawn when it comes near the window, and the others when there is time: all are there to be printed.
  const waiting = new Set();
  function drawNow(host) {
    if (!waiting.delete(host)) return;
    seen.unobserve(host); draw(host, all.charts[host.dataset.chart], host.dataset.chart);
  }
  const seen = new IntersectionObserver((found) => {
    for (const one of found) if (one.isIntersecting) drawNow(one.target);
  }, { rootMargin: "600px" });
  const idle = window.requestIdleCallback || ((then) => setTimeout(then, 50));
  function drawRest() {
    const [next] = waiting;
    if (next) { drawNow(next); idle(drawRest); }
  }

  function table(host, key, spec) {
    const rows = spec.columns[0].values.length;
    const value = (row, column) => { const own = spec.columns[column]; return own.names ? own.names[own.values[row]] : own.values[row]; };
    const shown = (row, column) => {
      const one = value(row, column), kind = spec.columns[column].kind;
      if (one === null || one === undefined) return "–";
      return kind === "share" ? (100 * one).toFixed(1) + " %" : kind === "number" ? one.toLocaleString("en", { maximumSignificantDigits: 5 }) : String(one);
    };
    let text = null, order = Array.from({ length: rows }, (_, row) => row), kept = order, page = 0, sorted = [-1, 1], chosen = -1, test = null;
    const input = element("input", { type: "search", placeholder: "Search", "aria-label": "Search this table", oninput: () => { page = 0; filter(); } });
    const count = element("span", { class: "count", role: "status" }), chip = element("button", { type: "button", class: "chip", onclick: () => only("", null) });
    chip.hidden = true;
    const heads = spec.columns.map((own, column) => element("th", { scope: "col", class: own.kind === "text" ? "" : "number" },
      element("button", { type: "button", onclick: () => sort(column) }, own.title)));
    const body = element("tbody"), where = element("span");
    const turn = (by) => () => { page += by; show(); };
    const back = element("button", { type: "button", onclick: turn(-1) }, "Back"), on = element("button", { type: "button", onclick: turn(1) }, "Next");
    const pager = element("div", { class: "pager" }, back, on, where);
    const tools = element("div", { class: "tools" }, input, chip, count);
    tools.hidden = rows <= 5;
    host.append(tools, element("div", { class: "wide" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)), pager);

    function sort(column) {
      sorted = [column, sorted[0] === column ? -sorted[1] : spec.columns[column].kind === "text" ? 1 : -1];
      const isText = spec.columns[column].kind === "text", compare = new Intl.Collator("en", { numeric: true }).compare;
      const values = order.map((row) => value(row, column)), by = new Map(order.map((row, at) => [row, values[at]]));
      order = [...order].sort((a, b) => {
        const x = by.get(a), y = by.get(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return sorted[1] * (isText ? compare(x, y) : x - y);
      });
      heads.forEach((head, at) => (at === column ? head.setAttribute("aria-sort", sorted[1] > 0 ? "ascending" : "descending") : head.removeAttribute("aria-sort")));
      page = 0; filter();
    }
    function filter() {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (wanted.length && text === null) {
        const own = spec.columns.map((one, at) => at).filter((at) => spec.columns[at].kind === "text");
        text = Array.from({ length: rows }, (_, row) => own.map((at) => value(row, at)).join("\n").toLowerCase());
      }
      kept = order.filter((row) => (test === null || test(row)) && wanted.every((word) => text[row].includes(word)));
      show();
    }
    function show() {
      const pages = Math.max(1, Math.ceil(kept.length / spec.rows));
      page = Math.min(Math.max(page, 0), pages - 1);
      body.replaceChildren(...kept.slice(page * spec.rows, (page + 1) * spec.rows).map((row) => element("tr", { class: row === chosen ? "chosen" : "", "data-row": row },
        ...spec.columns.map((own, column) => element("td", { class: own.kind === "text" ? "" : "number" },
          spec.choose && column === 0 ? element("button", { type: "button", onclick: () => choose(row, true) }, shown(row, column)) : shown(row, column))))));
      count.textContent = `${kept.length.toLocaleString("en")} of ${rows.toLocaleString("en")}`;
      where.textContent = `page ${page + 1} of ${pages}`;
      back.disabled = page === 0; on.disabled = page >= pages - 1; pager.hidden = rows <= spec.rows;
    }
    function only(words, wanted) { test = wanted; chip.textContent = `${words} ✕`; chip.hidden = !wanted; tools.hidden = tools.hidden && !wanted; page = 0; filter(); }
    function choose(row, byHand = false) { chosen = row; show(); if (choosing[key]) choosing[key](row, byHand); }
    show();
    return { value, only, choose, rows, first: () => kept[0], show: () => host.scrollIntoView() };
  }

  const themed = document.getElementById("theme");
  function tint() {
    themed.textContent = isDark() ? "Light" : "Dark";
    for (const [host, [spec, key]] of drawn) host.isConnected ? draw(host, spec, key) : drawn.delete(host);
  }
  themed.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; tint(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tint);
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-matrix] button"), copied = event.target.closest("[data-copy]");
    if (cell) { const take = cells[cell.closest("[data-matrix]").dataset.matrix]; if (take) take(+cell.dataset.row, +cell.dataset.column); }
    if (copied) {
      const range = document.createRange(); range.selectNodeContents(copied.previousElementSibling);
      getSelection().removeAllRanges(); getSelection().addRange(range); document.execCommand("copy"); copied.textContent = "Copied";
    }
  });
  Bokeh.logger.set_level("warn");
  for (const host of document.querySelectorAll("[data-table]")) tables[host.dataset.table] = table(host, host.dataset.table, all.tables[host.dataset.table]);
  for (const host of document.querySelectorAll("[data-chart]")) { waiting.add(host); seen.observe(host); }
  idle(drawRest);
  tint();
  return { data: all.own, element, draw, tables, colour, onChoose: (key, take) => { choosing[key] = take; }, onCell: (key, take) => { cells[key] = take; }, onItem: (key, take) => { items[key] = take; } };
})();
