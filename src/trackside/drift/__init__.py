"""Is production data still like what the model learnt from: profiles, tests, verdicts, their history and reports."""
