"""A typed, synchronous client for Umbel.

from umbel_client import Umbel

with Umbel() as umbel:
    task = umbel.submit("probe", {"steps": [{"say": "hello"}]})
    for frame in umbel.watch(task.id):
        print(frame.seq, frame.type)
"""

from umbel_client._version import __version__
from umbel_client.client import Umbel
from umbel_client.declared import Agent, McpServer, Provider
from umbel_client.errors import (
    ApiError,
    ConfigurationError,
    ConfigurationInvalid,
    ConfigurationMissing,
    Conflict,
    ConnectionFailed,
    Invalid,
    NotFound,
    RateLimited,
    ServerUnavailable,
    UmbelError,
    Unauthorized,
    UnexpectedAnswer,
    WaitTimedOut,
)
from umbel_client.files import Artifact, File
from umbel_client.models import Failure, Frame, Run, Task, Waiting
from umbel_client.projects import Project, Snapshot
from umbel_client.questions import Approval
from umbel_client.reports import Blocker, Check, Readiness, Step, Why, Workflow
from umbel_client.sessions import AgentSession, SessionMessage
from umbel_client.text import TextAssembler
from umbel_client.tools import Import, Tool
from umbel_client.watching import Interruption

__all__ = [
    "Agent",
    "AgentSession",
    "ApiError",
    "Approval",
    "Artifact",
    "Blocker",
    "Check",
    "ConfigurationError",
    "ConfigurationInvalid",
    "ConfigurationMissing",
    "Conflict",
    "ConnectionFailed",
    "Failure",
    "File",
    "Frame",
    "Import",
    "Interruption",
    "Invalid",
    "McpServer",
    "NotFound",
    "Project",
    "Provider",
    "RateLimited",
    "Readiness",
    "Run",
    "ServerUnavailable",
    "SessionMessage",
    "Snapshot",
    "Step",
    "Task",
    "TextAssembler",
    "Tool",
    "Umbel",
    "UmbelError",
    "Unauthorized",
    "UnexpectedAnswer",
    "WaitTimedOut",
    "Waiting",
    "Why",
    "Workflow",
    "__version__",
]
