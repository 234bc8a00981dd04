package userstore

// PoolReferences tells how many stores use the pool of a configuration.
func PoolReferences(cfg Config) int {
	from, _ := cfg.source()
	references, _ := pools.References(keyOf(from, cfg.limits()))
	return references
}

// RetryInterval is for tests that wait for a retry.
const RetryInterval = retryInterval
