package sesame

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/operator"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI serves /sesame/ on Caddy's admin endpoint: see operator.Routes.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.sesame",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes returns the routes of the API.
func (adminAPI) Routes() []caddy.AdminRoute {
	return operator.Routes(operator.Source{List: runningForOperator, Of: operatedOf, Reasons: allByOutcome})
}
