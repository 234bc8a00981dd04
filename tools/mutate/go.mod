module github.com/caddy-sesame/caddy-sesame/tools/mutate

go 1.26.0
