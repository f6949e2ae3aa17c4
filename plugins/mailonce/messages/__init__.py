"""From a row of usage data to a mail: addresses, templates, headers."""
