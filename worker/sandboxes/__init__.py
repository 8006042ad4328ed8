"""Where code that came from a user or a model runs, so that it can do no harm; see docs/sandboxes.md."""
