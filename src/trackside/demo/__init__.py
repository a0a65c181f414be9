"""The tour: opens pull requests on a GitHub of this machine, lets the shipped workflows work, verifies the evidence."""
