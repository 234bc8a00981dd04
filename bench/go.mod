module github.com/caddy-sesame/caddy-sesame/bench

go 1.26.0

require (
	github.com/caddy-sesame/caddy-sesame v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.0
)

require (
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/caddy-sesame/caddy-sesame => ../
