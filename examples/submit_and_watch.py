"""Submit a task and follow it until it ends.

Start a server with `make run`, then, in another terminal at the root of the repository:

    PYTHONPATH=client python examples/submit_and_watch.py
"""

from umbel_client import TextAssembler, Umbel

STEPS = [{"say": "Umbel runs agent tasks to the end, once."}, {"wait_s": 2}, {"say": "Done."}]


def main() -> None:
    with Umbel() as umbel:
        task = umbel.submit("probe", {"steps": STEPS}, tags=["example"])
        print(f"submitted {task.id}")
        texts = TextAssembler()
        for frame in umbel.watch(task.id):
            if frame.type == "model.delta":
                print(texts.feed(frame), end="", flush=True)
            else:
                texts.feed(frame)
                print(f"\n{frame.seq:>3} {frame.type}", end="", flush=True)
        done = umbel.get(task.id)
        print(f"\n{done.status}: {done.result}")


if __name__ == "__main__":
    main()
