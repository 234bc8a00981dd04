package userstore

// PoolReferences tells how many stores use the pool of a configuration.
func PoolReferences(cfg Config) int {
	references, _ := pools.References(keyOf(cfg.DSN, cfg.limits()))
	return references
}

// RetryInterval is for tests that wait for a retry.
const RetryInterval = retryInterval
