"use strict";
// Tasks of an account and one task live, by the same API any client has. What tasks hold is only ever put in as text.
const $ = (id) => document.getElementById(id);
const KEY = "umbel-key";
const ENDED = ["succeeded", "failed", "cancelled", "dead"];
const PAGE = 50;
const TOLD = ["step", "title", "name", "reason", "message", "verdict"];
let leaving = new AbortController();  // aborted when another view is opened

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}`, ...options.headers };
  const answer = await fetch(path, { signal: leaving.signal, ...options, headers });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
  throw Object.assign(new Error(problem.detail), { status: answer.status });
}

const tell = (text) => { if ($("told").textContent !== text) $("told").textContent = text; };
const show = (id, yes = true) => { $(id).hidden = !yes; };
const local = (at) => (at ? new Date(at).toLocaleString() : "");

function put(parent, tag, text, name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  parent.append(made);
  return made;
}

// The list

function row(task) {
  const made = document.createElement("tr");
  put(put(made, "td", ""), "a", task.id).href = `#${task.id}`;
  put(made, "td", task.workflow);
  put(made, "td", task.status, task.status);
  put(made, "td", local(task.created_at));
  return made;
}

async function page(cursor) {
  const next = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
  return (await ask(`/v1/tasks?limit=${PAGE}${next}`)).json();
}

async function list() {
  let older = null;  // where "Older tasks" goes on; set once a person has gone beyond the first page
  $("rows").replaceChildren();
  $("more").onclick = () => attempt(async () => {
    const found = await page(older ?? $("more").dataset.next);
    $("rows").append(...found.tasks.map(row));
    older = found.next_cursor;
    show("more", Boolean(older));
  });
  await again(async () => {
    if (older !== null || $("rows").children.length > PAGE) return false;  // a list that is being read stays as it is
    const found = await page();
    const at = document.activeElement?.hash;
    $("rows").replaceChildren(...found.tasks.map(row));
    if (at) $("rows").querySelector(`a[href="${at}"]`)?.focus();
    $("more").dataset.next = found.next_cursor ?? "";
    show("none", found.tasks.length === 0);
    show("more", Boolean(found.next_cursor));
    return false;
  });
}

// One task

function line(frame) {
  const data = frame.data;
  const facts = TOLD.filter((name) => data[name]).map((name) => String(data[name]));
  if (data.error) facts.push(`${data.error.code}: ${data.error.message}`);
  const made = put($("events"), "li", "");
  put(made, "span", frame.seq);
  put(made, "span", frame.type, frame.type.split(".")[1]);
  put(made, "span", facts.join("  "));
  if (frame.type === "model.completed" && data.text) put(made, "q", data.text);
  return made;
}

function cost(usage) {
  if (!usage?.steps) return "";
  const count = (name) => (usage[`${name}_tokens`] ?? 0).toLocaleString();
  const unknown = usage.unpriced_steps ? `, and ${usage.unpriced_steps} calls whose price is not known` : "";
  const script = usage.synthetic ? "Synthetic: a script spoke, no model. " : "";
  return `${script}${count("input")} tokens in, ${count("output")} out: ${usage.usd} USD${unknown}.`;
}

async function stand(id) {
  const task = await (await ask(`/v1/tasks/${id}`)).json();
  const why = await (await ask(`/v1/tasks/${id}/why`)).json();
  $("title").textContent = `${task.workflow}, ${task.status}`;
  $("title").className = task.status;
  $("why").textContent = why.summary;
  $("cost").textContent = cost(task.usage);
  show("cancel", !ENDED.includes(task.status));
  show("retry", ["failed", "dead"].includes(task.status));
  await questions(id);
  const outcome = task.result ?? task.error;
  show("outcome", outcome != null);
  show("result", outcome != null);
  const patches = (task.result?.files_modified ?? []).map((file) => file.patch).join("\n");
  $("result").textContent = patches || (outcome == null ? "" : JSON.stringify(outcome, null, 2));
  return task;
}

// Questions to a person

const VERDICTS = {
  approve: "Go on as asked", edit: "Go on with the arguments as I left them", answer: "Answer", reject: "Reject",
  repeat: "Do it again", skip: "Go on without it", fail: "Fail the task",
};

function field(form, name, label, value) {
  const made = document.createElement(name);
  made.value = value;
  put(form, "label", label).append(made);
  return made;
}

// What a person may look at or fill in as JSON: a call's arguments, or the form of an answer that is more than a text.
function draft(asked) {
  if (asked.kind !== "input") return asked.args;
  const names = Object.keys(asked.schema?.properties ?? {});
  return names.length === 0 || names.join() === "text" ? null : Object.fromEntries(names.map((name) => [name, ""]));
}

function question(asked) {
  const made = document.createElement("form");
  made.addEventListener("submit", (event) => event.preventDefault());  // Enter decides nothing
  put(made, "h3", asked.title ?? `Did ${asked.step} happen? The worker was lost while it did it.`);
  const shown = JSON.stringify(draft(asked) ?? null, null, 2);
  const label = asked.kind === "input" ? "Your answer" : `Arguments of ${asked.tool ?? asked.step}`;
  const args = shown === "null" ? null : field(made, "textarea", label, shown);
  if (args) Object.assign(args, { rows: Math.min(20, shown.split("\n").length), readOnly: asked.kind === "in_doubt" });
  const comment = asked.kind === "in_doubt" ? null : field(made, "input", "Your words", "");
  for (const verdict of asked.allowed) {
    const button = put(made, "button", VERDICTS[verdict] ?? verdict);
    button.type = "button";
    button.addEventListener("click", () => attempt(() => decide(asked, verdict, args, comment)));
  }
  return made;
}

function written(text) {
  try { return JSON.parse(text); } catch (error) { throw new Error(`What you wrote is no JSON: ${error.message}`); }
}

async function decide(asked, verdict, args, comment) {
  const reply = { verdict, args_hash: asked.args_hash ?? undefined, comment: comment?.value || undefined };
  if (verdict === "edit" || (verdict === "answer" && args)) reply.args = written(args.value);
  const id = encodeURIComponent(asked.id);
  const headers = { "Content-Type": "application/json" };
  await ask(`/v1/approvals/${id}/decide`, { method: "POST", headers, body: JSON.stringify(reply) });
  await stand(asked.task_id);
}

async function questions(id) {
  const { approvals } = await (await ask(`/v1/approvals?task_id=${id}`)).json();
  const ids = approvals.map((each) => each.id).join(" ");
  if (ids === $("asked").dataset.ids) return;  // what a person is writing stays as it is
  $("asked").dataset.ids = ids;
  $("asked").replaceChildren(...approvals.map(question));
}

// Server-sent events, by hand: EventSource can send no key.
async function* frames(id, after) {
  const answer = await ask(`/v1/tasks/${id}/events?after=${after}`, { headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (held + value).split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((each) => each.startsWith("data:")).map((each) => each.slice(5)).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}

async function watch(id) {
  let after = 0;
  let spoken = null;  // the text a model is speaking now
  $("events").replaceChildren();
  $("result").textContent = $("why").textContent = $("cost").textContent = $("asked").dataset.ids = "";
  $("asked").replaceChildren();
  $("title").textContent = id;
  $("title").focus();
  $("cancel").onclick = () => attempt(async () => {
    await ask(`/v1/tasks/${id}/cancel`, { method: "POST" });
    await stand(id);
  });
  $("retry").onclick = () => attempt(async () => {
    await ask(`/v1/tasks/${id}/retry`, { method: "POST" });
    open();
  });
  await again(async () => {
    let known = (await stand(id)).last_seq;
    tell("");
    for await (const frame of frames(id, after)) {
      if (frame.type === "model.delta") {
        spoken ??= put($("events").lastElementChild ?? line({ seq: "", type: "", data: {} }), "q", "");
        spoken.textContent = spoken.textContent.slice(0, frame.data.offset) + frame.data.text;
      } else if (frame.seq > after) {
        spoken?.remove();
        spoken = null;
        line(frame);
        after = frame.seq;
        if (/^(task|approval)\./.test(frame.type) && after > known) known = (await stand(id)).last_seq;
      }
    }
    return ENDED.includes((await stand(id)).status);
  });
}

// Going on

function refused() {
  sessionStorage.removeItem(KEY);
  open();
  tell("The server does not know this key, or no longer. Paste all of it, from umb_ on, or ask for a new one.");
}

async function attempt(work) {
  try { await work(); tell(""); } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) refused(); else tell(error.message);
  }
}

// Until `work` says it is done or another view is opened; what fails for a time is tried again, later and later.
async function again(work) {
  const mine = leaving.signal;
  for (let failed = 0; !mine.aborted;) {
    try {
      if (await work()) { tell(""); return; }
      tell("");
      failed = 0;
    } catch (error) {
      if (mine.aborted) return;
      if (error.status === 401) return refused();
      if (error.status >= 400 && error.status < 500) return tell(error.message);
      failed += 1;
      tell("The server does not answer; trying again. Nothing is lost meanwhile.");
    }
    await new Promise((done) => setTimeout(done, Math.min(15000, 2000 * 2 ** Math.max(0, failed - 1))));
  }
}

function open() {
  leaving.abort();
  leaving = new AbortController();
  tell("");
  const known = sessionStorage.getItem(KEY) !== null;
  const id = decodeURIComponent(location.hash.slice(1));
  show("leave", known);
  show("enter", !known);
  show("list", known && !id);
  show("task", known && Boolean(id));
  if (!known) return $("key").focus();
  return id ? watch(encodeURIComponent(id)) : list();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  open();
});
$("leave").addEventListener("click", () => { sessionStorage.removeItem(KEY); location.hash = ""; open(); });
addEventListener("hashchange", open);
open();
