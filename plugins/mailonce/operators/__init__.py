"""What stands in a Dag file: the operator family."""
