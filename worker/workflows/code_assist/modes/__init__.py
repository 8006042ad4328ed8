"""One module per mode of code_assist."""
