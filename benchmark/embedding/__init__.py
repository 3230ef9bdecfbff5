"""From structures to features: environments, weights, the isolated worker, conformance, the feature store."""
