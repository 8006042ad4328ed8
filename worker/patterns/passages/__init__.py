"""What was said in sessions and made by tasks, found again by likeness."""
