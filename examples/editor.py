"""An editor's round: a project is saved, a file cleaned up, and the result accepted beside somebody else's change.

Start a server with `make run`, then, in another terminal at the root of the repository:

    PYTHONPATH=client python examples/editor.py
"""

from uuid import uuid4

from umbel_client import Conflict, Umbel

BEFORE = "import os\nimport json\n\n\ndef load(text):\n    return json.loads(text)\n"
MEANWHILE = BEFORE + "\n\ndef dump(value):\n    return json.dumps(value)\n"


def main() -> None:
    with Umbel() as umbel:
        project = umbel.projects.begin(f"editor-{uuid4().hex[:8]}")
        umbel.projects.save(project.id, {"app.py": BEFORE, "README": "An example.\n"}, message="begin")
        files = [{"path": "app.py", "content": BEFORE}]
        task = umbel.submit("code_assist", {"mode": "lint_fix", "project_id": project.id, "files": files})
        done = umbel.wait(task.id)
        print(f"{done.status}: {(done.result or {}).get('explanation')}")

        umbel.projects.save(project.id, {"app.py": MEANWHILE}, message="somebody else's")
        try:
            umbel.accept(task.id)
        except Conflict as drift:
            print(f"{drift.code}: {drift.detail}")
            print(f"the merge:\n{drift.problem['files'][0]['merged']}")
        umbel.accept(task.id, "both are good", merge=True)
        for each in umbel.projects.history(project.id):
            print(f"snapshot {each.number}: {each.message}")


if __name__ == "__main__":
    main()
