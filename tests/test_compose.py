"""The production stack's files, checked by the program that reads them."""

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyseccomp
import pytest

from tests.conftest import lacking
from worker.sandboxes import bubblewrap

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {
    "POSTGRES_PASSWORD": "record-secret",
    "REDIS_PASSWORD": "push-secret",
    "UMBEL_KEY_PEPPER": "pepper-secret",
    "FLOWER_LOGIN": "operator:flower-secret",
}
OURS = ("migrate", "web", "worker", "recovery-worker", "beat", "flower", "mcp")
RUNNING = ("web", "worker", "recovery-worker", "beat")
TO_JSON = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"


@pytest.fixture(scope="module")
def program() -> str:
    found = shutil.which("docker-compose")
    if found is None:
        lacking("docker-compose (on Debian: apt-get install docker-compose)")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in an empty directory, so that nobody's `.env` decides the outcome."""
    directory = tmp_path_factory.mktemp("compose")
    for name in ("docker-compose.yml", "docker-compose.sandboxes.yml", "docker-seccomp.json", "Dockerfile"):
        shutil.copy(ROOT / name, directory)
    return directory


def config(
    program: str, directory: Path, given: dict[str, str], *options: str, files: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **given}
    command = [program, *(word for each in files for word in ("-f", each)), "config", *options]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def stack(program: str, elsewhere: Path) -> dict[str, Any]:
    """What docker-compose makes of the file, as JSON. Version 1 writes YAML only; its own Python can read that."""
    return understood(program, elsewhere)


def understood(program: str, directory: Path, *files: str) -> dict[str, Any]:
    told = config(program, directory, REQUIRED, "--format", "json", files=files).stdout
    if told.startswith("{"):
        return dict(json.loads(told))
    resolved = config(program, directory, REQUIRED, files=files).stdout
    with open(program, encoding="utf-8") as script:
        interpreter = script.readline().removeprefix("#!").split()
    done = subprocess.run([*interpreter, "-c", TO_JSON], input=resolved, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def said(service: dict[str, Any]) -> str:
    command = service["command"]
    return command if isinstance(command, str) else " ".join(command)


def test_the_file_is_valid_once_the_secrets_are_given(program: str, elsewhere: Path) -> None:
    done = config(program, elsewhere, REQUIRED, "-q")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_a_missing_secret_stops_the_start_and_is_named(program: str, elsewhere: Path, missing: str) -> None:
    given = {name: value for name, value in REQUIRED.items() if name != missing}
    done = config(program, elsewhere, given, "-q")
    assert done.returncode != 0
    assert f"set {missing}" in done.stderr


def test_an_empty_secret_is_as_good_as_none(program: str, elsewhere: Path) -> None:
    assert config(program, elsewhere, REQUIRED | {"UMBEL_KEY_PEPPER": ""}, "-q").returncode != 0


def test_the_stack_has_every_process(stack: dict[str, Any]) -> None:
    assert set(stack["services"]) == {"postgres", "redis", *OURS}


def test_redis_never_evicts_and_keeps_an_append_only_file(stack: dict[str, Any]) -> None:
    command = said(stack["services"]["redis"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command
    assert any("/data" in str(volume) for volume in stack["services"]["redis"]["volumes"])


def test_no_secret_is_on_a_command_line(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        words = json.dumps([service.get("command"), service.get("entrypoint"), service.get("healthcheck")])
        for secret in REQUIRED.values():
            assert secret not in words, f"{name} shows a secret"


def test_whatever_is_published_is_published_on_this_machine_only(stack: dict[str, Any]) -> None:
    published = {name: service.get("ports", []) for name, service in stack["services"].items()}
    for name, ports in published.items():
        for port in ports:
            host = port.get("host_ip", "") if isinstance(port, dict) else port
            assert str(host).startswith("127.0.0.1"), f"{name} publishes {port}"
    assert {name for name, ports in published.items() if ports} == {"web", "flower", "mcp"}


def test_our_processes_run_without_rights(stack: dict[str, Any]) -> None:
    for name in OURS:
        service = stack["services"][name]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_of_ours_starts_before_what_it_needs(stack: dict[str, Any]) -> None:
    for name in RUNNING:
        needs = {other: each["condition"] for other, each in stack["services"][name]["depends_on"].items()}
        assert needs == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "migrate": "service_completed_successfully",
        }, name


def test_every_lasting_process_has_a_health_check(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        if name != "migrate":
            assert service["healthcheck"].get("test"), name


def test_workers_that_make_sandboxes_are_given_what_they_need_and_nobody_else(program: str, elsewhere: Path) -> None:
    services = understood(program, elsewhere, "docker-compose.yml", "docker-compose.sandboxes.yml")["services"]
    for name in OURS:
        given = " ".join(services[name]["security_opt"])
        makes = name in ("worker", "recovery-worker")
        assert "no-new-privileges:true" in given
        assert ("docker-seccomp.json" in given and "systempaths=unconfined" in given) is makes, name
        assert ("UMBEL_E2B_API_KEY" in (services[name].get("environment") or {})) is makes, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes the image's user")
def test_a_sandbox_can_be_made_under_the_workers_filter_and_what_reaches_the_kernel_can_not() -> None:
    profile = json.loads((ROOT / "docker-seccomp.json").read_text(encoding="utf-8"))
    walls = ["bwrap", *bubblewrap._ISOLATED, "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--tmpfs", "/work"]
    walls += [word for name in ("/bin", "/lib", "/lib64") for word in ("--symlink", f"usr{name}", name)]
    probe = "import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall(321, 0, 0, 0), ctypes.get_errno())"

    def filtered() -> None:
        filter_of(profile).load()

    def run(*argv: str) -> str:
        given: dict[str, Any] = {"user": 10001, "group": 10001, "extra_groups": [], "preexec_fn": filtered}
        return subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/", **given).stdout

    assert run(*walls, "/usr/bin/echo", "inside") == "inside\n"
    assert run("/usr/bin/python3", "-c", probe) == f"-1 {errno.EPERM}\n", "bpf"


def filter_of(profile: dict[str, Any]) -> Any:
    """What Docker makes of a profile."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for rule in profile["syscalls"]:
        arguments = [pyseccomp.Arg(each["index"], pyseccomp.EQ, each["value"]) for each in rule.get("args", ())]
        for name in rule["names"]:
            if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:
                rules.add_rule(pyseccomp.ERRNO(rule["errnoRet"]), name, *arguments)
    return rules


def test_every_queue_is_served_and_recovery_has_a_worker_of_its_own(stack: dict[str, Any]) -> None:
    from tasks.queues import QUEUES

    served = {name: said(stack["services"][name]) for name in ("worker", "recovery-worker")}
    listed = {name: re.search(r"-Q (\S+)", command) for name, command in served.items()}
    queues = {name: set(found[1].split(",")) if found else set() for name, found in listed.items()}
    assert queues["recovery-worker"] == {"recovery", "maintenance"}
    assert queues["worker"] | queues["recovery-worker"] == set(QUEUES)


def test_a_worker_has_time_to_drain(stack: dict[str, Any]) -> None:
    from config.settings import Settings

    drain_s = Settings.model_fields["drain_s"].default
    for name in ("worker", "recovery-worker"):
        grace = re.fullmatch(r"(\d+)s", stack["services"][name]["stop_grace_period"])
        assert grace is not None
        assert int(grace[1]) > drain_s


def test_flower_asks_for_a_password_and_changes_nothing(stack: dict[str, Any]) -> None:
    flower = stack["services"]["flower"]
    assert flower["environment"]["FLOWER_BASIC_AUTH"] == REQUIRED["FLOWER_LOGIN"]
    assert "--read_only=True" in said(flower)


def test_the_mcp_server_is_shown_no_secret_and_reaches_the_front(stack: dict[str, Any]) -> None:
    mcp = stack["services"]["mcp"]
    assert not mcp.get("environment")
    assert "--url http://web:8080 mcp" in said(mcp)


def test_every_setting_the_stack_passes_exists(stack: dict[str, Any]) -> None:
    from config.settings import Settings

    known = {f"UMBEL_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        given = {each for each in stack["services"][name].get("environment") or {} if each.startswith("UMBEL_")}
        assert given <= known, name


def test_the_image_is_built_in_two_stages_from_the_lock_and_runs_as_nobody_special() -> None:
    lines = [line.strip() for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()]
    stages = [line.split() for line in lines if line.startswith("FROM ")]
    assert len(stages) == 2
    assert all("/" not in stage[1] for stage in stages), "plain image names only"
    last = lines[lines.index(" ".join(stages[-1])) :]
    assert "USER 10001:10001" in last
    assert any("pip install --require-hashes -r requirements.txt" in line for line in lines)
    assert any(line.startswith("HEALTHCHECK") for line in last)


def test_what_the_image_copies_is_let_through_and_nothing_else() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
