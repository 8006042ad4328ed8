"""`python -m bench.validation COUNT BODY`: CPU in ms of checking the body of a submit with pydantic."""

import sys
import time

from web.schemas.tasks import SubmitTask


def main(count: int, body: str) -> float:
    """Return the CPU of one."""
    SubmitTask.model_validate_json(body)
    began = time.process_time()
    for _ in range(count):
        SubmitTask.model_validate_json(body)
    return (time.process_time() - began) * 1000 / count


if __name__ == "__main__":
    print(main(int(sys.argv[1]), sys.argv[2]))
