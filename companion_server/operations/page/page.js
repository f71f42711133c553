"use strict";
const POLL_MS = 2000, SLOWEST_MS = 15000;
const STORED = "headtail-admin-key";
const $ = id => document.getElementById(id);
let timer = 0, failures = 0, lastSeen = 0, pairingEnds = 0, polling = false;
const shown = {};

// --- small things

function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}
function draw(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0, value = Math.abs(count);
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  const digits = unit && value < 10 ? 1 : 0;
  return [(count < 0 ? "−" : "") + value.toFixed(digits), units[unit]];
}
const size = count => bytes(count).join(" ");
function ms(value) {
  if (value === undefined || value === null) return "–";
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
function rate(value) { return value >= 100 ? value.toFixed(0) : value.toFixed(1); }
function count(value) { return value.toLocaleString("en"); }
function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
// a part is drawn again only when what it shows has changed: a selection in it survives
function fill(id, data, build) {
  const text = JSON.stringify(data);
  if (shown[id] === text) return;
  shown[id] = text;
  $(id).replaceChildren(...build(data));
}
const none = text => make("p", {class: "none"}, text);

// --- the parts

function tile(label, value, unit, note) {
  return make("div", {class: "tile"}, make("div", {class: "label"}, label),
    make("div", {class: "value"}, value, unit ? make("small", {}, unit) : null),
    make("div", {class: "note"}, note));
}
function tiles(status) {
  const {window: last, totals, queue} = status, total = last.stages.total;
  const saved = totals.split_raw32_bytes - totals.split_bytes_in;
  const [savedValue, savedUnit] = bytes(saved);
  const times = totals.split_bytes_in ? totals.split_raw32_bytes / totals.split_bytes_in : 0;
  const recent = status.clients.filter(client => client.model && client.seen_s <= 60).length;
  return [
    tile("Requests", rate(last.per_s), "/s", `${count(totals.requests)} since the start`),
    tile("Half within", total ? ms(total.p50_ms) : "–", total ? "ms" : "",
      total ? `95 of 100 within ${ms(total.p95_ms)} ms` : "no inference in the last minute"),
    tile("Bytes saved", savedValue, savedUnit,
      times ? `${times >= 10 ? times.toFixed(0) : times.toFixed(1)}× less than the inputs as raw float32`
        : "no split inference yet"),
    tile("Phones", count(recent), "", `in the last minute; ${plural(status.server.connections, "connection", "connections")} open`),
    tile("Waiting", count(queue.jobs), "", queue.jobs ? `${size(queue.bytes)} of tensors` : "nothing queued"),
  ];
}

const WIDE = 240, HIGH = 80, SECONDS = 60;
function frame(...marks) {
  return draw("svg", {viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img"},
    ...[0, 0.5].map(y => draw("line", {class: "grid", x1: 0, x2: WIDE, y1: y * HIGH, y2: y * HIGH})),
    ...marks, draw("line", {class: "base", x1: 0, x2: WIDE, y1: HIGH, y2: HIGH}));
}
function roof(values) {
  const most = Math.max(1e-9, ...values);
  const step = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(n => n * step).find(top => top >= most * 0.999);
}
function chart(title, legend, svg, label) {
  svg.setAttribute("aria-label", label);
  const words = legend.map(([text, kind]) => make("span", {class: kind}, text));
  return make("figure", {}, make("figcaption", {}, make("b", {}, title), make("span", {class: "legend"}, ...words)), svg,
    make("div", {class: "axis"}, make("span", {}, `${SECONDS} s ago`), make("span", {}, "now")));
}
// after a start there are fewer seconds than the chart is wide
const padded = (values, empty) => [...Array(Math.max(0, SECONDS - values.length)).fill(empty), ...values.slice(-SECONDS)];
function requestChart(series) {
  const requests = padded(series.requests, 0), refused = padded(series.refused, 0);
  const top = Math.max(1, roof(requests)), wide = WIDE / SECONDS;
  const bars = requests.flatMap((n, i) => {
    const high = n / top * HIGH, bad = refused[i] / top * HIGH;
    const at = (y, height, kind) => draw("rect", {class: kind, x: i * wide + wide * 0.12, y, width: wide * 0.76, height});
    return [n ? at(HIGH - high, high, "bar") : null, bad ? at(HIGH - bad, bad, "bar refused") : null].filter(Boolean);
  });
  const legend = [[`top line ${count(top)}`, ""]];
  if (refused.some(Boolean)) legend.unshift(["refused", "key two"]);
  return chart("Requests per second", legend, frame(...bars), `Requests per second, at most ${Math.max(...requests)}`);
}
function path(values, top) {
  const wide = WIDE / SECONDS;
  let text = "", pen = false;
  values.forEach((value, i) => {
    if (value === null) { pen = false; return; }
    const x = ((i + 0.5) * wide).toFixed(2), y = (HIGH - value / top * HIGH).toFixed(2);
    // a second between two without any is a dot
    text += pen ? `L${x} ${y}` : `M${x} ${y}l.01 0`;
    pen = true;
  });
  return text;
}
function timeChart(series) {
  const p50 = padded(series.p50_ms, null), p95 = padded(series.p95_ms, null);
  const known = [...p50, ...p95].filter(value => value !== null);
  if (!known.length) return chart("Time of an inference", [["none in the last minute", ""]], frame(), "No inference");
  const top = roof(known);
  return chart("Time of an inference", [["p50", "key"], ["p95", "key two"], [`top line ${ms(top)} ms`, ""]],
    frame(draw("path", {class: "line two", d: path(p95, top)}), draw("path", {class: "line", d: path(p50, top)})),
    `Time of an inference in ms, at most ${ms(Math.max(...known))}`);
}

const STAGES = [["decode", "Decode"], ["queue", "Queue"], ["compute", "Compute"], ["encode", "Encode"], ["total", "In all"]];
function bar(share, kind) {
  const element = make("i", {class: kind});
  element.style.width = `${Math.min(100, share * 100)}%`;
  return element;
}
function stages(last) {
  if (!last.stages.total) return [none("No inference in the last minute.")];
  const most = Math.max(...STAGES.map(([name]) => last.stages[name].p95_ms), 1e-9);
  const rows = STAGES.flatMap(([name, words]) => {
    const {p50_ms: p50, p95_ms: p95} = last.stages[name], kind = name === "total" ? " total" : "";
    return [make("dt", {class: "name" + kind}, words),
      make("dd", {class: "track"}, bar(p95 / most, "pale"), bar(p50 / most, "")),
      make("dd", {class: "ms" + kind}, ms(p50), make("span", {}, ` · ${ms(p95)} ms`))];
  });
  const largest = Math.max(...last.batches.map(([, n]) => n));
  const batches = last.batches.flatMap(([samples, n]) => [
    make("dt", {class: "name"}, plural(samples, "sample", "samples")), make("dd", {class: "track"}, bar(n / largest, "count")),
    make("dd", {class: "ms"}, count(n))]);
  return [
    make("figure", {}, make("figcaption", {}, make("b", {}, "Stages"), make("span", {}, "p50 · p95")), make("dl", {class: "bars"}, ...rows)),
    make("figure", {}, make("figcaption", {}, make("b", {}, "Computed together"), make("span", {}, "inferences")), make("dl", {class: "bars"}, ...batches)),
  ];
}

function entries(bundle) {
  if (!bundle.entries.length) return null;
  const sizes = [...new Set(bundle.entries.flatMap(entry => Object.keys(entry.ms)))].map(Number).sort((a, b) => a - b);
  const picked = sizes.length > 3 ? [sizes[0], sizes[Math.floor(sizes.length / 2)], sizes[sizes.length - 1]] : sizes;
  const head = make("tr", {}, make("th", {scope: "col"}, "From"), make("th", {scope: "col"}, "Run by"),
    ...picked.map((n, i) => make("th", {scope: "col", class: i && i < picked.length - 1 ? "n wide" : "n"}, n === 1 ? "ms alone" : `ms for ${n}`)));
  const rows = bundle.entries.map(entry => make("tr", {},
    make("th", {scope: "row"}, entry.cut || "the input"), make("td", {class: "soft"}, entry.backend || "–"),
    ...picked.map((n, i) => make("td", {class: i && i < picked.length - 1 ? "n wide" : "n"}, ms(entry.ms[n])))));
  return make("div", {class: "scroll"}, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}
function bundleCard(bundle) {
  const facts = [make("span", {}, make("code", {title: bundle.bundle_id}, bundle.bundle_id.slice(0, 12))), make("span", {}, `${size(bundle.bytes)} to download`)];
  if (bundle.memory_bytes) facts.push(make("span", {}, `${size(bundle.memory_bytes)} in memory`));
  if (bundle.one_sample) facts.push(make("span", {}, "one sample at a time"));
  if (bundle.tuning === "running") facts.push(make("span", {}, "faster forms are being built"));
  return make("article", {class: "bundle"},
    make("div", {class: "head"}, make("h3", {}, bundle.model),
      make("span", {class: `chip ${bundle.state}`}, bundle.state === "no tail" ? "download only" : bundle.state),
      ...bundle.aliases.map(alias => make("span", {class: "chip alias"}, alias))),
    make("p", {class: "facts"}, ...facts),
    bundle.failure ? make("p", {class: "failure"}, bundle.failure) : null, entries(bundle));
}
function bundles(list) {
  if (list.length) return list.map(bundleCard);
  return [make("p", {class: "none"}, "No bundle is held. ", make("code", {}, "headtail publish NAME.bundle --to URL"), " brings one here.")];
}

const seen = client => client.seen_s < 3 ? "now" : `${span(client.seen_s)} ago`;
function clients(list) {
  const phones = list.filter(client => client.model), others = list.filter(client => !client.model);
  const also = others.length ? make("p", {class: "also"}, "Without an inference: "
    + others.slice(0, 20).map(client => `${client.name} (${seen(client)})`).join(", ")) : null;
  return [phones.length ? phoneTable(phones) : none("No phone has asked since the start. Pair one to begin."), also].filter(Boolean);
}
function phoneTable(list) {
  const head = ["Name", "Last seen", "Requests", "Turned away", "Model, cut"];
  const kinds = ["", "", "n", "n wide", "wide"];
  const cells = client => [client.name, seen(client), count(client.requests),
    count(client.refused), client.model + (client.cut ? ` · ${client.cut}` : "")];
  // by name: rows that changed places at every look could not be read
  const rows = list.slice(0, 50).sort((a, b) => a.name.localeCompare(b.name)).map(client => make("tr", {}, ...cells(client).map((text, i) => make(i ? "td" : "th", i ? {class: kinds[i]} : {scope: "row"}, text))));
  return make("div", {class: "scroll"}, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((text, i) => make("th", {scope: "col", class: kinds[i]}, text)))),
    make("tbody", {}, ...rows)));
}

const WORDS = {
  queue: "queue full", memory: "no memory for more", wait: "would have waited too long", deadline: "would have been late",
  late: "was late in the queue", rate: "key over its rate", pairing: "wrong pairing tokens", slow_headers: "slow to ask",
  slow_body: "slow to send", slow_reader: "slow to read", large_headers: "headers too large", idle: "idle", full: "too many connections",
  evicted: "silent, made room", other: "other",
};
function tally(title, unit, counts, nothing) {
  const found = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  const caption = make("figcaption", {}, make("b", {}, title), make("span", {}, unit));
  if (!found.length) return make("figure", {}, caption, none(nothing));
  const most = found[0][1];
  return make("figure", {}, caption, make("dl", {class: "bars"}, ...found.flatMap(([reason, n]) => [
    make("dt", {class: "name"}, WORDS[reason] || reason), make("dd", {class: "track"}, bar(n / most, "count")), make("dd", {class: "ms"}, count(n))])));
}

// --- the whole

function show(status) {
  const {server, window: last, totals} = status;
  lastSeen = Date.now();
  const loading = status.bundles.some(bundle => bundle.state === "loading");
  const broken = status.bundles.some(bundle => bundle.state === "broken");
  say(server.ready ? "ready" : loading && !broken ? "loading" : "failed", server.ready ? "Ready" : loading && !broken ? "Loading tails" : "Not ready");
  const restarts = server.executors.reduce((sum, one) => sum + one.restarts, 0);
  $("about").textContent = [`up ${span(server.uptime_s)}`, `version ${server.version}`, `torch ${server.torch || "absent"}`,
    `${size(server.rss_bytes)} resident`, restarts ? plural(restarts, "executor restart", "executor restarts") : ""].filter(Boolean).join(" · ");
  banner(server.ready ? "" : server.problem, loading && !broken ? "" : "failed");
  $("actions").hidden = false;
  $("forget").hidden = !key();
  for (const [id, visible] of [["login", false], ["waiting", false], ["live", true]]) $(id).hidden = !visible;
  $("live").classList.remove("stale");
  fill("tiles", status, tiles);
  fill("series", last.series, series => [requestChart(series), timeChart(series)]);
  fill("stages", {stages: last.stages, batches: last.batches}, stages);
  fill("bundles", status.bundles, bundles);
  fill("clients", status.clients, clients);
  fill("refused", [totals.shed, totals.connections_closed], ([shed, closed]) => [
    tally("Requests", "429 and 504", shed, "None."), tally("Connections", "closed by the server", closed, "None.")]);
  $("footer").textContent = "Bytes saved: what the inputs of all split inferences would have taken as raw float32, less the bodies that came instead. "
    + `A phone that would have sent a compressed photo saves less. Read every ${POLL_MS / 1000} s from /v2/status; /metrics has it for Prometheus.`;
}
function say(state, words) {
  $("state").dataset.state = state;
  $("state").textContent = words;
  document.title = `${words} · Headtail`;
}
function banner(text, kind = "") {
  $("banner").hidden = !text;
  $("banner").textContent = text;
  $("banner").dataset.kind = kind;
}
function askForKey(problem) {
  forgetKey();
  say("loading", "Key needed");
  banner("");
  for (const [id, visible] of [["login", true], ["waiting", false], ["live", false], ["actions", false]]) $(id).hidden = !visible;
  $("wrong").hidden = !problem;
  $("wrong").textContent = problem;
  $("about").textContent = "";
  $("key").focus();
}
function unreachable(problem) {
  failures += 1;
  say("failed", "Unreachable");
  $("live").classList.add("stale");
  const since = lastSeen ? ` What is below is from ${new Date(lastSeen).toLocaleTimeString()}.` : "";
  banner(`${problem} It is asked again every ${span(wait() / 1000)}.${since}`, "failed");
}

const key = () => sessionStorage.getItem(STORED) || "";
const forgetKey = () => sessionStorage.removeItem(STORED);
const wait = () => Math.min(SLOWEST_MS, POLL_MS * 2 ** Math.min(4, failures));
function ask(path, options = {}) {
  const headers = key() ? {authorization: `Bearer ${key()}`} : {};
  return fetch(path, {...options, headers, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(10000)});
}
async function poll() {
  clearTimeout(timer);
  if (document.hidden || polling) return;
  polling = true;
  const status = await fetched();
  polling = false;
  if (status === null) return;
  if (status) show(status);
  timer = setTimeout(poll, wait());
}
// the status; undefined if there was none, null if it needs another key
async function fetched() {
  try {
    const reply = await ask("v2/status");
    if (reply.status === 401) askForKey(key() ? "This key is not known here, or is revoked." : "");
    else if (reply.status === 403) askForKey("This key may not read the status: it lacks the scope admin:*.");
    else if (!reply.ok) unreachable(`The server answered ${reply.status}.`);
    else {
      const status = await reply.json();
      failures = 0;
      return status;
    }
    return reply.status === 401 || reply.status === 403 ? null : undefined;
  } catch {
    unreachable("The server does not answer.");
    return undefined;
  }
}

async function offer() {
  $("again").disabled = true;
  $("ends").textContent = "";
  $("code").hidden = true;
  try {
    const reply = await ask("v2/pairing", {method: "POST"});
    const told = await reply.json();
    if (!reply.ok) throw new Error(told.error || `The server answered ${reply.status}.`);
    const svg = told.svg.includes("xmlns=") ? told.svg : told.svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
    $("code").src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    $("code").hidden = false;
    pairingEnds = Date.now() + told.expires_in_s * 1000;
    tick();
  } catch (error) {
    pairingEnds = 0;
    $("ends").textContent = error instanceof TypeError ? "The server does not answer." : error.message;
  }
  $("again").disabled = false;
}
function tick() {
  const left = Math.round((pairingEnds - Date.now()) / 1000);
  if (!$("pairing").open || !pairingEnds) return;
  if (left <= 0) {
    $("code").hidden = true;
    $("ends").textContent = "This code has ended.";
    return;
  }
  $("ends").textContent = `Good once, for another ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  setTimeout(tick, 500);
}

$("host").textContent = location.host;
$("login").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem(STORED, $("key").value.trim());
  $("key").value = "";
  poll();
});
$("forget").addEventListener("click", () => askForKey(""));
$("pair").addEventListener("click", () => { $("pairing").showModal(); offer(); });
$("again").addEventListener("click", offer);
$("done").addEventListener("click", () => $("pairing").close());
$("pairing").addEventListener("close", () => { pairingEnds = 0; $("code").removeAttribute("src"); $("code").hidden = true; });
document.addEventListener("visibilitychange", poll);
poll();
