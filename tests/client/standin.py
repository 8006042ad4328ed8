"""A small real server with Umbel's outward shape, whose failures are scripted. Only HTTP and WebSockets are real."""

import json
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_sock import Sock
from simple_websocket import Server as Socket
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)

KEY = "umb_standin00000_key"
Json = dict[str, Any]
Plan = Callable[[Socket, "StandIn", int], None]


def frame(seq: int | None, type: str, **data: Any) -> Json:
    return {
        "seq": seq,
        "type": type,
        "task_id": "t1",
        "run_id": "r1",
        "at": "2030-01-01T12:00:00.000Z",
        "data": data,
    }


def history(length: int) -> list[Json]:
    """A task's events 1..length, ending in success."""
    middle = [frame(seq, "step.completed", step=f"s{seq}", number=seq, total=length) for seq in range(3, length)]
    return [frame(1, "task.queued"), frame(2, "task.started"), *middle, frame(length, "task.succeeded")]


def problem(status: int, code: str, **more: Any) -> Json:
    return {"type": f"urn:umbel:problem:{code}", "status": status, "code": code, "detail": f"It is {code}.", **more}


def play_all(ws: Socket, server: "StandIn", after: int) -> None:
    """The plan of a healthy server: everything after the cursor, then a clean close."""
    for event in server.events:
        if event["seq"] > after:
            ws.send(json.dumps(event))
    ws.close()


def cut(ws: Socket) -> None:
    """Lose the connection without a goodbye."""
    ws.sock.shutdown(socket.SHUT_RDWR)


GRAPH: Json = {
    "nodes": [
        {"id": 1, "kind": "Pattern", "key": "p1", "depth": 0, "properties": {"title": "Search [then] keep"}},
        {"id": 2, "kind": "Tool", "key": "web_search", "depth": 1, "properties": {}},
    ],
    "edges": [{"from": 1, "kind": "USES", "to": 2, "properties": {}}],
    "cut": True,
}


class StandIn:
    """Holds one task `t1`. `failures` are answered first, in order; `plans` say what each WebSocket does."""

    def __init__(self) -> None:
        self.events: list[Json] = history(6)
        self.task: Json = {"id": "t1", "workflow": "probe", "status": "succeeded", "input": {}, "result": {}}
        self.tasks: list[Json] = []
        self.approvals: list[Json] = []
        self.messages: list[Json] = []
        self.sessions: list[Json] = []
        self.import_answer: Json = {"title": "t", "imported": [], "refused": []}
        self.ready: Json = {"status": "ready", "version": "0.1.0", "checks": {}}
        self.failures: deque[tuple[int, Json, Json]] = deque()
        self.plans: deque[Plan] = deque()
        self.builds: deque[Json] = deque()
        self.refuse_sockets: int | None = None
        self.streams: list[Json] = []
        self.calls: list[tuple[str, str, Json, Any]] = []
        # Bound here because the HTTP server would look its own name up, which some machines answer after seconds.
        self._socket = socket.create_server(("127.0.0.1", 0))
        host, port = self._socket.getsockname()
        self._server = make_server(host, port, self._application(), threaded=True, fd=self._socket.fileno())
        self.url = f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._socket.close()

    def fail(self, status: int, code: str = "broken", headers: Json | None = None, **more: Any) -> None:
        self.failures.append((status, problem(status, code, **more), headers or {}))

    def paths(self, method: str = "GET") -> list[str]:
        return [path for each, path, _, _ in self.calls if each == method]

    def task_now(self) -> Json:
        return {"last_seq": self.events[-1]["seq"] if self.events else 0, **self.task}

    def _application(self) -> Flask:
        app = Flask("standin")
        sock = Sock(app)
        app.before_request(self._gate)
        app.add_url_rule("/healthz", view_func=lambda: jsonify(status="ok"), endpoint="healthz")
        app.add_url_rule("/readyz", view_func=self._readyz)
        app.add_url_rule("/v1/tasks", view_func=self._collection, methods=["GET", "POST"])
        app.add_url_rule("/v1/tasks/<task_id>", view_func=self._one)
        app.add_url_rule("/v1/tasks/<task_id>/events", view_func=self._events)
        app.add_url_rule("/v1/tasks/<task_id>/why", view_func=self._why)
        app.add_url_rule("/v1/tasks/<task_id>/<action>", view_func=self._action, methods=["POST"])
        app.add_url_rule("/v1/tasks/<task_id>/messages", view_func=self._messages, methods=["GET", "POST"])
        app.add_url_rule("/v1/sessions", view_func=self._sessions, methods=["GET", "POST"])
        app.add_url_rule("/v1/sessions/<session_id>", view_func=self._session, methods=["GET", "DELETE"])
        app.add_url_rule("/v1/sessions/<session_id>/messages", view_func=self._said)
        app.add_url_rule("/v1/approvals", view_func=self._approvals)
        app.add_url_rule("/v1/approvals/<path:_>/decide", view_func=lambda _: self.task_now(), methods=["POST"])
        app.add_url_rule("/v1/workflows", view_func=self._workflows)
        app.add_url_rule("/v1/usage", view_func=self._usage)
        app.add_url_rule("/v1/patterns/<_>/graph", view_func=lambda _: jsonify(GRAPH), endpoint="near")
        app.add_url_rule("/v1/patterns/<_>/graph.svg", view_func=lambda _: "<svg/>", endpoint="drawn")
        app.add_url_rule("/v1/indexes", view_func=self._indexes)
        app.add_url_rule("/v1/indexes/<index>/build", view_func=self._build, methods=["POST"])
        app.add_url_rule("/v1/tools", view_func=self._tools)
        app.add_url_rule("/v1/tools/import", view_func=self._import, methods=["POST"])
        app.add_url_rule("/v1/tools/<name>", view_func=self._tool, methods=["GET", "PUT", "DELETE"])
        sock.route("/v1/tasks/<task_id>/stream")(self._stream)
        sock.route("/v1/stream")(self._many)
        return app

    def _gate(self) -> Response | None:
        upgrade = request.headers.get("Upgrade") == "websocket"
        if not upgrade:
            self.calls.append((request.method, request.path, dict(request.headers), request.get_json(silent=True)))
        if upgrade and self.refuse_sockets:
            return _answer(self.refuse_sockets, problem(self.refuse_sockets, "no_upgrade"))
        if self.failures and not upgrade:
            return _answer(*self.failures.popleft())
        open_path = request.path in ("/healthz", "/readyz")
        if not open_path and request.headers.get("Authorization") != f"Bearer {KEY}":
            return _answer(401, problem(401, "unauthorized"))
        if (request.view_args or {}).get("task_id", "t1") != "t1":
            return _answer(404, problem(404, "not_found"))
        return None

    def _readyz(self) -> tuple[Json, int]:
        return self.ready, 503 if self.ready["status"] == "unavailable" else 200

    def _collection(self) -> Json | tuple[Json, int]:
        if request.method == "POST":
            return self.task_now(), 202
        start, limit = int(request.args.get("cursor", 0)), int(request.args["limit"])
        parent = request.args.get("parent")
        tasks = [each for each in self.tasks if parent in (None, (each.get("parent") or {}).get("id"))]
        page = tasks[start : start + limit]
        more = start + limit < len(tasks)
        return {"tasks": page, "next_cursor": str(start + limit) if more else None}

    def _one(self, task_id: str) -> Json:
        return self.task_now()

    def _action(self, task_id: str, action: str) -> Json:
        return self.task_now()

    def _events(self, task_id: str) -> Json:
        after, limit = int(request.args["after"]), int(request.args["limit"])
        found = [event for event in self.events if event["seq"] > after][:limit]
        return {"events": found, "last_seq": self.task_now()["last_seq"]}

    def _why(self, task_id: str) -> Json:
        return {
            "task_id": "t1",
            "status": "waiting",
            "summary": "It waits for a timer.",
            "blockers": [{"code": "timer", "detail": "until noon"}],
            "steps": [{"key": "wait:1", "kind": "wait", "status": "started", "attempt": 1, "duration_s": None}],
            "requests": {"cancel": None},
        }

    def _messages(self, task_id: str) -> Json | tuple[Json, int]:
        if request.method == "POST":
            self.messages.append({"number": len(self.messages) + 1, **(request.get_json() or {})})
            return self.messages[-1], 202
        found = self.messages[int(request.args.get("after", 0)) :]
        page = found[: int(request.args["limit"])]
        return {"messages": page, "next": page[-1]["number"] if len(found) > len(page) else None}

    def _sessions(self) -> Json | tuple[Json, int]:
        if request.method == "POST":
            self.sessions.insert(0, {"id": f"s{len(self.sessions)}", "messages": 0, **(request.get_json() or {})})
            return self.sessions[0], 201
        start, limit = int(request.args.get("cursor", 0)), int(request.args["limit"])
        more = start + limit < len(self.sessions)
        return {"sessions": self.sessions[start : start + limit], "next_cursor": str(start + limit) if more else None}

    def _session(self, session_id: str) -> Json | tuple[str, int]:
        (found,) = [each for each in self.sessions if each["id"] == session_id]
        if request.method == "DELETE":
            self.sessions.remove(found)
            return "", 204
        return found

    def _said(self, session_id: str) -> Json:
        said = [{"number": 1, "role": "user", "text": "Where\nto?"}]
        return {"messages": [*said, {"number": 2, "role": "assistant", "text": "", "tools": [{"tool": "map"}]}]}

    def _approvals(self) -> Json:
        return {"approvals": self.approvals, "more": False}

    def _tools(self) -> Json:
        return {"built_in": [TOOL | {"name": "calc"}], "tools": [TOOL], "next": None}

    def _import(self) -> Json:
        return self.import_answer

    def _tool(self, name: str) -> Json | tuple[str, int]:
        return ("", 204) if request.method == "DELETE" else TOOL | {"name": name}

    def _usage(self) -> Json:
        names = ("tasks", "steps", "tool_calls", "input_tokens", "output_tokens", "unpriced_steps")
        used: Json = dict.fromkeys(names, 0 if "since" in request.args else 7) | {"usd": "1.25"}
        return {"total": used, "workflows": [used | {"workflow": "agent"}]}

    def _indexes(self) -> Json:
        return {"indexes": [{"index": each, "build": self.builds.popleft()} for each in ("graph", "vectors")]}

    def _build(self, index: str) -> Json:
        return self.builds.popleft()

    def _workflows(self) -> Json:
        return {"workflows": [{"name": "probe", "description": "Checks.", "queue": "interactive"}]}

    def _stream(self, ws: Socket, task_id: str) -> None:
        self.streams.append(dict(request.args))
        plan = self.plans.popleft() if self.plans else play_all
        plan(ws, self, int(request.args["after"]))

    def _many(self, ws: Socket) -> None:
        while message := json.loads(ws.receive(timeout=5) or "null"):
            if message["action"] == "ping":
                ws.send(json.dumps({"type": "pong"}))


def _answer(status: int, body: Json, headers: Json | None = None) -> Response:
    return Response(json.dumps(body), status, headers or {}, content_type="application/problem+json")


#: An HTTP tool.
TOOL: Json = {"name": "stock", "version": 3, "description": "Looks.", "effect": "pure", "secret": "set"}

#: An open question of `t1`.
QUESTION: Json = {
    "id": "r1.tool:1:deploy",
    "kind": "approval",
    "task_id": "t1",
    "workflow": "agent",
    "step": "tool:1:deploy",
    "title": "deploy",
    "args": {"version": 7},
    "args_hash": "abc",
    "allowed": ["approve", "edit", "reject"],
    "expires_at": "2030-01-01T12:00:00Z",
    "on_expiry": "reject",
}
