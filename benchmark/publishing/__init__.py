"""From a results folder to the published data set: audit, merge, one commit."""
