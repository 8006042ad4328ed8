"""Computer use: the intent decides who works on it, code runs in a sandbox, a follow-up goes on in the session."""

from umbel_client import Umbel

INTENT = {
    "type": "object",
    "properties": {"intent": {"enum": ["computer", "question"]}, "confidence": {"type": "number"}},
    "required": ["intent", "confidence"],
}
SURE = 0.8
HANDLERS = {
    "computer": {"instructions": "Work in the sandbox.", "tools": ["write_file", "run_shell", "read_file"]},
    "question": {"instructions": "Answer briefly."},
}


def main() -> None:
    asked = "Make a chart of the sales."
    with Umbel() as umbel:
        for name, definition in HANDLERS.items():
            umbel.put_agent(f"example-{name}", definition)
        routed = umbel.submit("agent", {"prompt": f"Which kind of request is this? {asked}", "output_schema": INTENT})
        found = umbel.wait(routed.id).result["data"]
        handler = found["intent"] if found["confidence"] > SURE else "question"
        print(f"intent: {found['intent']} ({found['confidence']}), handled by example-{handler}")

        session = umbel.sessions.create("chart", f"example-{handler}")
        first = umbel.submit("agent", {"prompt": asked, "session": session.id})
        for frame in umbel.watch(first.id):  # live; a lost connection is taken up again where it was
            if frame.type.startswith("tool."):
                print(frame.seq, frame.type, frame.data["step"])
        print(umbel.get(first.id).result["text"])

        second = umbel.submit("agent", {"prompt": "And which month was better?", "session": session.id})
        print(umbel.wait(second.id).result["text"])


if __name__ == "__main__":
    main()
