"""Celery settings: values only. Why each is what it is: docs/operations.md, "Celery's settings"."""

from config.settings import get_settings
from tasks.queues import QUEUE_ORDER, celery_queues

_settings = get_settings()

broker_url = _settings.redis_url.get_secret_value()
broker_transport = "tasks.transport:Transport"
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {
    "queue_order_strategy": QUEUE_ORDER,
    "ack_emulation": False,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
broker_heartbeat = 0

# A message is a doorbell: acknowledged as soon as it is heard, worth nothing afterwards.
task_acks_late = False
task_ignore_result = True
result_backend = None
task_store_errors_even_if_ignored = False
task_track_started = False

accept_content = ["json"]
task_serializer = "json"
event_serializer = "json"
result_accept_content = ["json"]

task_queues = celery_queues()
task_default_queue = "maintenance"
task_create_missing_queues = False

# A worker takes a message only when it has a slot for it; what it can't serve stays for the others.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
worker_concurrency = _settings.worker_concurrency
worker_send_task_events = True
task_send_sent_event = False
worker_hijack_root_logger = False
worker_cancel_long_running_tasks_on_connection_loss = False
worker_eta_task_limit = 100
worker_soft_shutdown_timeout = 0

timezone = "UTC"
enable_utc = True
beat_schedule = {
    "reconcile": {"task": "maintenance.reconcile", "schedule": _settings.reconcile_every_s},
    "tidy": {"task": "maintenance.tidy", "schedule": 300.0},
    "learn": {"task": "maintenance.learn", "schedule": 300.0},
    "index": {"task": "maintenance.index", "schedule": 15.0},
    "forget": {"task": "maintenance.forget", "schedule": 3600.0},
    "index_graph": {"task": "maintenance.index_graph", "schedule": 15.0},
    "index_passages": {"task": "maintenance.index_passages", "schedule": 15.0},
    "collect": {"task": "maintenance.collect", "schedule": 3600.0},
}
beat_scheduler = "tasks.beat:Scheduler"
beat_max_loop_interval = max(_settings.reconcile_every_s, 1.0)
