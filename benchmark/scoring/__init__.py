"""From features to the scores of the protocol, with nulls, intervals, controls and ranks."""
