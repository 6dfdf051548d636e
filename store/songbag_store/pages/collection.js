"use strict";
/* The page of a collection: the map of songs, coloured by a column, and the song that is chosen on it. */
(() => {
  const { data, element, draw } = songbag, shown = document.getElementById("pictures");
  if (shown) shown.replaceChildren(...data.pictures.map(([song, picture]) => element("figure", {}, element("figcaption", {}, song),
    element("img", { class: "picture", alt: `Features of ${song}`, src: picture }))));
  const host = document.getElementById("map"), place = document.getElementById("song");
  if (!host || !place || !data.ids) return;
  const pictures = new Map(data.pictures);
  let members = [];
  const words = "Each dot is a song; near dots sound alike by the statistics of their features.";
  const chart = element("figure", { class: "chart" });
  function show(at) {
    const facts = data.titles.map((title, column) => [title, data.details[at][column]]).filter(([, value]) => value !== "");
    const audio = data.audio[at] && element("audio", { controls: true, preload: "none", "aria-label": `Audio of ${data.ids[at]}`,
      src: data.audio[at] + (data.starts[at] ? `#t=${data.starts[at]}` : "") });
    place.replaceChildren(element("h3", { tabindex: "-1" }, data.ids[at]), audio || element("p", { class: "quiet" }, "The audio file of this song cannot be reached from here."),
      element("dl", { class: "facts" }, ...facts.map(([title, value]) => element("div", {}, element("dt", {}, title), element("dd", {}, value)))));
    if (pictures.has(data.ids[at])) place.append(element("img", { class: "picture", alt: `Features of ${data.ids[at]}`, src: pictures.get(data.ids[at]) }));
  }
  function colour(number) {
    const column = data.columns[number] || { groups: [], of: data.ids.map(() => 0) };
    const groups = column.groups.length ? column.groups.map((_, group) => group) : [0];
    const sets = [...groups, -1].map((group) => [group, data.ids.map((_, at) => at).filter((at) => column.of[at] === group)]).filter(([, own]) => own.length);
    members = sets.map(([, own]) => own);
    draw(chart, { words, height: 460, x: { label: "first component" }, y: { label: "second component" },
      layers: sets.map(([group, own]) => ({ kind: "points", colour: group, choose: true, name: group < 0 ? "other or none" : column.groups[group] || "songs",
        columns: { x: own.map((at) => data.x[at]), y: own.map((at) => data.y[at]), song: own.map((at) => data.ids[at]) }, tips: [["", "@song"]] })) }, "map");
  }
  songbag.onItem("map", (layer, item) => show(members[layer][item]));
  const select = element("select", { id: "colour", onchange: () => colour(select.selectedIndex) }, ...data.columns.map((one) => element("option", {}, one.name)));
  const finder = element("input", { type: "search", list: "ids", placeholder: "Find a song", "aria-label": "Find a song on the map",
    onchange: () => { const at = data.ids.indexOf(finder.value); if (at >= 0) show(at); } });
  const names = element("datalist", { id: "ids" }, ...data.ids.map((one) => element("option", { value: one })));
  host.replaceChildren(element("div", { class: "tools" }, data.columns.length ? element("label", { for: "colour" }, "Colour by ", select) : null, finder, names), chart);
  colour(0);
  show(0);
})();
