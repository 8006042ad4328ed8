"""Settings, logging and telemetry set-up. Imports no other room."""
