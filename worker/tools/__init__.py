"""What agents may do: tools behind one registry. Importing this loads no tool; the front reads the names only."""

from pathlib import Path

#: What is said of these tools, written by `python -m worker.tools`: the front can't load them to ask.
CATALOGUE = Path(__file__).with_name("catalogue.json")
#: The tools every worker has; `worker.tools.registry` holds their code, and a test keeps the two equal.
BUILT_IN = (
    *("ask_human", "calculator", "datetime", "http_request", "json_transform", "list_files", "note", "read_file"),
    *("recall", "run_python", "run_shell", "spawn_task", "web_search", "write_file"),
)
