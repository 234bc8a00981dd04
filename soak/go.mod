module github.com/caddy-sesame/caddy-sesame/soak

go 1.26.0

replace github.com/caddy-sesame/caddy-sesame => ../

require (
	github.com/caddy-sesame/caddy-sesame v0.0.0
	github.com/go-sql-driver/mysql v1.10.1
	github.com/prometheus/procfs v0.22.0
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
