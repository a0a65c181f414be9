"""`trackside.yaml`: raw text → valid policy, with positions for errors and annotations; the action inputs table."""
