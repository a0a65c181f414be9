"""Documents of the state the way GitHub's API shows them: functions from the hub and a document to JSON."""
