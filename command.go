package sesame

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-sesame/caddy-sesame/internal/operator"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "sesame",
		Short: "Makes, explains and checks tokens of django-sesame",
		Long: `
Commands for those who run a gateway with the sesame handler.

Each reads a configuration's file as 'caddy run' does: --config names it, and
without it is the Caddyfile in the current directory. It takes the keys and the
user store of the sesame handler in it, so the variables and files that these
name must be there where the command runs. Nothing is asked of a Caddy that is
running, and no command shows a key or a password.`,
		CobraFunc: func(cmd *cobra.Command) {
			operator.AddCommands(cmd, decodeOperated)
		},
	})
}
