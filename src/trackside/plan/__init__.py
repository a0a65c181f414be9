"""What must be trained: inputs read as git objects, digested, compared with the records; never executed."""
