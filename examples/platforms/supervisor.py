"""A supervisor and five sub-agents: triage, data, options, actions, report. Each is a task with events of its own."""

from umbel_client import Umbel

AGENTS = {
    "triage": {"instructions": "Say what kind of question this is, and whether there is data to answer it."},
    "data": {"instructions": "Calculate with the calculator, never in your head.", "tools": ["calculator"]},
    "optimizations": {"instructions": "List ways to get there, the cheapest first."},
    "actions": {"instructions": "Say what to do first, and how to measure it."},
    "reporting": {"instructions": "Write a report of two sentences."},
}
SUPERVISOR = {
    "instructions": "Ask triage, data, optimizations, actions and reporting, in this order; then answer.",
    "subagents": list(AGENTS),
    "limits": {"max_steps": 30, "max_usd": 1},
}


def main() -> None:
    with Umbel() as umbel:
        for name, definition in {**AGENTS, "supervisor": SUPERVISOR}.items():
            umbel.put_agent(name, definition)
        task = umbel.submit("agent", {"agent": "supervisor", "prompt": "Where can we save?"})
        for frame in umbel.watch(task.id):
            if frame.type.startswith("subagent."):
                print(frame.type, frame.data.get("agent") or frame.data.get("status"))
        done = umbel.get(task.id)
        print(f"{done.status}: {done.result['text']}")
        print(f"{len(list(umbel.list(parent=task.id)))} sub-agents, {done.usage}")


if __name__ == "__main__":
    main()
