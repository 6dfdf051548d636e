"use strict";
/* The page of a run: what a chosen song sounds like to the model, and the songs of a cell of the confusion matrix. */
(() => {
  const { data, element, draw, tables } = songbag, songs = tables.songs, host = document.getElementById("song");
  if (!songs || !host || !songs.rows) return;
  const [SONG, LABEL, ANSWER, CONFIDENCE, RIGHT, SPLIT] = [0, 1, 2, 3, 4, 5];
  const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

  function decoded(own, followed) {
    const bytes = Uint8Array.from(atob(own.bytes), (letter) => letter.charCodeAt(0));
    const rows = Array.from({ length: followed + 1 }, (_, row) => Array.from(bytes.slice(row * own.n, (row + 1) * own.n)));
    return { shares: rows.slice(0, followed).map((row) => row.map((one) => one / 255)), weights: rows[followed].map((one) => (one / 255) * own.most) };
  }
  function charts(own, followed) {
    const { shares, weights } = decoded(own, followed.length);
    const starts = weights.map((_, at) => own.begin + at * own.step), ends = [own.begin, Math.max(own.end, own.begin + own.step)];
    const stop = (at) => (at + 1 < starts.length ? starts[at + 1] : ends[1]);
    const x = [...starts, ends[1]];
    const lines = followed.map((number, row) => ({ kind: "step", columns: { x, y: [...shares[row], shares[row][own.n - 1]] },
      name: data.classes[number], colour: row % 8, tips: [["at", "@x{0.0} s"], ["", "@y{0.00}"]] }));
    const bars = { kind: "bars", columns: { left: starts, right: starts.map((_, at) => stop(at)), bottom: weights.map(() => 0), top: weights },
      name: "", colour: 2, tips: [["from", "@left{0.0} s"], ["weight", "@top{0.000}"]] };
    const first = element("figure", { class: "chart" }), second = element("figure", { class: "chart" });
    host.append(element("h4", {}, "Probability of the classes, window by window"), first, element("h4", {}, "Weight in the answer"), second);
    draw(first, { layers: lines, height: 210, words: "Class probabilities over the seconds of the song", x: { label: "", ends }, y: { label: "", ends: [-0.02, 1.04] } });
    draw(second, { layers: [bars], height: 120, words: "Weight of each window in the pooling", x: { label: "seconds", ends }, y: { label: "", ends: [0, own.most * 1.1 || 1] } });
    return { shares, weights, starts };
  }
  function deciding(own, followed, { shares, weights, starts }, audio, offset) {
    const order = weights.map((_, at) => at).sort((a, b) => weights[b] - weights[a] || a - b).slice(0, 3).sort((a, b) => a - b);
    const list = element("ul");
    for (const at of order) {
      const best = followed.map((_, row) => row).sort((a, b) => shares[b][at] - shares[a][at])[0];
      const stop = Math.min(starts[at] + own.length, Math.max(own.end, starts[at]));
      const words = `${clock(starts[at])} to ${clock(stop)}`, what = `: weight ${weights[at].toFixed(3)}, most like ${data.classes[followed[best]]} (${shares[best][at].toFixed(2)})`;
      const play = audio && element("button", { type: "button", onclick: () => { audio.currentTime = offset + starts[at]; audio.play(); } }, words);
      list.append(element("li", {}, play || words, what));
    }
    host.append(element("h4", {}, "Where the largest weights lie"), list);
  }
  function turning({ turns }) {
    const list = element("ul"), add = (words) => list.append(element("li", {}, words));
    if (!turns) add("The files of this run do not tell it; songbag explain does.");
    else if (!turns.n) add("No single window, left out, would change the answer.");
    else {
      for (const [from, to, numbers] of turns.first) add(`Without ${clock(from)} to ${clock(to)} it would be ${numbers.map((one) => data.classes[one]).join(", ") || "no class"}.`);
      if (turns.n > turns.first.length) add(`So it would without each of ${turns.n - turns.first.length} more.`);
    }
    host.append(element("h4", {}, "What would change the answer"), list);
  }
  function choose(row, byHand) {
    const own = data.songs[row], value = (column) => songs.value(row, column);
    host.replaceChildren(element("h3", { tabindex: "-1" }, value(SONG)), element("div", { class: "song-head" },
      element("span", {}, `label ${value(LABEL)}`), element("span", { class: value(RIGHT) }, `answer ${value(ANSWER)} (${(100 * value(CONFIDENCE)).toFixed(1)} %), ${value(RIGHT)}`),
      element("span", { class: "quiet" }, value(SPLIT))));
    let audio = null;
    const offset = own.from || 0;
    if (own.audio) {
      audio = element("audio", { controls: true, preload: "none", src: own.audio + (own.from === undefined ? "" : `#t=${own.from}${own.to ? "," + own.to : ""}`), "aria-label": `Audio of ${value(SONG)}` });
      host.append(audio);
    }
    if (own.timeline) {
      const found = charts(own.timeline, own.followed);
      if (own.timeline.joined > 1) host.append(element("p", { class: "quiet" }, `Each step joins ${own.timeline.joined} windows.`));
      deciding(own.timeline, own.followed, found, audio, offset);
      turning(own.timeline);
    } else host.append(element("p", { class: "quiet" }, "The page does not hold what single windows of this song say; windows.parquet does."));
    if (own.picture) host.append(element("h4", {}, "Features: seconds to the right, coefficients upwards, each against its own mean"), element("img", { class: "picture", alt: `Features of ${value(SONG)}`, src: own.picture }));
    if (!own.audio) host.append(element("p", { class: "quiet" }, "The audio file of this song cannot be reached from here."));
    if (byHand) { host.scrollIntoView({ block: "nearest" }); host.querySelector("h3").focus({ preventScroll: true }); }
  }
  songbag.onChoose("songs", choose);
  songs.choose(0);

  const judged = data.judged;
  function list(words, test) {
    songs.only(words, (row) => (judged === null || songs.value(row, SPLIT) === judged) && test(row));
    songs.show();
    if (songs.first() !== undefined) songs.choose(songs.first());
  }
  songbag.onCell("confusion", (row, column) => list(`${data.classes[row]} answered as ${data.classes[column]}`,
    (one) => songs.value(one, LABEL) === data.classes[row] && songs.value(one, ANSWER) === data.classes[column]));
  songbag.onChoose("pairs", (row) => list(`${tables.pairs.value(row, 0)} answered as ${tables.pairs.value(row, 1)}`,
    (one) => songs.value(one, LABEL) === tables.pairs.value(row, 0) && songs.value(one, ANSWER) === tables.pairs.value(row, 1)));
  songbag.onChoose("classes", (row) => {
    const name = tables.classes.value(row, 0), has = (one, column) => songs.value(one, column) === name || songs.value(one, column).split(", ").includes(name);
    list(`label or answer ${name}`, (one) => has(one, LABEL) || has(one, ANSWER));
  });
})();
